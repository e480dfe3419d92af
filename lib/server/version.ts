// One version of a model: loaded, loaded anew, let go. What protocols hold is this, whatever is behind it: a request that
// began with the old model is answered by it, or by the new one.
import { expectedButGot, isLeNet5Error, type LeNet5Error } from "../errors.js";
import { isNativeError } from "../is.js";
import type { Tensor } from "../tensor.js";
import type { QueueLimits } from "./batcher.js";
import type { LoadedModel } from "./loaded-model.js";
import type { ModelConfig } from "./model-config.js";
import type { VersionStatus } from "./model-repository.js";
import type { InferOptions, Inputs, ModelDescription, RawRequest, ServedModel } from "./served-model.js";

/** What a version is loaded from. */
export interface VersionSource {
  /** Below the repository's folder. */
  readonly file: string;
  readonly fingerprint: string;
  readonly config: ModelConfig;
  readonly problem?: LeNet5Error;
}

/** Loads what a source names. */
export type Load = (source: VersionSource, limits: Partial<QueueLimits>) => Promise<LoadedModel>;

/** One version of a model. */
export class Version implements ServedModel {
  readonly name: string;
  readonly version: string;
  readonly #load: Load;
  readonly #defaults: QueueLimits;
  #source: VersionSource;
  /** Set by API; they hold until they are set again. */
  #limits: Partial<QueueLimits> = {};
  #model: LoadedModel | undefined;
  #description: ModelDescription | undefined;
  #state: VersionStatus["state"] = "loading";
  #reason = "";
  #loadedAt: Date | undefined;
  /** Loads and unloads follow one another. */
  #last: Promise<unknown> = Promise.resolve();
  /** The last source that was tried. */
  #tried = "";
  #isUnloaded = false;
  #isUnregistered = false;

  constructor(name: string, version: string, source: VersionSource, how: { load: Load; limits: QueueLimits }) {
    this.name = name;
    this.version = version;
    this.#source = source;
    this.#load = how.load;
    this.#defaults = how.limits;
  }

  get ready(): boolean {
    return this.#model !== undefined;
  }

  /** True after an unload by API, until it is loaded again. */
  get isUnloaded(): boolean {
    return this.#isUnloaded;
  }

  /** True where it was also unregistered: for clients there is no such version. */
  get isUnregistered(): boolean {
    return this.#isUnregistered;
  }

  get file(): string {
    return this.#source.file;
  }

  /** Whether this very file has been tried already. */
  hasTried(fingerprint: string): boolean {
    return this.#tried === fingerprint;
  }

  get description(): ModelDescription {
    const model = this.#loaded();
    // A module's outputs may be known only after its first answer.
    if (this.#description?.outputs !== model.outputs) {
      const { kind, inputs, outputs, classNames } = model;
      const named = classNames === undefined ? {} : { classNames };
      this.#description = { name: this.name, version: this.version, kind, inputs, outputs, ...named };
    }
    return this.#description;
  }

  infer(inputs: Inputs, options?: InferOptions): Promise<ReadonlyMap<string, Tensor>> {
    return this.#loaded().infer(inputs, options);
  }

  respond(request: RawRequest, options?: InferOptions): Promise<unknown> {
    return this.#loaded().respond(request, options);
  }

  #loaded(): LoadedModel {
    if (this.#model === undefined) throw this.unavailable();
    return this.#model;
  }

  unavailable(): LeNet5Error {
    const why = this.#reason === "" ? this.#state : `${this.#state} (${this.#reason})`;
    return expectedButGot(
      "MODEL_UNAVAILABLE",
      "a model that is ready",
      `${this.name} ${this.version}`,
      `one that is ${why}`,
    );
  }

  /**
   * Loads what the source names. What there was before answers until the new one is ready, and goes on when there will be
   * none.
   */
  load(source: VersionSource, limits?: Partial<QueueLimits>): Promise<void> {
    this.#isUnloaded = false;
    this.#isUnregistered = false;
    this.#tried = source.fingerprint;
    if (this.#model === undefined) {
      this.#state = "loading";
      this.#reason = "";
    }
    return this.#inTurn(async () => {
      try {
        if (source.problem !== undefined) throw source.problem;
        const all = { ...this.#limits, ...limits };
        const model = await this.#load(source, all);
        if (this.#isUnloaded) {
          model.dispose();
          return;
        }
        const old = this.#model;
        this.#limits = all;
        this.#source = source;
        this.#model = model;
        this.#description = undefined;
        this.#state = "ready";
        this.#reason = "";
        this.#loadedAt = new Date();
        if (old !== undefined) void letGo(old);
      } catch (error) {
        if (this.#model === undefined && !this.#isUnloaded) {
          this.#state = "unavailable";
          this.#reason = reasonOf(error);
        }
        throw error;
      }
    });
  }

  /** Lets go of the model once its requests are answered. */
  unload(why = "it was unloaded"): Promise<void> {
    this.#isUnloaded = true;
    this.#state = "unloading";
    return this.#inTurn(async () => {
      const model = this.#model;
      this.#model = undefined;
      if (model !== undefined) await letGo(model);
      if (!this.#isUnloaded) return;
      this.#state = "unavailable";
      this.#reason = why;
    });
  }

  /** {@link unload}, after which clients are told that there is no such version. */
  unregister(): Promise<void> {
    this.#isUnregistered = true;
    return this.unload();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work);
    this.#last = mine.catch(() => {});
    return mine;
  }

  status(isDefault: boolean): VersionStatus {
    const { maxBatchSize, maxQueueDelayMicroseconds, maxQueueSize } = {
      ...this.#defaults,
      ...(this.#model?.kind === "torchscript" ? { maxBatchSize: 1 } : {}),
      ...this.#source.config,
      ...this.#limits,
    };
    return {
      name: this.name,
      version: this.version,
      state: this.#state,
      reason: this.#reason,
      isDefault,
      file: this.#source.file,
      loadedAt: this.#loadedAt,
      maxBatchSize,
      maxQueueDelayMicroseconds,
      maxQueueSize,
      queued: this.#model?.queued ?? 0,
    };
  }
}

async function letGo(model: LoadedModel): Promise<void> {
  await model.idle();
  model.dispose();
}

function reasonOf(error: unknown): string {
  const message = isNativeError(error) ? error.message : String(error);
  return isLeNet5Error(error) ? `${message} (${error.code})` : message;
}
