// Which part of the input a process takes: consecutive images, so that the outputs one after another are the whole one.
import { expected, expectedButGot } from "../errors.js";
import { rankFromEnvironment, wholeFromEnvironment } from "../ranks.js";

/** One of several parts. */
export interface Share {
  /** 0 … count − 1. */
  readonly index: number;
  readonly count: number;
}

/** All of it. */
export const WHOLE: Share = { index: 0, count: 1 };

/**
 * The part that the options name, else the environment: `RANK` and `WORLD_SIZE`, or the `JOB_COMPLETION_INDEX` of a
 * Kubernetes Job beside `shards`. An index whose number of parts nobody said is refused: each of them would take everything.
 * @throws LENET5_INVALID_OPTION
 */
export function chooseShare(
  { shards, shard }: { shards?: number; shard?: number },
  env: NodeJS.ProcessEnv = process.env,
): Share {
  if (shards === undefined) return shareOfEnvironment(shard, env);
  if (shard !== undefined) return { index: within(shard, shards, "--shard"), count: shards };
  if (shards === 1) return WHOLE;
  const rank = rankFromEnvironment(env);
  if (rank !== undefined) {
    if (rank.worldSize !== shards)
      throw expected("INVALID_OPTION", `${rank.worldSize}, as WORLD_SIZE says,`, "--shards", shards);
    return { index: rank.rank, count: shards };
  }
  const index = env.JOB_COMPLETION_INDEX;
  if (index) return { index: wholeFromEnvironment("JOB_COMPLETION_INDEX", index, 0, shards - 1), count: shards };
  const what = `a number from 0 to ${shards - 1} (there is neither JOB_COMPLETION_INDEX nor RANK)`;
  throw expectedButGot("INVALID_OPTION", what, "--shard", "none");
}

function shareOfEnvironment(shard: number | undefined, env: NodeJS.ProcessEnv): Share {
  if (shard !== undefined) {
    throw expectedButGot("INVALID_OPTION", "a number of parts (because of --shard)", "--shards", "none");
  }
  const rank = rankFromEnvironment(env);
  if (rank !== undefined) return { index: rank.rank, count: rank.worldSize };
  if (!env.JOB_COMPLETION_INDEX) return WHOLE;
  const what = `the Job's completions (JOB_COMPLETION_INDEX is ${env.JOB_COMPLETION_INDEX}), or 1 for everything,`;
  throw expectedButGot("INVALID_OPTION", what, "--shards", "none");
}

function within(shard: number, shards: number, where: string): number {
  if (shard < shards) return shard;
  throw expected("INVALID_OPTION", `a whole number from 0 to ${shards - 1}`, where, shard);
}

/** The images of a share: `from` … `to` − 1. */
export function rangeOf({ index, count }: Share, images: number): { from: number; to: number } {
  return { from: Math.floor((images * index) / count), to: Math.floor((images * (index + 1)) / count) };
}

/** The file of a share, as sharded files are named: `out.jsonl` → `out-00001-of-00004.jsonl`; of the whole, the name itself. */
export function fileOf({ index, count }: Share, path: string, ending: string): string {
  if (count === 1) return path;
  const digits = (value: number) => String(value).padStart(5, "0");
  return `${path.slice(0, path.length - ending.length)}-${digits(index)}-of-${digits(count)}${ending}`;
}
