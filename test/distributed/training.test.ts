// Ranks as processes of their own, over real c10d: the same course as one process, and an end with a clear word whatever
// becomes of one of them.
import { type ChildProcess, execFile } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { expect, onTestFinished, test, vi } from "vitest";
import { packageRoot } from "#package-root";
import { LeNet5, syntheticDigits } from "../../lib/index.js";
import { CHECKPOINT_NAME } from "../../lib/lenet5/checkpoint.js";
import { temporaryFolder } from "../cli/lenet5.js";
import { alone, courseOf, environments, RANK, rank, struck, type Task, together } from "./ranks.js";

const LONG: Task = { fit: { epochs: 1000, distributed: { timeout: 60 } } };

for (const engine of ["fused", "libtorch"] as const) {
  test(`two ranks of the ${engine} engine have the losses of one process over 100 steps`, async () => {
    const task: Task = {
      engine,
      fit: { epochs: 4, batchSize: 64, learningRate: 1e-4, epsilon: 1e-6, validation: true, distributed: true },
    };
    const one = await alone(task);
    // Weights of their own in the beginning: rank 0's are taken.
    const courses = await together(2, (index) => ({ ...task, seed: 1 + index }));
    expect(one.losses).toHaveLength(100);
    for (const { losses, error, epochs, weights } of courses) {
      expect(error).toBeNull();
      expect(Math.max(...losses.map((loss, step) => Math.abs(loss - one.losses[step]!)))).toBeLessThan(1e-5);
      expect(epochs).toEqual(courses[0]!.epochs);
      expect(weights).toBe(courses[0]!.weights);
    }
    expect(courses[0]!.losses).toHaveLength(100);
    expect(courses[1]!.epochs.at(-1)).toMatchObject({ epoch: 4, validation: { accuracy: expect.any(Number) } });
  });
}

test("ranks that train as on a GPU have the losses of one process", async () => {
  const fit = { epochs: 2, learningRate: 1e-4, epsilon: 1e-6, classWeights: [0, 2, 1, 1, 0.5, 1, 1, 3, 1, 1] };
  // Three: the last batch of one image leaves two of them empty.
  const task: Task = {
    engine: "libtorch",
    data: { trainCount: 1601 },
    fit: { ...fit, batchSize: 64, distributed: true },
  };
  const one = await alone(task);
  const courses = await together(3, task, { LENET5_DEVICE_TRAINING: "cpu" });
  expect(one.losses).toHaveLength(52);
  for (const { losses, error, epochs, weights } of courses) {
    expect(error).toBeNull();
    expect(Math.max(...losses.map((loss, step) => Math.abs(loss - one.losses[step]!)))).toBeLessThan(1e-5);
    expect(epochs.map(({ loss }) => loss)).toEqual(one.epochs.map(({ loss }) => expect.closeTo(loss as number, 5)));
    expect(epochs.map(({ accuracy }) => accuracy)).toEqual(one.epochs.map(({ accuracy }) => accuracy));
    expect(weights).toBe(courses[0]!.weights);
  }
});

test("three ranks share batches that cannot be divided, and accumulate gradients", async () => {
  const fit = {
    epochs: 2,
    batchSize: 50,
    gradientAccumulation: 3,
    learningRate: 1e-4,
    epsilon: 1e-6,
    distributed: true,
  };
  const one = await alone({ fit: { ...fit, batchSize: 150, gradientAccumulation: 1 } });
  const [first, second, third] = await together(3, { fit });
  expect(first!.losses).toHaveLength(22);
  expect(Math.max(...first!.losses.map((loss, step) => Math.abs(loss - one.losses[step]!)))).toBeLessThan(1e-5);
  expect(second!.weights).toBe(first!.weights);
  expect(third!.weights).toBe(first!.weights);
});

test("gradients are accumulated in little memory", async () => {
  const { megabytes, losses } = await alone({
    engine: "libtorch",
    data: { trainCount: 16_000 },
    fit: { epochs: 1, batchSize: 64, gradientAccumulation: 250 },
  });
  expect(losses).toHaveLength(1);
  // AddressSanitizer keeps what was freed for a while.
  expect(megabytes).toBeLessThan(process.env.ASAN_OPTIONS === undefined ? 1200 : 2400);
});

test("one rank of one needs nobody", async () => {
  const task: Task = { fit: { epochs: 1, distributed: true } };
  const course = courseOf(await rank(task, { RANK: "0", WORLD_SIZE: "1" }));
  expect(course.error).toBeNull();
  expect(course.losses).toEqual((await alone(task)).losses);
});

test.for([
  [
    "batchSize",
    { fit: { batchSize: 32 } },
    "the same batchSize for all ranks but received 64 on rank 0 and 32 on rank 1",
  ],
  ["data", { data: { seed: 2 } }, "the same training data (by their checksum) for all ranks"],
  [
    "engine",
    { engine: "libtorch" },
    "the same engine for all ranks but received fused on rank 0 and libtorch on rank 1",
  ],
] as const)("ranks with another %s are told so, all of them", async ([, other, message]) => {
  const task: Task = { fit: { epochs: 1, batchSize: 64, distributed: { timeout: 20 } } };
  const courses = await together(2, (index) =>
    index === 0 ? task : ({ ...task, ...other, fit: { ...task.fit, ...("fit" in other ? other.fit : {}) } } as Task),
  );
  for (const { error, losses } of courses) {
    expect(error).toEqual({ code: "LENET5_DISTRIBUTED_MISMATCH", message: expect.stringContaining(message) });
    expect(losses).toEqual([]);
  }
});

test("a rank that does not come is named by those that did, whenever they came", async () => {
  const [first, , third] = await environments(3);
  const task: Task = { fit: { distributed: { timeout: 6 } } };
  const early = rank(task, first!);
  // The first gives up first, and the store is with it.
  await delay(2000);
  const runs = await Promise.all([early, rank(task, third!)]);
  for (const run of runs) {
    expect(courseOf(run).error).toEqual({
      code: "LENET5_DISTRIBUTED_FAILED",
      message: expect.stringContaining("Expected 3 ranks within 6 s but rank 1 did not come"),
    });
  }
});

test("a rank that dies before all have met is named by those that meet", async () => {
  const [first, second, third] = await environments(3);
  const task: Task = { fit: { ...LONG.fit, distributed: { timeout: 20 } } };
  const early = rank(task, first!);
  const dead = rank(task, third!, { onStart: (child) => void setTimeout(() => child.kill("SIGKILL"), 4000) });
  await dead;
  const begin = performance.now();
  for (const run of await Promise.all([early, rank(task, second!)])) {
    expect(courseOf(run).error).toEqual({
      code: "LENET5_DISTRIBUTED_FAILED",
      message: expect.stringMatching(/^Expected 3 ranks .*\brank 2 (no longer answers|did not come)/),
    });
  }
  expect(performance.now() - begin).toBeLessThan(30_000);
});

test("a rank that is aborted while it waits for others says so", async () => {
  const [first, second] = await environments(3);
  const task: Task = { fit: { distributed: { timeout: 30 } } };
  const runs = await Promise.all([rank(task, first!), rank({ ...task, abortAfter: 3000 }, second!)]);
  expect(courseOf(runs[0]!).error?.message).toBe(
    "Expected 3 ranks to the end of the training but rank 1 left it: it was stopped",
  );
  expect(courseOf(runs[1]!).error?.code).toBe("LENET5_ABORTED");
});

test("a network interface that is not there is that rank's error, which the others are told", async () => {
  const [first, second] = await environments(2);
  const task: Task = { fit: { distributed: { timeout: 20 } } };
  const runs = await Promise.all([rank(task, first!), rank(task, { ...second!, GLOO_SOCKET_IFNAME: "lo,nope0" })]);
  const message = "Expected names of network interfaces for GLOO_SOCKET_IFNAME but received lo,nope0:";
  expect(courseOf(runs[1]!).error).toEqual({
    code: "LENET5_INVALID_OPTION",
    message: expect.stringContaining(message),
  });
  expect(courseOf(runs[0]!).error?.message).toContain(`rank 1 left it: ${message}`);
});

/** Something that takes connections and says nothing; closed after the test. */
async function silentServer(): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => void sockets.add(socket.on("error", () => {}))).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

test("a master that never answers, or is something else, is given up after the time-out", async () => {
  const [, second] = await environments(2);
  const begin = performance.now();
  for (const port of [second!.MASTER_PORT!, String(await silentServer())]) {
    const course = courseOf(await rank({ fit: { distributed: { timeout: 2 } } }, { ...second!, MASTER_PORT: port }));
    expect(course.error).toEqual({
      code: "LENET5_DISTRIBUTED_FAILED",
      message: expect.stringContaining(`at 127.0.0.1:${port} (MASTER_ADDR and MASTER_PORT) within 2 s`),
    });
  }
  expect(performance.now() - begin).toBeLessThan(40_000);
});

test("a thread that waits for other ranks ends when it is terminated", async () => {
  const [first] = await environments(2);
  const task: Task = { fit: { distributed: { timeout: 60 } } };
  const env = { ...process.env, ...first! };
  const worker = new Worker(RANK, { argv: [JSON.stringify(task)], env, stdout: true, stderr: true });
  const hasEnded = once(worker, "exit");
  // It listens as soon as it waits.
  for (let listens = false; !listens; await delay(50)) {
    const socket = connect(Number(first!.MASTER_PORT), "127.0.0.1");
    listens = await once(socket, "connect").then(
      () => true,
      () => false,
    );
    socket.destroy();
  }
  const begin = performance.now();
  await worker.terminate();
  await hasEnded;
  expect(performance.now() - begin).toBeLessThan(5000);
});

test("a training whose loop is forgotten leaves the process free for the next one", async () => {
  vi.stubEnv("RANK", "0");
  vi.stubEnv("WORLD_SIZE", "1");
  onTestFinished(() => void vi.unstubAllEnvs());
  const { train } = await syntheticDigits.load({ trainCount: 100, testCount: 10 });
  const forgotten = new LeNet5();
  const next = new LeNet5();
  const loop = forgotten.fit(train, { epochs: 1, distributed: true })[Symbol.asyncIterator]();
  await loop.next();
  await expect.poll(() => next.fit(train, { epochs: 1, distributed: true }), { timeout: 10_000 }).toBeDefined();
  // Until here it is held: what becomes of what nobody holds is the garbage collector's affair.
  await loop.return?.();
  forgotten.dispose();
  next.dispose();
});

test("a second process with the same rank is refused", async () => {
  const [first, second] = await environments(2);
  // Long enough for the third to come while the two are at it.
  const task: Task = { fit: { epochs: 150, distributed: { timeout: 20 } } };
  const runs = await Promise.all([rank(task, first!), rank(task, second!), rank(task, second!)]);
  const errors = runs.map((run) => courseOf(run).error?.message ?? "none");
  expect(errors.filter((message) => message.startsWith("Expected one process for rank 1"))).toHaveLength(1);
  expect(errors.filter((message) => message === "none")).toHaveLength(2);
});

test.for([1, 0])("SIGKILL of rank %d ends the others at once, with its name", async (victim) => {
  const { courses, seconds } = await struck(3, victim, "SIGKILL", LONG);
  expect(courses.size).toBe(2);
  for (const { error } of courses.values()) {
    expect(error?.code).toBe("LENET5_DISTRIBUTED_FAILED");
    expect(error?.message).toMatch(new RegExp(`^Expected 3 ranks to the end of the training but rank ${victim}\\b`));
  }
  expect(seconds).toBeLessThan(20);
});

test.runIf(process.platform === "linux").for([1, 0])(
  "a rank %d that dies in the middle of a message ends the other at once, too",
  async (victim) => {
    const library = join(temporaryFolder(), "dies-sending.so");
    const source = join(packageRoot, "test", "distributed", "dies-sending.cpp");
    await promisify(execFile)(process.env.CXX || "c++", ["-shared", "-fPIC", "-o", library, source, "-ldl"]);
    const preloaded = [process.env.LD_PRELOAD, library].filter(Boolean).join(" ");
    const places = await environments(2);
    const begin = performance.now();
    const runs = await Promise.all(
      places.map((place, index) => rank(LONG, index === victim ? { ...place, LD_PRELOAD: preloaded } : place)),
    );
    expect(runs[victim]!.signal).toBe("SIGKILL");
    const { error, losses } = courseOf(runs[1 - victim]!);
    expect(losses.length).toBeGreaterThan(10);
    expect(error?.message).toMatch(new RegExp(`^Expected 2 ranks to the end of the training but rank ${victim}\\b`));
    // The time-out is 60.
    expect(performance.now() - begin).toBeLessThan(30_000);
  },
);

test.for([1, 0])("a rank %d that hangs ends the others after the time-out, with its name", async (victim) => {
  const task: Task = { fit: { ...LONG.fit, distributed: { timeout: 4 } } };
  const { courses, seconds } = await struck(3, victim, "SIGSTOP", task);
  expect(courses.size).toBe(2);
  for (const { error } of courses.values()) {
    expect(error?.code).toBe("LENET5_DISTRIBUTED_FAILED");
    expect(error?.message).toMatch(new RegExp(`^Expected 3 ranks to the end of the training but rank ${victim}\\b`));
  }
  expect(seconds).toBeGreaterThan(2);
  expect(seconds).toBeLessThan(30);
});

test("a rank that is away for longer than the time-out, and back, is not called dead", async () => {
  const places = await environments(2);
  const task: Task = { fit: { ...LONG.fit, distributed: { timeout: 4 } } };
  let struckAt: number | undefined;
  const onStderr = (text: string, child: ChildProcess) => {
    if (struckAt !== undefined || !text.includes("step 20\n")) return;
    struckAt = performance.now();
    child.kill("SIGSTOP");
    setTimeout(() => child.kill("SIGCONT"), 5500);
  };
  const runs = await Promise.all([rank(task, places[0]!), rank(task, places[1]!, { onStderr })]);
  for (const run of runs) {
    expect(courseOf(run).error?.message).toContain("was busy for longer than the time-out of 4 s");
  }
});

test("a rank that is aborted, or whose loop is left, says so to the others", async () => {
  for (const stop of [{ abortAtStep: 5 }, { leaveAtStep: 5 }]) {
    const [first, second] = await together(2, (index) => (index === 0 ? { ...LONG, ...stop } : LONG));
    expect(first!.error?.code).toBe("abortAtStep" in stop ? "LENET5_ABORTED" : undefined);
    expect(second!.error).toEqual({
      code: "LENET5_DISTRIBUTED_FAILED",
      message: "Expected 2 ranks to the end of the training but rank 0 left it: it was stopped",
    });
  }
});

test("checkpoints are rank 0's, and any number of ranks goes on from them", async () => {
  const folder = temporaryFolder();
  const fit = { epochs: 4, schedule: "constant", learningRate: 1e-4, epsilon: 1e-6 } as const;
  await together(2, (index) => ({
    fit: { ...fit, epochs: 2, distributed: true, checkpointDirectory: index === 0 ? folder : join(folder, "never") },
  }));
  expect(existsSync(join(folder, CHECKPOINT_NAME))).toBe(true);
  expect(existsSync(join(folder, "never"))).toBe(false);
  const copy = temporaryFolder();
  copyFileSync(join(folder, CHECKPOINT_NAME), join(copy, CHECKPOINT_NAME));
  const one = await alone({ fit: { ...fit, checkpointDirectory: copy, resume: true } });
  expect(one.losses).toHaveLength(50);
  const courses = await together(3, {
    fit: { ...fit, distributed: true, checkpointDirectory: folder, resume: true },
  });
  for (const { losses, error } of courses) {
    expect(error).toBeNull();
    expect(losses).toHaveLength(50);
    // Later a maximum of two all but equal values may go the other way, and the courses part by a little.
    const begin = losses.slice(0, 20);
    expect(Math.max(...begin.map((loss, step) => Math.abs(loss - one.losses[step]!)))).toBeLessThan(1e-5);
  }
});

test("a checkpoint that cannot be written ends all ranks, each with the reason", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "file"), "in the way");
  const task: Task = { fit: { ...LONG.fit, checkpointDirectory: join(folder, "file") } };
  const [first, second] = await together(2, task);
  expect(first!.error?.code).toBe("LENET5_FILE_WRITE_FAILED");
  expect(second!.error?.code).toBe("LENET5_DISTRIBUTED_FAILED");
  expect(second!.error?.message).toContain(`rank 0 left it: ${first!.error!.message}`);
});
