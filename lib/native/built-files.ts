// The addons' files: where they lie, and opening them. They lie in `LENET5_BUILD_DIR` if that is set; else in
// `build/Release`, where a clone and `lenet5 install --build` build; else in the platform's package
// (`@lenet5-libtorch/linux-x64` …), which npm installs beside this one where it fits; else in `prebuilds`, where
// `npm run prebuild` puts them.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { packageRoot } from "#package-root";
import { LeNet5Error } from "../errors.js";
import { isNativeError } from "../is.js";
import { elfFault } from "../libtorch/elf.js";
import { packageVersion } from "../version.js";
import { PLATFORM_SCOPE, platformName } from "./platform.js";

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
    : `${name} in the package ${platformPackage()}, or built in ${packageRoot}${othersInstalled()}`;
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

/** Where an addon may lie that came with the package or was built in it, in order; each is looked at when it is its turn. */
function* packageFolders(): Generator<string> {
  yield join(packageRoot, "build", "Release");
  const installed = installedPackage();
  if (installed !== undefined) yield installed;
  yield join(packageRoot, "prebuilds", platformName());
}

function platformPackage(): string {
  return `${PLATFORM_SCOPE}/${platformName()}`;
}

/** The folder of this platform's package, if it is installed. @throws LENET5_ADDON_NOT_BUILT for another version's */
function installedPackage(): string | undefined {
  let description: string;
  try {
    description = requireHere.resolve(`${platformPackage()}/package.json`);
  } catch {
    return undefined;
  }
  let version: unknown;
  try {
    version = JSON.parse(readFileSync(description, "utf8")).version;
  } catch (cause) {
    const message = `Cannot read ${description}: it is damaged. Install ${platformPackage()} ${packageVersion} anew.`;
    throw new LeNet5Error("ADDON_NOT_BUILT", message, { cause });
  }
  if (version !== packageVersion) {
    const message = `Expected version ${packageVersion} of ${platformPackage()} but received ${version}. Install both packages in one version.`;
    throw new LeNet5Error("ADDON_NOT_BUILT", message);
  }
  return dirname(description);
}

/** Names the packages for other platforms that lie here: node_modules may have come from another machine. */
function othersInstalled(): string {
  const folders = requireHere.resolve.paths(PLATFORM_SCOPE) ?? [];
  const others = folders
    .map((folder) => join(folder, PLATFORM_SCOPE))
    .flatMap((folder) => (existsSync(folder) ? readdirSync(folder) : []))
    .map((name) => `${PLATFORM_SCOPE}/${name}`)
    .filter((name) => name !== platformPackage());
  if (others.length === 0) return "";
  return ` (here is ${others.join(", ")}, for another platform: run \`npm install\` on this one)`;
}
