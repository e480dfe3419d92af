// Tensors that stay in native memory: a result kept there goes into the next call without a copy.
import { expected, expectedButGot } from "../errors.js";
import { brand, isBranded } from "../is.js";
import type { NativeTensor, WrapTensor } from "../native/types.js";
import { libtorch, nativeCall } from "../native.js";
import { readOptions } from "../options.js";
import type { Tensor } from "../tensor.js";
import { encodeTensor } from "./encoding.js";

let wrap: WrapTensor;
/** Under this name every copy of this package finds the addon's object behind a handle of another copy. */
const NATIVE = Symbol.for("lenet5-libtorch.nativeTensor");

/**
 * A tensor in native memory, on a module's device. Comes from `run(…, { keep: true })` or {@link TensorHandle.from}, and
 * is an argument like any tensor. As in PyTorch, a handle may share its memory with what it was made from: a module that
 * changes its state in place changes a handle of that state too. The memory is freed by {@link dispose} or, at some
 * time, by the garbage collector.
 */
export class TensorHandle {
  /** Sizes of the dimensions; `[]` for a single value. */
  readonly shape: readonly number[];
  /** PyTorch's name of the element type; may be one that JavaScript has no array for, `complex64` for example. */
  readonly dtype: string;
  /** Where the tensor lies, for example `cpu` or `cuda:0`. */
  readonly device: string;
  #native: NativeTensor | undefined;

  static {
    wrap = (tensor, shape, dtype, device) => new TensorHandle(tensor, shape, dtype, device);
    brand(TensorHandle, "TensorHandle");
    Object.defineProperty(TensorHandle.prototype, NATIVE, {
      get(this: TensorHandle) {
        return #native in this ? this.#native : undefined;
      },
    });
  }

  private constructor(tensor: NativeTensor, shape: readonly number[], dtype: string, device: string) {
    this.#native = tensor;
    this.shape = shape;
    this.dtype = dtype;
    this.device = device;
  }

  /**
   * Copies a tensor into native memory, for use in several calls.
   * @param options - `device`: where to, see `devices()`
   * @defaultValue `device`: `"cpu"`
   * @throws LENET5_INVALID_SHAPE, LENET5_INVALID_DTYPE, LENET5_DEVICE_UNAVAILABLE
   */
  static async from(tensor: Tensor, options: { device?: string } = {}): Promise<TensorHandle> {
    const { device = "cpu" } = readOptions(options, ["device"], "TensorHandle.from");
    if (typeof device !== "string") throw expected("INVALID_OPTION", "a device's name", "device", device);
    const encoded = encodeTensor(tensor, "tensor");
    return (await nativeCall(() => libtorch("createTensor").createTensor(encoded, device, wrap))) as TensorHandle;
  }

  /**
   * Copies the elements into an array, row by row whatever their order in native memory.
   * @throws LENET5_DISPOSED; LENET5_SCRIPT_UNSUPPORTED for an element type without an array
   */
  async toTensor(): Promise<Tensor> {
    const tensor = nativeTensorOf(this, "toTensor");
    return nativeCall(() => libtorch("TensorHandle").readTensor(tensor));
  }

  /** True once {@link dispose} was called. */
  get disposed(): boolean {
    return this.#native === undefined;
  }

  /** Frees the memory; a call that has been made already keeps what it needs. Later calls do nothing. */
  dispose(): void {
    const tensor = this.#native;
    this.#native = undefined;
    if (tensor !== undefined) libtorch("TensorHandle").disposeTensor(tensor);
  }

  /** {@link dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** True for a handle, this copy's or another's. */
export function isTensorHandle(value: unknown): value is TensorHandle {
  return isBranded(value, "TensorHandle");
}

/** What the addon calls for every tensor that stays there. */
export const wrapTensor: WrapTensor = (tensor, shape, dtype, device) => wrap(tensor, shape, dtype, device);

/** The addon's object behind a handle. @throws LENET5_DISPOSED */
export function nativeTensorOf(handle: TensorHandle, where: string): NativeTensor {
  const tensor = (handle as unknown as { [NATIVE]?: NativeTensor })[NATIVE];
  if (tensor === undefined) throw expectedButGot("DISPOSED", "a tensor that is still there", where, "a disposed one");
  return tensor;
}
