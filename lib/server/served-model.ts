// What a protocol sees of a model: its description, and tensors in, tensors out. Which engine answers, and with whom a
// request shares its batch, no protocol knows.
import type { DType, Tensor } from "../tensor.js";

/** An input or output of a model. */
export interface TensorSpec {
  /** The name that requests and answers use. */
  readonly name: string;
  /** Element type, by PyTorch's name; undefined where the model takes or gives any. */
  readonly dtype: DType | undefined;
  /** Sizes, outermost first; -1 is any. Undefined where the model does not say. */
  readonly shape: readonly number[] | undefined;
}

/** What is known of a served model. */
export interface ModelDescription {
  /** The name that it is served under. */
  readonly name: string;
  /** The version that it is served under: a whole number, as text. */
  readonly version: string;
  /** What answers. */
  readonly kind: "lenet5" | "torchscript";
  /** Inputs, in the order in which unnamed ones are given. */
  readonly inputs: readonly TensorSpec[];
  /** Outputs, in order. */
  readonly outputs: readonly TensorSpec[];
  /** One name a class, for LeNet-5. */
  readonly classNames?: readonly string[];
}

/** How one request is answered. */
export interface InferOptions {
  /** Takes the request out of the queue: its client has gone. */
  readonly signal?: AbortSignal;
  /** Milliseconds until the request is given up. @defaultValue the model's own */
  readonly timeoutMilliseconds?: number;
  /** Names of the outputs that are asked for; others need not be made. @defaultValue all */
  readonly outputs?: readonly string[] | undefined;
}

/** A body as TorchServe's clients send it: an image or pixels or JSON, with nothing said about it. */
export interface RawRequest {
  /** The body, whole. */
  readonly body: Uint8Array;
  /** `Content-Type`, without parameters and in lower case; empty where there is none. */
  readonly contentType: string;
}

/** Tensors by name, or what makes them. */
export type Inputs = ReadonlyMap<string, Tensor> | (() => Promise<ReadonlyMap<string, Tensor>>);

/** A model that is ready. */
export interface ServedModel {
  /** What is known of it. */
  readonly description: ModelDescription;
  /**
   * Answers one request, in a batch with others of the same shape.
   * @param inputs - by the names in the description; copied before the call returns. As a function, what makes them (from image
   * files, for example): it is called where the queue has room, and holds a place in it meanwhile
   * @returns every output of the description, in its order; of those that were not asked for some may be left out
   * @throws LENET5_INVALID_SHAPE, LENET5_INVALID_DTYPE, LENET5_SCRIPT_ARGUMENTS and the model's other errors;
   * LENET5_QUEUE_FULL, LENET5_REQUEST_TIMED_OUT, LENET5_ABORTED, LENET5_MODEL_UNAVAILABLE
   */
  infer(inputs: Inputs, options?: InferOptions): Promise<ReadonlyMap<string, Tensor>>;
  /**
   * Answers a body as the model's TorchServe handler does (lib/export/lenet5_handler.py).
   * @returns what is to be sent as JSON
   * @throws as {@link infer}, and LENET5_IMAGE_UNREADABLE
   */
  respond(request: RawRequest, options?: InferOptions): Promise<unknown>;
}
