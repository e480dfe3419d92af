// Every error of the package: one table of stable codes, each with the HTTP status a server answers it with.
// Native code names the same codes; test/errors.test.ts holds the two together.
import { brand, isBranded, isNativeError } from "./is.js";

/** The table of errors: code without its `LENET5_` prefix → HTTP status and what it means. */
export const ERRORS = {
  UNKNOWN_OPTION: { status: 400, meaning: "an option's name is not known, misspelt perhaps" },
  INVALID_OPTION: { status: 400, meaning: "an option's value has the wrong type or lies outside its range" },
  INVALID_ARGUMENT: { status: 400, meaning: "an argument has the wrong type" },
  INVALID_SHAPE: { status: 400, meaning: "a tensor's shape does not fit its data or the model" },
  INVALID_DTYPE: { status: 400, meaning: "a tensor's element type is not supported here" },
  INVALID_PIXELS: { status: 400, meaning: "pixels hold NaN or infinity" },
  INVALID_LABELS: { status: 400, meaning: "a label lies outside the model's classes" },
  COUNT_MISMATCH: { status: 400, meaning: "images and labels differ in number" },
  DATA_NOT_FOUND: { status: 404, meaning: "a data file or folder does not exist" },
  DATA_CORRUPT: { status: 400, meaning: "a data file's header contradicts its contents" },
  DATA_EMPTY: { status: 400, meaning: "a data set holds no images" },
  DATA_DOWNLOAD_FAILED: { status: 502, meaning: "no mirror delivered the data whole" },
  IMAGE_UNREADABLE: { status: 400, meaning: "an image file cannot be decoded" },
  MODEL_NOT_FOUND: { status: 404, meaning: "a model file does not exist" },
  MODEL_CORRUPT: { status: 400, meaning: "a file is not a whole model of its format" },
  MODEL_TOO_LARGE: { status: 413, meaning: "a model file declares more than may be read" },
  MODEL_MISMATCH: {
    status: 400,
    meaning: "a model file holds something other than a LeNet-5, or data have a class that the model does not",
  },
  CHECKPOINT_NOT_FOUND: { status: 404, meaning: "there is no checkpoint to resume from" },
  CHECKPOINT_CORRUPT: { status: 400, meaning: "a checkpoint is not whole" },
  CHECKPOINT_MISMATCH: { status: 409, meaning: "a checkpoint belongs to a run with other settings" },
  FILE_BUSY: { status: 409, meaning: "another process is writing the same file" },
  FILE_READ_FAILED: { status: 500, meaning: "a file or folder is there and could not be read" },
  FILE_WRITE_FAILED: { status: 507, meaning: "a file could not be written whole" },
  EXPORT_UNVERIFIED: { status: 500, meaning: "a written model did not give the same answers when read back" },
  DEVICE_UNAVAILABLE: { status: 503, meaning: "the device asked for is not there" },
  ENGINE_UNAVAILABLE: { status: 400, meaning: "the engine asked for cannot run this model on this device" },
  MODEL_BUSY: { status: 409, meaning: "the model is being trained, changed or run by another call" },
  QUEUE_FULL: { status: 503, meaning: "too many calls wait already" },
  ABORTED: { status: 499, meaning: "the caller aborted the call" },
  DISTRIBUTED_FAILED: { status: 503, meaning: "another rank of a training left it, died or did not come in time" },
  DISTRIBUTED_MISMATCH: { status: 409, meaning: "the ranks of a training differ in data, options or versions" },
  DISTRIBUTED_UNAVAILABLE: { status: 501, meaning: "the libtorch in use has no c10d with Gloo" },
  DISPOSED: { status: 410, meaning: "the object was disposed of" },
  SCRIPT_RAISED: { status: 400, meaning: "the TorchScript code raised an exception" },
  SCRIPT_METHOD_NOT_FOUND: { status: 404, meaning: "the module has no such method" },
  SCRIPT_ARGUMENTS: { status: 400, meaning: "arguments do not fit the method's signature" },
  SCRIPT_UNSUPPORTED: {
    status: 501,
    meaning: "the module uses an operator, a file version or a value that libtorch or JavaScript has nothing for",
  },
  LIBTORCH_NOT_FOUND: { status: 500, meaning: "no libtorch was found" },
  LIBTORCH_MIXED: { status: 500, meaning: "a second libtorch is in the process already" },
  LIBTORCH_INCOMPATIBLE: { status: 500, meaning: "the addon was built for another libtorch" },
  LIBTORCH_INSTALL_FAILED: { status: 500, meaning: "libtorch could not be installed" },
  OPERATORS_NOT_FOUND: { status: 404, meaning: "a library of operators does not exist" },
  OPERATORS_UNUSABLE: {
    status: 400,
    meaning: "a library of operators is damaged, or was not made for this platform and the libtorch in use",
  },
  MODEL_UNAVAILABLE: { status: 503, meaning: "a served model is known and not ready: loading, unloaded or broken" },
  REQUEST_INVALID: { status: 400, meaning: "a request does not follow its protocol" },
  REQUEST_TOO_LARGE: { status: 413, meaning: "a request is larger than the server takes" },
  REQUEST_TIMED_OUT: { status: 504, meaning: "a request was not answered within its time" },
  ENDPOINT_NOT_FOUND: { status: 404, meaning: "the server has nothing at this address" },
  METHOD_NOT_ALLOWED: { status: 405, meaning: "the address takes other methods than this" },
  UNAUTHORIZED: { status: 401, meaning: "a request lacks the token that the server asks for" },
  PROTOCOL_UNSUPPORTED: { status: 501, meaning: "the protocol has a feature that this server does not" },
  SERVER_UNREACHABLE: { status: 502, meaning: "no server answers at the address, or none that is ready in time" },
  SERVER_REFUSED: { status: 502, meaning: "a server refused what it was asked for" },
  DEPLOYMENT_CONFLICT: { status: 409, meaning: "a model repository holds another version than the one expected" },
  ANSWER_MISMATCH: { status: 500, meaning: "a served model does not answer as its file does" },
  LISTEN_FAILED: { status: 500, meaning: "the server could not listen on its address" },
  DEPENDENCY_MISSING: { status: 500, meaning: "a package that this call needs is not installed" },
  ADDON_NOT_BUILT: { status: 500, meaning: "the native addon is missing or cannot be loaded" },
  THREAD_UNAVAILABLE: { status: 503, meaning: "the system has no thread left for the call" },
  OUT_OF_MEMORY: { status: 507, meaning: "memory ran out" },
  NATIVE_FAILURE: { status: 500, meaning: "libtorch or the addon failed unexpectedly" },
} as const;

/** A key of {@link ERRORS}. */
export type ErrorName = keyof typeof ERRORS;
/** A stable error code, for example `LENET5_INVALID_SHAPE`. */
export type ErrorCode = `LENET5_${ErrorName}`;

/** An error of this package: `code` is stable and `status` is the HTTP status a server would answer with. */
export class LeNet5Error extends Error {
  static {
    brand(LeNet5Error, "LeNet5Error");
  }
  /** Stable code, one of the table in `ERRORS`. */
  readonly code: ErrorCode;
  /** HTTP status that fits the error. */
  readonly status: number;

  /**
   * @param name - the error's name in the table, without prefix
   * @param message - one sentence for people
   * @param options - `cause`: what led to it
   */
  constructor(name: ErrorName, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = name === "ABORTED" ? "AbortError" : "LeNet5Error";
    this.code = `LENET5_${name}`;
    this.status = ERRORS[name].status;
  }
}

/** Describes a value for the tail of an error message: its type, and the value itself where it is short. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return value.length <= 80 ? `"${value}"` : `a string of ${value.length} characters`;
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return String(value);
  if (Array.isArray(value))
    return value.length <= 8 ? `[${value.map(describeItem).join(", ")}]` : `an array of ${value.length}`;
  if (ArrayBuffer.isView(value)) return `a ${classOf(value)} of ${value.byteLength} bytes`;
  if (typeof value === "function") return "a function";
  if (typeof value === "symbol") return "a symbol";
  return `a ${classOf(value)}`;
}

/** The name of an object's class. An object may say of itself what it likes, so that even asking may throw. */
function classOf(value: object): string {
  try {
    const name: unknown = value.constructor.name;
    return typeof name === "string" && name !== "" ? name.slice(0, 80) : "object";
  } catch {
    return "object";
  }
}

/** An array inside an array only by its length: arrays may hold themselves. */
function describeItem(item: unknown): string {
  return Array.isArray(item) ? `an array of ${item.length}` : describe(item);
}

/** The one message shape for bad input: "Expected X for Y but received Z". */
export function expected(name: ErrorName, what: string, where: string, received: unknown): LeNet5Error {
  return new LeNet5Error(name, `Expected ${what} for ${where} but received ${describe(received)}`);
}

/** Like {@link expected}, with the tail already in words. */
export function expectedButGot(name: ErrorName, what: string, where: string, received: string): LeNet5Error {
  return new LeNet5Error(name, `Expected ${what} for ${where} but received ${received}`);
}

/** True for any error with a code of this package, also one from the other module format or from native code. */
export function isLeNet5Error(error: unknown): error is LeNet5Error {
  if (isBranded(error, "LeNet5Error")) return true;
  const code = isNativeError(error) ? (error as { code?: unknown }).code : undefined;
  return typeof code === "string" && code.startsWith("LENET5_");
}
