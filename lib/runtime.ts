// What concerns the process and no model: devices, threads, instruction sets, versions.
import type { LeNet5Error } from "./errors.js";
import { isBranded } from "./is.js";
import { libtorch, native, nativeCallSync } from "./native.js";
import { wholeNumber } from "./options.js";

/**
 * The devices that can compute here, by PyTorch's names: `cpu` first, then what libtorch has, `cuda:0`, … Where there is no
 * libtorch, the CPU alone.
 * @throws LENET5_LIBTORCH_INCOMPATIBLE, LENET5_LIBTORCH_MIXED for a libtorch that is there and does not work
 */
export function devices(): string[] {
  try {
    return nativeCallSync(() => libtorch("devices").devices());
  } catch (error) {
    const absent = ["LENET5_LIBTORCH_NOT_FOUND", "LENET5_ADDON_NOT_BUILT"];
    if (isBranded(error, "LeNet5Error") && absent.includes((error as LeNet5Error).code)) return ["cpu"];
    throw error;
  }
}

/**
 * Sets the number of threads of libtorch and of the fused kernels, for the whole process. Where the system lets fewer
 * start, those there are do the work.
 * @param threads - 1 to 1,024
 * @defaultValue `OMP_NUM_THREADS`, else the number of physical cores, no more than a container's share of processors
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

/**
 * Version of the libtorch that the addon was built against and runs with, for example "2.13.0". Opens libtorch.
 * @throws LENET5_LIBTORCH_NOT_FOUND, LENET5_LIBTORCH_INCOMPATIBLE, LENET5_LIBTORCH_MIXED, LENET5_ADDON_NOT_BUILT
 */
export function libtorchVersion(): string {
  return nativeCallSync(() => libtorch("libtorchVersion").libtorchVersion);
}
