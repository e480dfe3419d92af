// Every system that can be measured: how its process is started, and why it may be absent.
import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  modelFiles,
  nativePeers,
  nodePeers,
  packageEntry,
  peers,
  pythonExecutable,
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

function pythonSystem(file, module) {
  return {
    command: pythonExecutable,
    args: [join(systems, file)],
    absent: () => (existsSync(pythonExecutable) ? undefined : `${module} is not installed: ${setup}`),
  };
}

const built = [packageEntry, "the package is not built: run `npm run build`"];
const npmPeer = (name, file = "package.json") => [
  join(nodePeers, "node_modules", name, file),
  `${name} is not installed: ${setup}`,
];
const modules = [join(scriptModels, "lstm.pt"), `the TorchScript files were not made: ${setup}`];
const libtorchPlain = join(nativePeers, "libtorch-plain", "libtorch-plain");

/** The peak's measurement speaks the same protocol, so that it is taken in the same rounds as what it is compared with. */
export const fmaPeak = join(nativePeers, "fma-peak", "fma-peak");

/**
 * `suites`: what the system takes part in; a string says why it does not. `fits`: its runs to 99 % (the two that are
 * compared run oftenest). `concurrent`: has an asynchronous prediction worth measuring beside the synchronous one.
 * `crowd`: a hundred thousand of them at a time, too. `modules`: runs anyone's TorchScript, and takes part in the suite script-module alone. `serving`: a server, which the
 * suite serving starts by itself.
 */
export const registry = [
  {
    name: "lenet5-fused",
    label: "lenet5-libtorch, fused engine",
    ...nodeSystem("lenet5.mjs", { args: ["fused"], needs: [built] }),
    concurrent: true,
    crowd: true,
    fits: 5,
  },
  {
    name: "lenet5-fused-augmented",
    label: "lenet5-libtorch, fused engine, augmented images",
    ...nodeSystem("lenet5.mjs", { args: ["fused", "augmented"], needs: [built] }),
    suites: {
      startup: "starts as lenet5-fused does",
      inference: "predicts as lenet5-fused does",
      timeTo99: "augmentation is for the best accuracy, not for the first 99 %",
    },
  },
  {
    name: "lenet5-libtorch",
    label: "lenet5-libtorch, libtorch engine",
    ...nodeSystem("lenet5.mjs", { args: ["libtorch"], needs: [built] }),
    concurrent: true,
    fits: 1,
  },
  {
    name: "libtorch-plain",
    label: "libtorch C++, plain",
    command: libtorchPlain,
    args: [],
    absent: () => (existsSync(libtorchPlain) ? undefined : `libtorch-plain is not built: ${setup}`),
    fits: 1,
  },
  { name: "pytorch", label: "PyTorch, eager, fused Adam", ...pythonSystem("pytorch_eager.py", "torch"), fits: 3 },
  {
    name: "pytorch-optimized",
    label: "PyTorch, optimised",
    ...pythonSystem("pytorch_optimized.py", "torch"),
    suites: { training: "an inference system: optimize_for_inference freezes the weights" },
  },
  {
    name: "tensorflow",
    label: "TensorFlow / Keras",
    ...pythonSystem("tensorflow_keras.py", "tensorflow-cpu"),
    fits: 1,
  },
  {
    name: "tfjs-cpu",
    label: "TensorFlow.js, cpu",
    ...nodeSystem("tfjs_cpu.mjs", { needs: [npmPeer("@tensorflow/tfjs")] }),
    suites: { timeTo99: "trains some 14 images a second: three epochs would take hours" },
  },
  {
    name: "tfjs-wasm",
    label: "TensorFlow.js, wasm",
    ...nodeSystem("tfjs_wasm.mjs", { needs: [npmPeer("@tensorflow/tfjs"), npmPeer("@tensorflow/tfjs-backend-wasm")] }),
    suites: { training: "its backend has no Conv2DBackpropFilter, so no gradient of a convolution" },
  },
  {
    name: "tfjs-node",
    label: "TensorFlow.js, node",
    ...nodeSystem("tfjs_node.mjs", { needs: [npmPeer("@tensorflow/tfjs-node", "lib/napi-v8/tfjs_binding.node")] }),
    fits: 1,
  },
  {
    name: "onnxruntime-node",
    label: "ONNX Runtime, node",
    ...nodeSystem("onnxruntime_node.mjs", {
      needs: [npmPeer("onnxruntime-node"), [modelFiles.onnx, "the ONNX model was not exported"]],
    }),
    suites: { training: "an inference system" },
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
].map((system) => ({ suites: {}, ...system }));

/** The systems of a suite. */
export function takingPart(systems, suite) {
  return systems.filter(
    ({ modules = false, serving = false }) =>
      modules === (suite === "script-module") && serving === (suite === "serving"),
  );
}

/** Environment of every child: one thread count, whatever a library calls it, and caches kept beside the peers. */
export function childEnvironment(threads) {
  const count = String(threads);
  return {
    ...process.env,
    OMP_NUM_THREADS: count,
    MKL_NUM_THREADS: count,
    OPENBLAS_NUM_THREADS: count,
    TF_NUM_INTRAOP_THREADS: count,
    TF_NUM_INTEROP_THREADS: count,
    TF_CPP_MIN_LOG_LEVEL: "2",
    TORCHINDUCTOR_CACHE_DIR: join(peers, "inductor"),
    CUDA_VISIBLE_DEVICES: "",
  };
}
