// A model in memory: what the repository holds of one version, and lets go of when a newer one takes its place.

import type { Tensor } from "../tensor.js";
import type { BatchObserver, QueueLimits } from "./batcher.js";
import type { InferOptions, Inputs, ModelDescription, RawRequest } from "./served-model.js";

/** A model that was loaded from a file. */
export interface LoadedModel {
  readonly kind: ModelDescription["kind"];
  readonly inputs: ModelDescription["inputs"];
  readonly outputs: ModelDescription["outputs"];
  readonly classNames?: readonly string[];
  /** Requests that wait. */
  readonly queued: number;
  /** As {@link ServedModel.infer}. */
  infer(inputs: Inputs, options?: InferOptions): Promise<ReadonlyMap<string, Tensor>>;
  /** As {@link ServedModel.respond}. */
  respond(request: RawRequest, options?: InferOptions): Promise<unknown>;
  /** Runs it once or twice, so that its first request is as quick as the others. */
  warmUp(): Promise<void>;
  /** Resolves once every request that it has taken is answered. */
  idle(): Promise<void>;
  /** Frees its memory. */
  dispose(): void;
}

/** What a loaded model is made with. */
export interface LoadedModelOptions {
  readonly limits: QueueLimits;
  readonly observer: BatchObserver;
}
