// The one place that knows where the benchmarks keep things.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const benchmarks = dirname(dirname(fileURLToPath(import.meta.url)));
export const root = dirname(benchmarks);
export const systems = join(benchmarks, "systems");

/** What `npm run bench:setup` installs and builds; ignored by git. */
export const peers = join(benchmarks, ".peers");
export const pythonPeers = join(peers, "python");
export const pythonExecutable = join(pythonPeers, process.platform === "win32" ? "Scripts/python.exe" : "bin/python");
export const nodePeers = join(peers, "node");
export const nativePeers = join(peers, "native");

/** The trained weights every system is measured with, made once by `runner/model.mjs`: a folder for each data set. */
export function modelFilesOf(set) {
  const folder = join(peers, "model", set);
  return {
    folder,
    description: join(folder, "model.json"),
    parameters: join(folder, "lenet5.f32"),
    torchscript: join(folder, "lenet5.pt"),
    onnx: join(folder, "lenet5.onnx"),
  };
}
export const modelFiles = modelFilesOf("digits");

/** The TorchScript files of the script-module suite, made by `systems/script_models.py`. */
export const scriptModels = join(peers, "script-models");

/** The package as a user gets it. */
export const packageEntry = join(root, "dist", "esm", "lenet5-libtorch.js");

/** The command line. */
export const commandLine = join(root, "dist", "esm", "cli", "main.js");

/** Each peer's own recipe to 99 %, chosen by `npm run bench -- --suite recipes`. */
export const recipesFile = join(benchmarks, "results", "recipes.json");
export const resultFile = join(benchmarks, "results", "latest.json");
export const plots = join(root, "docs", "benchmarks");

/** The folder with the four `*-ubyte.gz` files of MNIST, or undefined. */
export function mnistDirectory() {
  const base = process.env.LENET5_DATA_DIR;
  if (base === undefined) return undefined;
  return [join(base, "mnist"), base].find((folder) => existsSync(join(folder, "train-images-idx3-ubyte.gz")));
}
