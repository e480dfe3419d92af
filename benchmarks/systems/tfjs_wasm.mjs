// TensorFlow.js on WebAssembly. Its backend has no threads under Node ("not supported in Node" in its own source), and
// no gradient of a convolution (Conv2DBackpropFilter), so it cannot train this network.
import { dirname, sep } from "node:path";
import { requirePeer } from "./shared/protocol.mjs";
import { serveTfjs } from "./shared/tfjs.mjs";

const tf = requirePeer("@tensorflow/tfjs");
const wasm = requirePeer("@tensorflow/tfjs-backend-wasm");

serveTfjs({
  tf,
  backend: "wasm",
  versions: { tfjs: tf.version.tfjs, "tfjs-backend-wasm": wasm.version_wasm },
  start: () => {
    tf.enableProdMode();
    wasm.setWasmPaths(`${dirname(requirePeer.resolve("@tensorflow/tfjs-backend-wasm"))}${sep}`);
  },
  settings: "fused operations, production mode, SIMD; one thread: the backend has no threads under Node",
  trains: false,
  threads: 1,
});
