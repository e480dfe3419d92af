// Which of several processes this one is, by the variables that torchrun, Kubeflow's operators and Slurm scripts set.
import { expected, expectedButGot } from "./errors.js";

/** One of several processes that share work. */
export interface Rank {
  /** 0 for the first. */
  readonly rank: number;
  /** Number of processes. */
  readonly worldSize: number;
}

/** Digits beyond these stand for no number of processes. */
const MOST_DIGITS = 9;

/**
 * What `RANK` and `WORLD_SIZE` say; undefined where neither is set. An empty variable counts as one that is not.
 * @throws LENET5_INVALID_OPTION where one of them is missing, is no number, or does not fit the other
 */
export function rankFromEnvironment(env: NodeJS.ProcessEnv = process.env): Rank | undefined {
  const { RANK, WORLD_SIZE } = env;
  if (!RANK && !WORLD_SIZE) return undefined;
  if (!WORLD_SIZE)
    throw expectedButGot("INVALID_OPTION", `a number of processes (RANK is ${RANK})`, "WORLD_SIZE", "none");
  if (!RANK) throw expectedButGot("INVALID_OPTION", `a process's number (WORLD_SIZE is ${WORLD_SIZE})`, "RANK", "none");
  const worldSize = wholeFromEnvironment("WORLD_SIZE", WORLD_SIZE, 1);
  return { rank: wholeFromEnvironment("RANK", RANK, 0, worldSize - 1), worldSize };
}

/**
 * The whole number that a variable holds.
 * @throws LENET5_INVALID_OPTION, naming the variable
 */
export function wholeFromEnvironment(name: string, text: string, min: number, max?: number): number {
  const value = /^\d+$/.test(text) && text.length <= MOST_DIGITS ? Number(text) : Number.NaN;
  if (value >= min && value <= (max ?? Number.POSITIVE_INFINITY)) return value;
  const range = max === undefined ? `of at least ${min}` : `from ${min} to ${max}`;
  throw expected("INVALID_OPTION", `a whole number ${range}`, name, text);
}
