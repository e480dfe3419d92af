// Where the ranks of a training meet, by the variables that torchrun, Kubeflow's PyTorchJob and Slurm scripts set for
// PyTorch's `init_method="env://"`: https://docs.pytorch.org/docs/stable/distributed.html#environment-variable-initialization
import { expected, expectedButGot } from "../errors.js";
import { isObject } from "../is.js";
import { finiteNumber, readOptions } from "../options.js";
import { type Rank, rankFromEnvironment, wholeFromEnvironment } from "../ranks.js";

/** How `fit` trains with others. */
export interface DistributedOptions {
  /**
   * Seconds that the ranks wait for each other, in the beginning and in each step: rank 0's evaluation and the slowest
   * rank's loading of data are to fit in. A rank that dies is noticed at once. @defaultValue 300
   */
  timeout?: number;
}

/** Where and as whom a process takes part in a training. */
export interface Rendezvous extends Rank {
  /** `MASTER_ADDR` and `MASTER_PORT`: where c10d's store listens. */
  readonly host: string;
  readonly port: number;
  /** Whether rank 0 keeps the store; false where torchrun's agent does. */
  readonly serves: boolean;
  /** Tells one start of the ranks from the next. */
  readonly attempt: string;
  readonly timeoutSeconds: number;
}

/** PyTorch's limit for Gloo is half an hour; who waits five minutes for a rank waits in vain. */
const TIMEOUT = 300;
const LONGEST = 30 * 24 * 3600;

/**
 * Reads `fit`'s option `distributed` and, where it asks for others, the environment.
 * @throws LENET5_INVALID_OPTION, naming the variable that is missing or wrong; LENET5_UNKNOWN_OPTION
 */
export function rendezvousOf(value: unknown, env: NodeJS.ProcessEnv = process.env): Rendezvous | undefined {
  if (value === undefined || value === false) return undefined;
  if (value !== true && !isObject(value)) {
    throw expected("INVALID_OPTION", "true, false or an object of options", "distributed", value);
  }
  const options = value === true ? {} : readOptions(value as DistributedOptions, ["timeout"], "distributed");
  const { timeout = TIMEOUT } = options;
  finiteNumber(timeout, "distributed.timeout", `above 0, up to ${LONGEST}`, (x) => x > 0 && x <= LONGEST);

  const rank = rankFromEnvironment(env);
  if (rank === undefined) {
    const wanted = "RANK and WORLD_SIZE in the environment, as torchrun sets them,";
    throw expectedButGot("INVALID_OPTION", wanted, "distributed", "neither");
  }
  const { MASTER_ADDR: host = "", MASTER_PORT: port = "", TORCHELASTIC_RESTART_COUNT: restarts = "" } = env;
  // One rank alone meets nobody.
  const alone = rank.worldSize === 1;
  if (host === "" && !alone) throw expectedButGot("INVALID_OPTION", "rank 0's address", "MASTER_ADDR", "none");
  if (port === "" && !alone) throw expectedButGot("INVALID_OPTION", "rank 0's port", "MASTER_PORT", "none");
  return {
    ...rank,
    host: host || "localhost",
    port: port === "" ? 29500 : wholeFromEnvironment("MASTER_PORT", port, 1, 65535),
    serves: env.TORCHELASTIC_USE_AGENT_STORE !== "True",
    attempt: `${restarts || 0}-of-${rank.worldSize}`,
    timeoutSeconds: timeout,
  };
}
