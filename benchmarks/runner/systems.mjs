// Every system that can be measured: how its process is started, and why it may be absent.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import {
  modelFiles,
  nativePeers,
  nodePeers,
  packageEntry,
  peers,
  pythonExecutable,
  pythonPeers,
  scriptModels,
  systems,
} from "./paths.mjs";

const setup = "run `npm run bench:setup`";

function nodeSystem(file, { args = [], needs }) {
  return {
    command: process.execPath,
    args: [join(systems, file), ...args],
    absent: () => needs.find(([path]) => !existsSync(path))?.[1],
  };
}

/** Whether pip has put a module into the peers' environment. */
function hasModule(name) {
  const lib = join(pythonPeers, process.platform === "win32" ? "Lib" : "lib");
  const versions = existsSync(lib) ? readdirSync(lib) : [];
  return versions.some((version) => existsSync(join(lib, version, "site-packages", name)));
}

function pythonSystem(file, module, needs = []) {
  return {
    command: pythonExecutable,
    args: [join(systems, file)],
    absent: () => {
      if (!existsSync(pythonExecutable) || !hasModule(module)) return `${module} is not installed: ${setup}`;
      return needs.find(([path]) => !existsSync(path))?.[1];
    },
  };
}

function rustSystem(name) {
  const command = join(nativePeers, "rust", "release", name);
  return {
    command,
    args: [],
    absent: () => (existsSync(command) ? undefined : `${name} is not built (it needs cargo): ${setup}`),
  };
}

const built = [packageEntry, "the package is not built: run `npm run build`"];
const npmPeer = (name, file = "package.json") => [
  join(nodePeers, "node_modules", name, file),
  `${name} is not installed: ${setup}`,
];
const modules = [join(scriptModels, "lstm.pt"), `the TorchScript files were not made: ${setup}`];
const exported = [modelFiles.onnx, "the ONNX model was not exported"];
const libtorchPlain = join(nativePeers, "libtorch-plain", "libtorch-plain");

/** The peak's measurement speaks the same protocol, so that it is taken in the same rounds as what it is compared with. */
export const fmaPeak = join(nativePeers, "fma-peak", "fma-peak");

const INFERENCE_ALONE = { training: "an inference system" };
const AS_FUSED = "starts as lenet5-fused does";

/**
 * `suites`: what the system does not take part in, and why. `threads`: "own" chooses their number itself, a number is
 * all that it has; of others each number is tried. `concurrent`: has an asynchronous prediction worth measuring beside the
 * synchronous one. `crowd`: a hundred thousand of them at a time, too. `needs`: an instruction set of ours. `specification`: takes
 * part in that suite. `modules`: runs anyone's TorchScript, and takes part in the suite script-module alone. `serving`: a
 * server, which the suite serving starts by itself. `folder`: classifies a folder of images, and takes part in the suite batch
 * alone, which starts it.
 */
export const registry = [
  {
    name: "lenet5-fused",
    label: "lenet5-libtorch, fused engine",
    ...nodeSystem("lenet5.mjs", { args: ["fused"], needs: [built] }),
    threads: "own",
    concurrent: true,
    crowd: true,
    specification: true,
  },
  {
    name: "lenet5-fused-awaited",
    label: "lenet5-libtorch, fused engine, awaited `predict`",
    ...nodeSystem("lenet5.mjs", { args: ["fused", "awaited"], needs: [built] }),
    threads: "own",
    suites: { startup: AS_FUSED, training: "trains as lenet5-fused does" },
  },
  ...["avx2", "baseline"].map((set) => ({
    name: `lenet5-fused-${set}`,
    label: `lenet5-libtorch, fused engine, ${set === "avx2" ? "AVX2" : "baseline instructions"}`,
    ...nodeSystem("lenet5.mjs", { args: ["fused", set], needs: [built] }),
    threads: "own",
    needs: set,
    suites: { startup: AS_FUSED, timeTo99: "learns as lenet5-fused does" },
  })),
  {
    name: "lenet5-fused-augmented",
    label: "lenet5-libtorch, fused engine, augmented images",
    ...nodeSystem("lenet5.mjs", { args: ["fused", "augmented"], needs: [built] }),
    threads: "own",
    suites: {
      startup: AS_FUSED,
      inference: "predicts as lenet5-fused does",
      timeTo99: "augmentation is for the best accuracy, not for the first 99 %",
    },
  },
  {
    name: "lenet5-libtorch",
    label: "lenet5-libtorch, libtorch engine",
    ...nodeSystem("lenet5.mjs", { args: ["libtorch"], needs: [built] }),
    threads: "own",
    concurrent: true,
    specification: true,
  },
  {
    name: "libtorch-plain",
    label: "libtorch C++, plain",
    command: libtorchPlain,
    args: [],
    absent: () => (existsSync(libtorchPlain) ? undefined : `libtorch-plain is not built: ${setup}`),
    specification: true,
  },
  {
    name: "pytorch",
    label: "PyTorch, eager, fused Adam",
    ...pythonSystem("pytorch_eager.py", "torch"),
    specification: true,
  },
  {
    name: "pytorch-optimized",
    label: "PyTorch, the best of all its ways",
    ...pythonSystem("pytorch_optimized.py", "torch"),
    specification: true,
  },
  {
    name: "tensorflow",
    label: "TensorFlow / Keras",
    ...pythonSystem("tensorflow_keras.py", "tensorflow"),
    specification: true,
  },
  {
    name: "keras-jax",
    label: "Keras on JAX",
    ...pythonSystem("keras_jax.py", "jax"),
    suites: { startup: "trains alone", inference: "trains alone: the system jax predicts" },
  },
  { name: "jax", label: "JAX", ...pythonSystem("jax_numpy.py", "jax") },
  {
    name: "openvino",
    label: "OpenVINO, Python",
    ...pythonSystem("openvino_python.py", "openvino", [exported]),
    suites: INFERENCE_ALONE,
  },
  {
    name: "litert",
    label: "LiteRT with XNNPACK, Python",
    ...pythonSystem("litert.py", "ai_edge_litert"),
    suites: INFERENCE_ALONE,
  },
  {
    name: "tract",
    label: "tract, Rust",
    ...rustSystem("tract"),
    suites: INFERENCE_ALONE,
  },
  {
    name: "candle",
    label: "candle, Rust",
    ...rustSystem("candle"),
    suites: { training: "measured for inference alone" },
  },
  {
    name: "tfjs-cpu",
    label: "TensorFlow.js, cpu",
    ...nodeSystem("tfjs_cpu.mjs", { needs: [npmPeer("@tensorflow/tfjs")] }),
    threads: 1,
    suites: {
      timeTo99: "trains some 14 images a second: three epochs would take hours",
      dense: "a hundredth of the others' speed",
    },
  },
  {
    name: "tfjs-wasm",
    label: "TensorFlow.js, wasm",
    ...nodeSystem("tfjs_wasm.mjs", { needs: [npmPeer("@tensorflow/tfjs"), npmPeer("@tensorflow/tfjs-backend-wasm")] }),
    threads: 1,
    suites: { training: "its backend has no Conv2DBackpropFilter, so no gradient of a convolution" },
  },
  {
    name: "tfjs-node",
    label: "TensorFlow.js, node",
    ...nodeSystem("tfjs_node.mjs", { needs: [npmPeer("@tensorflow/tfjs-node", "lib/napi-v8/tfjs_binding.node")] }),
  },
  {
    name: "onnxruntime-node",
    label: "ONNX Runtime, node",
    ...nodeSystem("onnxruntime_node.mjs", { needs: [npmPeer("onnxruntime-node"), exported] }),
    suites: INFERENCE_ALONE,
  },
  {
    name: "onnxruntime-python",
    label: "ONNX Runtime, Python",
    ...pythonSystem("onnxruntime_python.py", "onnxruntime", [exported]),
    suites: INFERENCE_ALONE,
  },
  {
    name: "script-module",
    label: "lenet5-libtorch, ScriptModule",
    ...nodeSystem("script_module.mjs", { needs: [built, modules] }),
    modules: true,
  },
  {
    name: "torch-jit",
    label: "PyTorch, torch.jit",
    ...pythonSystem("torch_jit.py", "torch"),
    absent: () =>
      [[pythonExecutable, `torch is not installed: ${setup}`], modules].find(([path]) => !existsSync(path))?.[1],
    modules: true,
  },
  {
    name: "lenet5-serve",
    label: "lenet5 serve",
    absent: () => (existsSync(packageEntry) ? undefined : built[1]),
    serving: true,
  },
  { name: "fastify-empty", label: "Fastify, an empty handler", absent: () => undefined, serving: true },
  { name: "torchserve", label: "TorchServe", absent: () => undefined, serving: true },
  { name: "tensorflow-serving", label: "TensorFlow Serving", absent: () => undefined, serving: true },
  {
    name: "lenet5-predict",
    label: "lenet5 predict",
    absent: () => (existsSync(packageEntry) ? undefined : built[1]),
    folder: true,
  },
  {
    name: "pytorch-dataloader",
    label: "PyTorch, DataLoader",
    ...pythonSystem("image_folder.py", "torchvision"),
    folder: true,
  },
].map((system) => ({ suites: {}, ...system }));

/** The systems of a suite. */
export function takingPart(systems, suite) {
  return systems.filter(
    ({ modules = false, serving = false, folder = false, specification = false }) =>
      modules === (suite === "script-module") &&
      serving === (suite === "serving") &&
      folder === (suite === "batch") &&
      (suite !== "specification" || specification),
  );
}

/** The numbers of threads that are tried for a system, where `most` is what the run allows. */
export function threadCounts({ threads }, most) {
  if (threads === "own") return [most];
  return threads === undefined ? [...new Set([1, most])] : [threads];
}

/** Environment of every child: one thread count, whatever a library calls it, and caches kept beside the peers. */
export function childEnvironment(threads) {
  const count = String(threads);
  return {
    ...process.env,
    OMP_NUM_THREADS: count,
    MKL_NUM_THREADS: count,
    OPENBLAS_NUM_THREADS: count,
    RAYON_NUM_THREADS: count,
    TF_NUM_INTRAOP_THREADS: count,
    TF_NUM_INTEROP_THREADS: count,
    TF_CPP_MIN_LOG_LEVEL: "2",
    // XLA's pool under JAX; alone, its kernels do not split their work either.
    NPROC: count,
    JAX_PLATFORMS: "cpu",
    ...(threads === 1 ? { XLA_FLAGS: "--xla_cpu_multi_thread_eigen=false" } : {}),
    // What is compiled depends on the number of threads.
    TORCHINDUCTOR_CACHE_DIR: join(peers, "inductor", count),
    CUDA_VISIBLE_DEVICES: "",
  };
}
