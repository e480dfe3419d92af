// The addons' files: where they lie, and opening them. They lie in `LENET5_BUILD_DIR` if that is set, else in `build/Release`, where a clone and
// `lenet5 install --build` build, else among the prebuilt ones.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { packageRoot } from "#package-root";
import { LeNet5Error } from "../errors.js";
import { isNativeError } from "../is.js";
import { elfFault } from "../libtorch/elf.js";

const requireHere = createRequire(join(packageRoot, "package.json"));

/** What to do where an addon is missing. */
export const BUILD = "Build it with `npx lenet5 install --build` (in a clone: `npm run setup`)";

/** The absolute path of an addon's file. @throws LENET5_ADDON_NOT_BUILT */
export function findBuilt(name: string): string {
  const chosen = process.env.LENET5_BUILD_DIR;
  const folders = chosen ? [resolve(chosen, "Release")] : packageFolders();
  for (const folder of folders) {
    const path = join(folder, name);
    if (existsSync(path)) return path;
  }
  const where = chosen
    ? `${name} in ${chosen} (LENET5_BUILD_DIR)`
    : `a prebuilt or built ${name} for ${process.platform}-${process.arch} in ${packageRoot}`;
  throw new LeNet5Error("ADDON_NOT_BUILT", `Expected ${where}. ${BUILD}.`);
}

/** @throws LENET5_ADDON_NOT_BUILT for a library that is truncated, for another platform, or none */
export function checkLibrary(path: string): void {
  const fault = process.platform === "linux" ? elfFault(path) : undefined;
  if (fault) throw new LeNet5Error("ADDON_NOT_BUILT", `Cannot load ${path}: ${fault}. ${BUILD}.`);
}

/** Opens an addon, once a thread. @throws LENET5_ADDON_NOT_BUILT */
export function openBuilt(path: string): unknown {
  checkLibrary(path);
  try {
    return requireHere(path);
  } catch (cause) {
    const reason = isNativeError(cause) ? cause.message : String(cause);
    throw new LeNet5Error("ADDON_NOT_BUILT", `Cannot load ${path}: ${reason}. ${BUILD}.`, { cause });
  }
}

function packageFolders(): string[] {
  return [join(packageRoot, "build", "Release"), join(packageRoot, "prebuilds", `${process.platform}-${process.arch}`)];
}
