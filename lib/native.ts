// The one file that loads the addons and calls them: errors leave as LeNet5Error with the caller's stack. What the addons
// have is in native/types.ts.
import { ERRORS, type ErrorName, LeNet5Error } from "./errors.js";
import { isBranded } from "./is.js";
import { loadAddon } from "./libtorch/load-addon.js";
import { findBuilt, openBuilt } from "./native/built-files.js";
import type { FusedAddon, LibtorchAddon } from "./native/types.js";

let fused: FusedAddon | undefined;
let torch: LibtorchAddon | undefined;

/**
 * The addon without libtorch, loaded at its first use, so that importing the package costs nothing.
 * @throws LENET5_ADDON_NOT_BUILT
 */
export function native(): FusedAddon {
  fused ??= openBuilt(findBuilt("lenet5_fused.node")) as FusedAddon;
  return fused;
}

/**
 * The addon with libtorch, loaded when something first needs it.
 * @param need - what needs it, for the message where there is none
 * @throws LENET5_ADDON_NOT_BUILT, LENET5_LIBTORCH_NOT_FOUND, LENET5_LIBTORCH_INCOMPATIBLE, LENET5_LIBTORCH_MIXED
 */
export function libtorch(need: string): LibtorchAddon {
  if (torch !== undefined) return torch;
  let opened: LibtorchAddon;
  try {
    opened = loadAddon() as LibtorchAddon;
  } catch (error) {
    if (!isBranded(error, "LeNet5Error")) throw error;
    const { code, message } = error as LeNet5Error;
    const name = code.slice("LENET5_".length) as ErrorName;
    throw new LeNet5Error(name, `${need} needs libtorch. ${message}`, { cause: error });
  }
  // One number of threads for both.
  opened.followThreads(native().threadsCell);
  torch = opened;
  return torch;
}

/** Turns an error of the addon into a {@link LeNet5Error} that carries the stack of the JavaScript caller. */
export function fromNative(error: unknown): unknown {
  if (isBranded(error, "LeNet5Error")) return error;
  const { code, message, detail } = Object(error) as { code?: unknown; message?: unknown; detail?: unknown };
  if (typeof code !== "string" || !code.startsWith("LENET5_")) return error;
  const name = code.slice("LENET5_".length);
  // A code that the table lacks is a mistake in the addon (test/errors.test.ts looks for one) and says so.
  const converted = Object.hasOwn(ERRORS, name)
    ? new LeNet5Error(name as ErrorName, String(message), { cause: error })
    : new LeNet5Error("NATIVE_FAILURE", `${String(message)} (with the unknown code ${code})`, { cause: error });
  if (detail !== undefined) Object.defineProperty(converted, "detail", { value: detail, enumerable: false });
  return converted;
}

/** Makes an asynchronous call into the addon; what it throws at once is a rejection like any other. */
export async function nativeCall<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw fromNative(error);
  }
}

/** Makes a synchronous call into the addon. */
export function nativeCallSync<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw fromNative(error);
  }
}
