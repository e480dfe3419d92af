// Starts the ranks of a training as processes of their own, with the variables that torchrun would set.
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { packageRoot } from "#package-root";
import type { FitOptions } from "../../lib/index.js";
import { lastJson, type Run, runNode } from "../cli/lenet5.js";
import { freePort } from "../free-ports.js";

/** What a rank runs. */
export const RANK = join(packageRoot, "test", "distributed", "rank.mjs");

/** What a rank is to do, see rank.mjs. */
export interface Task {
  engine?: "fused" | "libtorch";
  seed?: number;
  data?: { trainCount?: number; seed?: number };
  fit: Omit<FitOptions, "validation" | "signal"> & { validation?: true };
  abortAtStep?: number;
  /** Milliseconds. */
  abortAfter?: number;
  leaveAtStep?: number;
}

/** What a rank did. */
export interface Course {
  losses: number[];
  epochs: Record<string, unknown>[];
  error: { code: string; message: string } | null;
  weights: string;
  /** The largest memory that it had. */
  megabytes: number;
}

/** Runs one rank to its end. */
export async function rank(
  task: Task,
  environment: Record<string, string | undefined>,
  watch: { onStderr?: (text: string, child: ChildProcess) => void; onStart?: (child: ChildProcess) => void } = {},
): Promise<Run> {
  return await runNode([RANK, JSON.stringify(task)], { env: { ...NONE, ...environment }, ...watch });
}

/** Of these the tests' own environment has nothing to say. */
const NONE = {
  ...{ RANK: undefined, WORLD_SIZE: undefined, MASTER_ADDR: undefined, MASTER_PORT: undefined },
  ...{ LOCAL_RANK: undefined, LOCAL_WORLD_SIZE: undefined, OMP_NUM_THREADS: "1" },
  ...{ TORCHELASTIC_USE_AGENT_STORE: undefined, TORCHELASTIC_RESTART_COUNT: undefined },
};

/** The task without others. */
export async function alone(task: Task): Promise<Course> {
  const { distributed: _, ...fit } = task.fit;
  return courseOf(await rank({ ...task, fit }, {}));
}

/** The variables of each of so many ranks. */
export async function environments(size: number): Promise<Record<string, string>[]> {
  const port = String(await freePort());
  return Array.from({ length: size }, (_, index) => ({
    ...{ RANK: String(index), WORLD_SIZE: String(size) },
    ...{ MASTER_ADDR: "127.0.0.1", MASTER_PORT: port },
  }));
}

/** Several ranks to their end; a task for all, or one each. `environment`: variables of all of them. */
export async function together(
  size: number,
  task: Task | ((rank: number) => Task),
  environment: Record<string, string> = {},
): Promise<Course[]> {
  const places = await environments(size);
  const runs = places.map((place, index) =>
    rank(typeof task === "function" ? task(index) : task, { ...environment, ...place }),
  );
  return (await Promise.all(runs)).map(courseOf);
}

/** What a rank has printed. */
export function courseOf(run: Run): Course {
  if (run.status !== 0) throw new Error(`A rank ended with ${run.status ?? run.signal}:\n${run.stderr.slice(-2000)}`);
  return lastJson(run);
}

/**
 * Several ranks, one of which is sent a signal when it has done some steps.
 * @returns the others' courses by rank, and the seconds from the signal to their end
 */
export async function struck(
  size: number,
  victim: number,
  signal: NodeJS.Signals,
  task: Task,
): Promise<{ courses: Map<number, Course>; seconds: number }> {
  const places = await environments(size);
  let at: number | undefined;
  let stopped: ChildProcess | undefined;
  const others = new Map<number, Promise<Run>>();
  const runs: Promise<Run>[] = [];
  for (const [index, place] of places.entries()) {
    const onStderr = (text: string, child: ChildProcess) => {
      if (index !== victim || at !== undefined || !text.includes("step 20\n")) return;
      at = performance.now();
      stopped = child;
      child.kill(signal);
    };
    const run = rank(task, place, { onStderr });
    runs.push(run);
    if (index !== victim) others.set(index, run);
  }
  const courses = new Map<number, Course>();
  for (const [index, run] of others) courses.set(index, courseOf(await run));
  const seconds = (performance.now() - at!) / 1000;
  stopped?.kill("SIGKILL");
  await Promise.all(runs);
  return { courses, seconds };
}
