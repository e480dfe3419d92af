// What concerns the process and no model: devices, threads, instruction sets, versions.
import { native, nativeCallSync } from "./native.js";
import { wholeNumber } from "./options.js";

/** The devices that this libtorch can compute on here, by PyTorch's names: `cpu` first, then `cuda:0`, … */
export function devices(): string[] {
  return nativeCallSync(() => native().devices());
}

/**
 * Sets the number of threads of libtorch and of the fused kernels, for the whole process. Where the system lets fewer
 * start, those there are do the work.
 * @param threads - 1 to 1,024
 * @defaultValue the number of physical cores, or `OMP_NUM_THREADS`
 * @throws LENET5_INVALID_OPTION
 */
export function setNumThreads(threads: number): void {
  wholeNumber(threads, "threads", 1, 1024);
  nativeCallSync(() => native().setNumThreads(threads));
}

/** The number of threads that libtorch and the fused kernels use. */
export function getNumThreads(): number {
  return nativeCallSync(() => native().getNumThreads());
}

/** The instruction sets that the fused engine can use on this machine, slowest first. */
export function instructionSets(): string[] {
  return nativeCallSync(() => native().instructionSets());
}

/** Version of the libtorch that the addon was built against and runs with, for example "2.13.0". */
export function libtorchVersion(): string {
  return nativeCallSync(() => native().libtorchVersion);
}
