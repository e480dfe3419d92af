// This package's ScriptModule, as a user calls it: awaited, and here and now.
import { readFile } from "node:fs/promises";
import { packageEntry } from "../runner/paths.mjs";
import { measure, measureAsync, serve } from "./shared/protocol.mjs";

const { libtorchVersion, ScriptModule, setNumThreads } = await import(packageEntry);
const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));

let module;
let inputs;

/** The numbers that torch_jit.py makes too: a fixed spread over 0..1, or 1, 2, 3, … times 100 for int64. */
function input({ shape, dtype }) {
  const length = shape.reduce((product, size) => product * size, 1);
  if (dtype === "int64") return { shape, dtype, data: BigInt64Array.from({ length }, () => 100n) };
  return { shape, dtype, data: Float32Array.from({ length }, (_, i) => (i * 0.6180339887498949) % 1) };
}

const tensors = (value) => (value.data === undefined ? Object.values(value).flatMap(tensors) : [value]);

serve({
  versions: { "lenet5-libtorch": version },
  commands: {
    async open({ file, shapes, threads, warmUps }) {
      setNumThreads(threads);
      module?.dispose();
      module = await ScriptModule.load(file, { device: "cpu" });
      inputs = shapes.map(input);
      for (let i = 0; i < warmUps; i += 1) await module.forward(...inputs);
      const [answer] = tensors(await module.forward(...inputs));
      return { values: Array.from(answer.data.subarray(0, 64)), versions: { libtorch: libtorchVersion() } };
    },
    async runSync({ seconds }) {
      return measure(() => module.forwardSync(...inputs), 1, seconds);
    },
    async awaited({ seconds }) {
      return measureAsync(() => module.forward(...inputs), 1, seconds);
    },
    async loading({ file, seconds }) {
      return measureAsync(async () => (await ScriptModule.load(file, { device: "cpu" })).dispose(), 1, seconds);
    },
  },
});
