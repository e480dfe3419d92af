// Makes prebuilt addons: prebuilds/<platform>, from which scripts/platform-packages.mjs makes packages.
//
//   node scripts/prebuild.mjs [--target NAME]… [--with-libtorch] [--output DIR]
//
// --target         linux-x64, linux-arm64, linux-x64-musl, darwin-arm64, win32-x64 …; the platform at hand unless told.
//                  linux-arm64 is cross-compiled on Linux x64 with Debian's g++-aarch64-linux-gnu
// --with-libtorch  for the platform at hand also the addon with libtorch, as `npm run setup` has built it
// --output         instead of prebuilds/
//
// The fused addon is linked with its own C++ runtime; which glibc it needs is printed, and is that of the machine that builds
// or an older one: who publishes builds on an old one.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { buildTools } from "./build-tools.mjs";
import { main, root, runLogged, StepFailed, secondsSince } from "./shared.mjs";
import { compileTypeScript } from "./typescript.mjs";

const CORE = { win32: "lenet5_core.dll", darwin: "lenet5_core.dylib", linux: "lenet5_core.so" };

/** What cross-compiling takes: the compiler's prefix, and what CMake is told. */
const CROSS = {
  "linux-arm64": { prefix: "aarch64-linux-gnu-", package: "g++-aarch64-linux-gnu", processor: "aarch64" },
  "linux-x64": { prefix: "x86_64-linux-gnu-", package: "g++-x86-64-linux-gnu", processor: "x86_64" },
};

/** Platforms that this machine has compilers for. */
export async function possibleTargets() {
  const own = await ownPlatform();
  const crossed = Object.entries(CROSS).filter(
    ([, { prefix }]) => spawnSync(`${prefix}g++`, ["--version"]).status === 0,
  );
  const others = process.platform === "linux" ? crossed.map(([name]) => name) : [];
  return [own, ...others.filter((name) => name !== own)];
}

async function ownPlatform() {
  await compileTypeScript({ tolerant: true });
  const { platformName } = await import(pathToFileURL(join(root, "build/esm/native/platform.js")).href);
  return platformName();
}

/**
 * Builds, strips and puts one platform's fused addon into prebuilds/.
 * @returns {Promise<string>} its folder
 */
export async function prebuild(target, prebuilds = join(root, "prebuilds")) {
  const start = performance.now();
  const own = await ownPlatform();
  const cross = target === own ? undefined : CROSS[target];
  if (target !== own && (cross === undefined || process.platform !== "linux")) {
    throw new StepFailed(`Expected one of ${(await possibleTargets()).join(", ")} for --target but received ${target}`);
  }
  if (cross && spawnSync(`${cross.prefix}g++`, ["--version"]).status !== 0) {
    throw new StepFailed(`Expected ${cross.prefix}g++ for ${target} (Debian: apt-get install ${cross.package})`);
  }
  const tools = await buildTools();
  const output = join(root, "build", `prebuild-${target}`);
  const definitions = {
    LENET5_STATIC_RUNTIME: "ON",
    ...(cross && {
      CMAKE_SYSTEM_NAME: "Linux",
      CMAKE_SYSTEM_PROCESSOR: cross.processor,
      CMAKE_C_COMPILER: `${cross.prefix}gcc`,
      CMAKE_CXX_COMPILER: `${cross.prefix}g++`,
    }),
  };
  const words = Object.entries(definitions).map(([name, value]) => `--CD${name}=${value}`);
  const cmakeJs = join(tools, "cmake-js", "bin", "cmake-js");
  const command = [cmakeJs, "build", "--directory", root, "--out", output, "--target", "lenet5_fused", ...words];
  await runLogged(process.execPath, command, {
    log: join(output, "prebuild.log"),
    env: { ...process.env, NODE_PATH: tools },
  });
  const folder = join(prebuilds, target);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const addon = join(folder, "lenet5_fused.node");
  cpSync(join(output, "Release", "lenet5_fused.node"), addon);
  strip(addon, cross?.prefix ?? "");
  const kilobytes = Math.round(statSync(addon).size / 1024);
  console.error(`${target}: ${kilobytes} KiB, ${needs(addon)} (${secondsSince(start)})`);
  return folder;
}

function strip(path, prefix) {
  if (process.platform === "win32") return;
  const options = process.platform === "darwin" ? ["-x"] : ["--strip-unneeded"];
  const { status } = spawnSync(`${prefix}strip`, [...options, path], { stdio: "inherit" });
  if (status !== 0) throw new StepFailed(`Expected ${prefix}strip to end with status 0 for ${path}`);
}

/** The libraries that an addon of Linux needs, and the newest version of each that it asks for. */
function needs(path) {
  if (process.platform !== "linux") return "";
  const { stdout } = spawnSync("readelf", ["--wide", "--dynamic", "--version-info", path], { encoding: "utf8" });
  const libraries = [...stdout.matchAll(/Shared library: \[([^\]]*)\]/g)].map(([, name]) => name);
  const versions = [...stdout.matchAll(/Name: (GLIBC|GLIBCXX|CXXABI|GCC)_([\d.]+)/g)];
  const newest = new Map();
  for (const [, name, version] of versions) {
    const before = newest.get(name) ?? "0";
    if (version.localeCompare(before, "en", { numeric: true }) > 0) newest.set(name, version);
  }
  const asked = [...newest].map(([name, version]) => `${name} ${version}`);
  return `needs ${[...libraries, ...asked].join(", ")}`;
}

/** Adds the addon with libtorch as it was built here. It runs with that very version of libtorch only. */
async function addLibtorchAddon(folder) {
  const release = join(
    process.env.LENET5_BUILD_DIR ? resolve(process.env.LENET5_BUILD_DIR) : join(root, "build"),
    "Release",
  );
  const description = join(release, "lenet5_core.json");
  if (!existsSync(description)) throw new StepFailed(`Expected a built addon in ${release}: run \`npm run setup\``);
  const { PINNED_LIBTORCH_VERSION } = await import(pathToFileURL(join(root, "build/esm/libtorch/find.js")).href);
  const { libtorchVersion } = JSON.parse(readFileSync(description, "utf8"));
  if (libtorchVersion !== PINNED_LIBTORCH_VERSION) {
    throw new StepFailed(
      `Expected the addon for libtorch ${PINNED_LIBTORCH_VERSION}, which \`lenet5 install\` fetches, but ${release} is for ${libtorchVersion}`,
    );
  }
  const core = CORE[process.platform];
  // The last is there where that libtorch had CUDA.
  const files = ["lenet5_libtorch.node", core, core.replace("_core", "_cuda")];
  for (const file of files.filter((name) => existsSync(join(release, name)))) {
    cpSync(join(release, file), join(folder, file));
    strip(join(folder, file), "");
  }
  cpSync(description, join(folder, "lenet5_core.json"));
}

if (process.argv[1] && resolve(process.argv[1]) === resolve(root, "scripts/prebuild.mjs")) {
  await main(async () => {
    const { values } = parseArgs({
      options: {
        target: { type: "string", multiple: true },
        "with-libtorch": { type: "boolean" },
        output: { type: "string" },
      },
    });
    const own = await ownPlatform();
    for (const target of values.target ?? [own]) {
      const folder = await prebuild(target, values.output && resolve(values.output));
      if (values["with-libtorch"] && target === own) await addLibtorchAddon(folder);
    }
  });
}
