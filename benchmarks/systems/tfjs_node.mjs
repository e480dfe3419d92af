// TensorFlow.js on TensorFlow's own C library, through the native binding.
import { requirePeer } from "./shared/protocol.mjs";
import { serveTfjs } from "./shared/tfjs.mjs";

const tf = requirePeer("@tensorflow/tfjs-node");

serveTfjs({
  tf,
  backend: "tensorflow",
  versions: {
    "tfjs-node": tf.version["tfjs-node"],
    libtensorflow: tf.node?.backend?.()?.binding?.TF_Version ?? tf.backend().binding.TF_Version,
  },
  start: () => tf.enableProdMode(),
  settings: "fused operations, production mode",
});
