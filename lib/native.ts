// The one file that loads the addon and calls it: errors leave as LeNet5Error with the caller's stack. What the addon
// has is in native/types.ts.
import { ERRORS, type ErrorName, LeNet5Error } from "./errors.js";
import { isBranded } from "./is.js";
import { loadAddon } from "./libtorch/load-addon.js";
import type { NativeAddon } from "./native/types.js";

let addon: NativeAddon | undefined;

/** The addon, loaded at its first use, so that importing the package costs nothing and `doctor` runs without it. */
export function native(): NativeAddon {
  addon ??= loadAddon() as NativeAddon;
  return addon;
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
