// Builds, tests and measures on a GPU: `npm run test:cuda`.
//
// The problem: the machines with GPUs that one can borrow have Python's torch, a compiler and CMake, and often neither Node nor
// a network. The resolution: what they lack is packed into one file of some 30 MB, Node itself among it, beside a script that
// needs Python alone (scripts/test-cuda/run.py): the two are carried there, and do everything in a folder of their own. On a
// machine with a GPU that has Node, this script packs and runs at once.
//
//   node scripts/test-cuda.mjs [--pack] [--cpu] [--output DIR] [--node PATH] [-- words for run.py]
//
// --pack    packs only; then, over there: python3 cuda-kit/run.py
// --cpu     runs here, without a GPU: everything but CUDA itself, as if on such a machine (no Node in the PATH and, where the
//           system allows it, no network)
// --output  folder of the kit (default: build/cuda-kit)
// --node    the Node to carry, one that needs the C++ runtime alone (default: the one that runs this)
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { buildTools } from "./build-tools.mjs";
import { main, root, runLogged, StepFailed, secondsSince } from "./shared.mjs";
import { compileTypeScript } from "./typescript.mjs";

/** What may be carried at once to the machines that this was made for. */
const LARGEST_KIT = 60 * 2 ** 20;
/** Libraries that every machine has on which Python's torch runs. */
const EVERYWHERE = /^(libc|libm|libdl|libpthread|librt|libstdc\+\+|libgcc_s|libatomic|ld-linux[\w-]*)\.so\.\d+$/;
/** Of the package, what a build and the tests take. */
const PACKED = ["package.json", "package-root.mjs", "package-root.cjs", "dist", "CMakeLists.txt", "cmake", "test/cuda"];
/** Packages that dist/ imports, and theirs. */
const MODULES = ["yauzl", "pend"];

/**
 * Packs the kit.
 * @param {string} output - its folder
 * @param {string} node - the Node to carry
 */
export async function pack(output, node = process.execPath) {
  if (process.platform !== "linux") throw new StepFailed(`Expected Linux but this is ${process.platform}`);
  const start = performance.now();
  await compileTypeScript({ tolerant: true });
  const { readElfDynamic } = await import(pathToFileURL(join(root, "build/esm/libtorch/elf.js")).href);
  const others = (readElfDynamic(node)?.needed ?? []).filter((name) => !EVERYWHERE.test(name));
  if (others.length > 0) {
    throw new StepFailed(
      `Expected a Node that needs the C++ runtime alone but ${node} needs ${others.join(", ")}: take one of nodejs.org with --node`,
    );
  }
  const tools = await buildTools();
  const work = mkdtempSync(join(tmpdir(), "lenet5-kit-"));
  try {
    const kit = join(work, "package");
    for (const name of PACKED) cpSync(join(root, name), join(kit, name), { recursive: true });
    cpSync(join(root, "native"), join(kit, "native"), {
      recursive: true,
      filter: (path) => !/[\\/]native[\\/](?:[^\\/]+[\\/])?(?:test|bench)$/.test(path),
    });
    for (const name of MODULES) {
      cpSync(join(root, "node_modules", name), join(kit, "node_modules", name), { recursive: true });
    }
    cpSync(join(tools, "node-api-headers", "include"), join(kit, "include", "node-api-headers"), { recursive: true });
    cpSync(join(tools, "node-addon-api"), join(kit, "include", "node-addon-api"), { recursive: true });
    copyFileSync(node, join(work, "node"));
    chmodSync(join(work, "node"), 0o755);
    mkdirSync(output, { recursive: true });
    const file = join(output, "kit.tar.xz");
    rmSync(file, { force: true });
    await runLogged("tar", ["--create", "--xz", "--owner=0", "--group=0", "--file", file, "package", "node"], {
      log: join(output, "pack.log"),
      cwd: work,
      env: { ...process.env, XZ_OPT: "-2 -T0" },
    });
    copyFileSync(join(root, "scripts", "test-cuda", "run.py"), join(output, "run.py"));
    const { size } = statSync(file);
    if (size > LARGEST_KIT)
      throw new StepFailed(`Expected at most ${LARGEST_KIT} bytes for ${file} but received ${size}`);
    console.error(`Packed ${output}: ${(size / 2 ** 20).toFixed(1)} MiB in ${secondsSince(start)}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Where a program lies; the name itself for one that is not in the PATH. */
function pathOf(name) {
  const folders = (process.env.PATH ?? "").split(delimiter);
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? name;
}

/** The words before a command that take the network from it; none where the system does not allow that. */
function withoutNetwork() {
  const words = [pathOf("unshare"), "--net", "--map-root-user"];
  return spawnSync(words[0], [...words.slice(1), "true"]).status === 0 ? words : [];
}

/** Runs the kit as if there were no Node here. */
async function run(output, { cpu, words }) {
  const python = process.env.LENET5_PYTHON || pathOf("python3");
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => !existsSync(join(folder, "node")));
  // Where the system's programs lie beside a Node, there is no telling them apart by folders: links to what is needed.
  const needed = [
    "cmake",
    "c++",
    "cc",
    "g++",
    "gcc",
    "ninja",
    "make",
    "ld",
    "as",
    "ar",
    "ranlib",
    "ldconfig",
    "sh",
    "git",
  ];
  const links = mkdtempSync(join(tmpdir(), "lenet5-path-"));
  try {
    for (const name of needed) {
      if (existsSync(pathOf(name))) symlinkSync(pathOf(name), join(links, name));
    }
    const network = cpu ? withoutNetwork() : [];
    if (cpu && network.length === 0) console.error("The network stays: this system does not let it be taken away");
    const [command, ...args] = [...network, python, join(output, "run.py"), ...(cpu ? ["--cpu"] : []), ...words];
    await runLogged(command, args, {
      log: join(output, "run.log"),
      env: { ...process.env, PATH: [...folders, links].join(delimiter) },
      show: true,
    });
  } finally {
    rmSync(links, { recursive: true, force: true });
  }
}

if (process.argv[1] && resolve(process.argv[1]) === resolve(root, "scripts/test-cuda.mjs")) {
  await main(async () => {
    const { values, positionals } = parseArgs({
      options: {
        pack: { type: "boolean" },
        cpu: { type: "boolean" },
        output: { type: "string", default: join(root, "build", "cuda-kit") },
        node: { type: "string", default: process.execPath },
      },
      allowPositionals: true,
    });
    const output = resolve(values.output);
    await pack(output, resolve(values.node));
    if (values.pack)
      return console.error(
        `Carry ${output} to the machine with the GPU, and there: python3 ${join("cuda-kit", "run.py")}`,
      );
    await run(output, { cpu: values.cpu === true, words: positionals });
  });
}
