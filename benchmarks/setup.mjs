#!/usr/bin/env node
// Installs the peers to measure against into benchmarks/.peers/. May be stopped and started again: every step leaves a
// stamp with what it was made from, and a step whose stamp fits is passed over. Each writes a log of its own there.
//
// A peer that cannot be had is no failure of the others: the step says why, and `npm run bench` names it as absent.
import { spawn } from "node:child_process";
import { createWriteStream, existsSync } from "node:fs";
import { lstat, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  nativePeers,
  nodePeers,
  peers,
  pythonExecutable,
  pythonPeers,
  scriptModels,
  systems,
} from "./runner/paths.mjs";

const tensorflow = process.arch === "x64" && process.platform === "linux" ? "tensorflow-cpu" : "tensorflow";
const TORCH = "2.13.0";
/** What the suite script-module is made with. */
const torchPackages = [`torch==${TORCH}`, "torchvision==0.28.*", "torchaudio==2.11.*", "timm==1.0.*"];
const pythonPackages = [
  ...torchPackages,
  `${tensorflow}==2.21.*`,
  "numpy",
  "jax==0.10.*",
  "onnxruntime==1.32.*",
  "openvino==2026.4.*",
  "ai-edge-litert==2.3.*",
];
const nodePackages = {
  "@tensorflow/tfjs": "4.22.0",
  "@tensorflow/tfjs-backend-cpu": "4.22.0",
  "@tensorflow/tfjs-backend-wasm": "4.22.0",
  "@tensorflow/tfjs-node": "4.22.0",
  "node-gyp": "11.5.0",
  "onnxruntime-node": "1.30.0",
};

/** Runs a command with its output in `.peers/<log>.log`; rejects with the log's last lines. */
function run(log, command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const path = join(peers, `${log}.log`);
    const file = createWriteStream(path, { flags: "a" });
    file.write(`\n$ ${[command, ...args].join(" ")}\n`);
    let output = "";
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        file.write(chunk);
        output += chunk;
      });
    }
    child.on("error", (error) => {
      file.end();
      reject(new Error(`${command}: ${error.message}`));
    });
    child.on("close", (code) => {
      file.end();
      if (code === 0) resolve(output);
      else reject(new Error(`${command} ended with ${code}; see ${path}\n${output.split("\n").slice(-8).join("\n")}`));
    });
  });
}

/** Runs `make` unless the step's stamp says that the same thing was made before. */
async function step(name, inputs, make) {
  const stamp = join(peers, `${name}.stamp`);
  const wanted = `${JSON.stringify(inputs)}\n`;
  const found = await readFile(stamp, "utf8").catch(() => "");
  if (found === wanted) {
    console.log(`${name}: already there`);
    return true;
  }
  console.log(`${name}: …`);
  const begin = performance.now();
  try {
    await make();
  } catch (error) {
    console.error(`${name}: failed: ${error.message}`);
    return false;
  }
  await writeFile(stamp, wanted);
  console.log(`${name}: ${((performance.now() - begin) / 1000).toFixed(0)} s`);
  return true;
}

async function python() {
  if (!existsSync(pythonExecutable)) {
    await run("python", process.env.LENET5_PYTHON ?? "python3", ["-m", "venv", pythonPeers]);
  }
  const install = (...packages) =>
    run("python", pythonExecutable, ["-m", "pip", "install", "--progress-bar", "off", ...packages]);
  // The build without CUDA, where pip's index or its folder of wheels has it: smaller, and opened sooner.
  await install(`torch==${TORCH}+cpu`).catch(() => undefined);
  await install(...pythonPackages);
}

async function scriptModules() {
  await mkdir(scriptModels, { recursive: true });
  await run("script-models", pythonExecutable, [join(systems, "script_models.py"), scriptModels]);
}

async function node() {
  await mkdir(nodePeers, { recursive: true });
  const manifest = { private: true, dependencies: nodePackages };
  await writeFile(join(nodePeers, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  // No install scripts: they download libraries from hosts that not everybody reaches, and none is needed here.
  await run("node", "npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund"], {
    cwd: nodePeers,
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" },
  });
}

async function link(target, path) {
  await rm(path, { force: true, recursive: (await lstat(path).catch(() => undefined))?.isDirectory() ?? false });
  await symlink(target, path);
}

/** Builds tfjs-node's binding against pip TensorFlow's library instead of the libtensorflow it would download. */
async function tfjsNode() {
  const found = await run("tfjs-node", pythonExecutable, [
    "-c",
    "import importlib.util as u; print(u.find_spec('tensorflow').submodule_search_locations[0])",
  ]);
  const tensorflow = found.trim().split("\n").at(-1);
  const folder = join(nodePeers, "node_modules", "@tensorflow", "tfjs-node");
  const libraries = join(folder, "deps", "lib");
  await mkdir(join(folder, "deps", "include"), { recursive: true });
  await mkdir(libraries, { recursive: true });
  await link(join(tensorflow, "include", "tensorflow"), join(folder, "deps", "include", "tensorflow"));
  for (const [name, target] of [
    ["libtensorflow.so", "libtensorflow_cc.so.2"],
    ["libtensorflow.so.2", "libtensorflow_cc.so.2"],
    ["libtensorflow_cc.so.2", "libtensorflow_cc.so.2"],
    ["libtensorflow_framework.so", "libtensorflow_framework.so.2"],
    ["libtensorflow_framework.so.2", "libtensorflow_framework.so.2"],
  ]) {
    await link(join(tensorflow, target), join(libraries, name));
  }
  const headers = dirname(dirname(process.execPath));
  await run(
    "tfjs-node",
    process.execPath,
    [
      join(nodePeers, "node_modules", "node-gyp", "bin", "node-gyp.js"),
      "rebuild",
      "--module_name=tfjs_binding",
      `--module_path=${join(folder, "lib", "napi-v8")}`,
      "--napi_build_version=8",
      ...(existsSync(join(headers, "include", "node", "common.gypi")) ? [`--nodedir=${headers}`] : []),
    ],
    { cwd: folder, env: { ...process.env, CXXFLAGS: `-I${join(tensorflow, "include")}` } },
  );
}

/** The peers in Rust, for this machine's own processor. */
async function rust() {
  const target = join(nativePeers, "rust");
  await run(
    "rust",
    "cargo",
    ["build", "--release", "--locked", "--manifest-path", join(systems, "rust", "Cargo.toml")],
    {
      env: { ...process.env, CARGO_TARGET_DIR: target, RUSTFLAGS: "-C target-cpu=native" },
    },
  );
}

/** The libtorch to build libtorch-plain on: `LIBTORCH`, or that of the PyTorch peer. */
async function libtorchDirectory() {
  if (process.env.LIBTORCH) return process.env.LIBTORCH;
  const found = await run("native", pythonExecutable, [
    "-c",
    "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])",
  ]);
  return found.trim().split("\n").at(-1);
}

async function native(name, definitions) {
  const build = join(nativePeers, name);
  await rm(build, { recursive: true, force: true });
  const flags = Object.entries(definitions).map(([key, value]) => `-D${key}=${value}`);
  await run("native", "cmake", ["-S", join(systems, name), "-B", build, "-DCMAKE_BUILD_TYPE=Release", ...flags]);
  await run("native", "cmake", ["--build", build]);
}

async function sources(name) {
  const files = ["CMakeLists.txt", "main.cpp", "../native-protocol/protocol.hpp"];
  return Promise.all(files.map((file) => readFile(join(systems, name, file), "utf8").catch(() => "")));
}

await mkdir(nativePeers, { recursive: true });
const results = [await step("python", pythonPackages, python), await step("node", nodePackages, node)];
if (results[0]) {
  const maker = await readFile(join(systems, "script_models.py"), "utf8");
  results.push(await step("script-models", [torchPackages, maker], scriptModules));
}
if (results.every(Boolean)) results.push(await step("tfjs-node", [nodePackages, process.version], tfjsNode));
results.push(await step("fma-peak", await sources("fma-peak"), () => native("fma-peak", {})));
const rustFiles = ["Cargo.toml", "Cargo.lock", "src/lib.rs", "src/bin/tract.rs", "src/bin/candle.rs"];
const rustSources = rustFiles.map((file) => readFile(join(systems, "rust", file), "utf8").catch(() => ""));
results.push(await step("rust", await Promise.all(rustSources), rust));
const torch = await libtorchDirectory().catch(() => undefined);
if (torch === undefined) {
  console.error("libtorch-plain: failed: no libtorch; set LIBTORCH to a folder with include/ and lib/");
  results.push(false);
} else {
  results.push(
    await step("libtorch-plain", [torch, ...(await sources("libtorch-plain"))], () =>
      native("libtorch-plain", { TORCH_ROOT: torch }),
    ),
  );
}
process.exitCode = results.every(Boolean) ? 0 : 1;
