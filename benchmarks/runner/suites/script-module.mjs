// Anyone's TorchScript: this package's ScriptModule against Python's torch.jit, the same files, inputs and threads.
import { join } from "node:path";
import { scriptModels } from "../paths.mjs";
import { summarize } from "../statistics.mjs";

const image = (batch) => [{ shape: [batch, 3, 224, 224], dtype: "float32" }];
const floats = (...shape) => [{ shape, dtype: "float32" }];

/** What is called: the file's name, the inputs. */
export const CASES = [
  { what: "MLP, batch 1", model: "mlp", shapes: floats(1, 64) },
  { what: "MLP, batch 256", model: "mlp", shapes: floats(256, 64) },
  { what: "ResNet-18, batch 1", model: "resnet18", shapes: image(1) },
  { what: "ResNet-18, batch 8", model: "resnet18", shapes: image(8) },
  { what: "MobileNetV3-small, batch 1", model: "mobilenet-v3-small", shapes: image(1) },
  { what: "DeepLabV3, batch 1", model: "deeplabv3", shapes: image(1) },
  { what: "ViT-tiny, batch 1", model: "vit-tiny", shapes: image(1) },
  {
    what: "Conformer, batch 1",
    model: "conformer",
    shapes: [...floats(1, 100, 80), { shape: [1], dtype: "int64" }],
  },
  { what: "2-layer LSTM, batch 1", model: "lstm", shapes: floats(1, 20, 32) },
];
export const LOADED = [
  { what: "loading ResNet-18", model: "resnet18" },
  { what: "loading EfficientNet-B0", model: "efficientnet-b0" },
];

/** Both answers within the rounding of the same operators in the same library. */
export function sameValues(ours, theirs) {
  return (
    ours.length === theirs.length &&
    ours.length > 0 &&
    ours.every((value, i) => Math.abs(value - theirs[i]) <= 1e-5 + 1e-4 * Math.abs(theirs[i]))
  );
}

/** The windows of one case in rounds that take turns; `requests` are [system, how it is called]. */
async function rounds({ settings, children, fail }, what, requests, more = {}) {
  const taken = requests.map(() => []);
  for (let round = 0; round < settings.scriptModuleRounds; round += 1) {
    for (let turn = 0; turn < requests.length; turn += 1) {
      const index = (turn + round) % requests.length;
      const [system, how] = requests[index];
      try {
        const request = { cmd: how, seconds: settings.windowSeconds, ...more };
        taken[index].push(await children.get(system).turn(request));
      } catch (error) {
        fail(system.name, `${what}, ${how}: ${error.message}`, "script-module");
        return [];
      }
    }
  }
  return requests
    .map(([system, how], index) => ({ system, how, rounds: taken[index] }))
    .map(({ system, how, rounds: all }) => ({ system, how, ...summarize(all, ["p50Ms", "p99Ms"]) }));
}

export async function scriptModule(run) {
  const { settings, children, report, fail } = run;
  const ours = [...children.keys()].find(({ name }) => name === "script-module");
  const theirs = [...children.keys()].find(({ name }) => name === "torch-jit");
  const row = ({ system, how, ...figures }, what, correct) => ({
    suite: "script-module",
    system: system.name,
    what,
    how,
    ...figures,
    correct,
    threads: settings.threads,
  });
  const results = [];
  for (const { what, model, shapes } of CASES) {
    const file = join(scriptModels, `${model}.pt`);
    const values = new Map();
    for (const [system, child] of children) {
      try {
        const request = { cmd: "open", file, shapes, threads: settings.threads, warmUps: 5 };
        values.set(system, (await child.turn(request)).values);
      } catch (error) {
        fail(system.name, `${what}: ${error.message}`, "script-module");
      }
    }
    const there = (system) => system !== undefined && values.has(system);
    const correct = !there(ours) || !there(theirs) || sameValues(values.get(ours), values.get(theirs));
    if (!correct) fail(ours.name, `${what}: not torch.jit's answer`, "script-module");
    const requests = [
      ...(there(ours)
        ? [
            [ours, "runSync"],
            [ours, "awaited"],
          ]
        : []),
      ...(there(theirs) ? [[theirs, "call"]] : []),
    ];
    results.push(...(await rounds(run, what, requests)).map((figures) => row(figures, what, correct)));
    report(`script-module: ${what}`);
  }
  for (const { what, model } of LOADED) {
    const requests = [...children.keys()].map((system) => [system, "loading"]);
    const file = join(scriptModels, `${model}.pt`);
    results.push(...(await rounds(run, what, requests, { file })).map((figures) => row(figures, what, true)));
    report(`script-module: ${what}`);
  }
  return results;
}
