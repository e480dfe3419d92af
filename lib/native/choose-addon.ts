// Which of the two addons makes a model. The one without libtorch is opened in a few milliseconds; the other one costs half
// a second and 150 MB, so it is opened only for what it alone can do.
import { isBranded } from "../is.js";
import { nvidiaDriver } from "../libtorch/cuda.js";
import { findLibtorch } from "../libtorch/find.js";
import { findBuiltAddon } from "../libtorch/load-addon.js";
import { libtorch, native } from "../native.js";
import type { LeNet5Addon } from "./types.js";

/** @throws the errors of opening the addon that is needed */
export function chooseAddon({ device, engine }: { device: string; engine: string }): LeNet5Addon {
  if (engine === "fused") return native();
  if (engine === "libtorch") return libtorch('engine: "libtorch"');
  if (device !== "auto" && device !== "cpu") return libtorch(`device: "${device}"`);
  return device === "auto" && hasCuda() ? libtorch("CUDA") : native();
}

let cuda: boolean | undefined;

/**
 * Whether libtorch computes on CUDA here. It is opened to be asked only where there is a driver and a libtorch with CUDA; one
 * that does not open then is left to whoever asks for it by name.
 */
function hasCuda(): boolean {
  cuda ??= nvidiaDriver() !== undefined && libtorchHasCuda();
  return cuda;
}

function libtorchHasCuda(): boolean {
  try {
    const { libtorchVersion, cxx11Abi } = findBuiltAddon();
    const found = findLibtorch({ built: { version: libtorchVersion, cxx11Abi } });
    return (
      found.libtorch.cudaLibraries.length > 0 &&
      libtorch("CUDA")
        .devices()
        .some((name) => name.startsWith("cuda"))
    );
  } catch (error) {
    // No libtorch that fits or that opens: then the CPU it is.
    if (isBranded(error, "LeNet5Error")) return false;
    throw error;
  }
}
