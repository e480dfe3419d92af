// TensorFlow.js on its plain JavaScript backend.
import { requirePeer } from "./shared/protocol.mjs";
import { serveTfjs } from "./shared/tfjs.mjs";

const tf = requirePeer("@tensorflow/tfjs");

serveTfjs({
  tf,
  backend: "cpu",
  versions: { tfjs: tf.version.tfjs },
  start: () => tf.enableProdMode(),
  settings: "fused operations, production mode; JavaScript on one thread",
  threads: 1,
});
