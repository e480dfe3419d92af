// The models of a folder, by name and version: what is loaded, what is ready, and what takes its place.
import type { ServedModel } from "./served-model.js";

/** The state of one version of a model. */
export interface VersionStatus {
  /** The model's. */
  readonly name: string;
  /** A whole number, as text. */
  readonly version: string;
  /** Whether it answers, and if not, whether it is on its way; a ready one stays so while it is loaded anew. */
  readonly state: "loading" | "ready" | "unloading" | "unavailable";
  /** Why it is unavailable; empty otherwise. */
  readonly reason: string;
  /** True for the version that answers requests which name none. */
  readonly isDefault: boolean;
  /** The file, below the repository's folder. */
  readonly file: string;
  /** When it became ready. */
  readonly loadedAt: Date | undefined;
  /** Largest batch. */
  readonly maxBatchSize: number;
  /** Longest wait for company, in microseconds. */
  readonly maxQueueDelayMicroseconds: number;
  /** Requests that may wait. */
  readonly maxQueueSize: number;
  /** Requests that wait. */
  readonly queued: number;
}

/** Limits of a model's batches; those left out are the server's. */
export interface BatchLimits {
  /** Largest batch, in rows. */
  readonly maxBatchSize?: number;
  /** Longest wait for company, in microseconds. */
  readonly maxQueueDelayMicroseconds?: number;
  /** Requests that may wait. */
  readonly maxQueueSize?: number;
}

/** What protocols see of the repository. */
export interface ModelRepository {
  /** True once the first scan has loaded, or given up on, every model. */
  readonly ready: boolean;
  /** Every version of every model, sorted by name and number. */
  statuses(): VersionStatus[];
  /** The versions of one model. @throws LENET5_MODEL_NOT_FOUND */
  statusesOf(name: string): VersionStatus[];
  /**
   * The model that answers.
   * @param version - left out: the default one, which is the newest that is ready unless {@link setDefault} says otherwise
   * @throws LENET5_MODEL_NOT_FOUND for a name or version that there is not; LENET5_MODEL_UNAVAILABLE
   */
  model(name: string, version?: string): ServedModel;
  /**
   * Loads a model of the folder, or loads it anew: all its versions or the one given. The old one answers until the new one is
   * ready, and when the new one cannot be loaded.
   * @throws LENET5_MODEL_NOT_FOUND; what loading throws
   */
  load(name: string, options?: { version?: string; limits?: BatchLimits }): Promise<void>;
  /** Lets go of a model once its requests are answered; it stays so until it is loaded again. @throws LENET5_MODEL_NOT_FOUND */
  unload(name: string, version?: string): Promise<void>;
  /**
   * {@link unload}, and from the moment of the call there is no such model: it is not listed, and requests for it are refused
   * with LENET5_MODEL_NOT_FOUND, until it is loaded or registered again.
   * @throws LENET5_MODEL_NOT_FOUND
   */
  unregister(name: string, version?: string): Promise<void>;
  /** Makes a version the default one. @throws LENET5_MODEL_NOT_FOUND, LENET5_MODEL_UNAVAILABLE */
  setDefault(name: string, version: string): void;
  /**
   * Serves a file that lies in the repository's folder, `lenet5.mar` for example, under a name of its own (TorchServe's
   * `POST /models?url=`). Addresses and paths out of the folder are refused.
   * @returns the name and version that it is served under
   * @throws LENET5_REQUEST_INVALID, LENET5_MODEL_NOT_FOUND, LENET5_MODEL_BUSY where that version is there already
   */
  register(
    file: string,
    options?: { name?: string; version?: string; limits?: BatchLimits },
  ): Promise<{ name: string; version: string }>;
}
