// The Node half of the line protocol: one JSON request a line on stdin, one JSON reply a line on stdout.
//
// A system gives an object with the methods that `serve` calls; everything is timed here, on the child's own clock, so
// that every Node system is measured by the same loop.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { nodePeers } from "../../runner/paths.mjs";

/** Requires a package that `npm run bench:setup` installed. */
export const requirePeer = createRequire(join(nodePeers, "package.json"));

// Whatever a library prints goes to stderr: stdout carries the protocol alone.
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);

export function say(message) {
  write(`${JSON.stringify(message)}\n`);
}

/** The shared weights as `{ name: { shape, data } }`, and the normalisation, as runner/model.mjs wrote them. */
export async function readParameters(model) {
  const description = JSON.parse(await readFile(model.description, "utf8"));
  const bytes = await readFile(model.parameters);
  const flat = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  const parameters = {};
  let offset = 0;
  for (const [name, shape] of description.parameters) {
    const size = shape.reduce((product, length) => product * length, 1);
    parameters[name] = { shape, data: flat.slice(offset, offset + size) };
    offset += size;
  }
  return { parameters, normalization: description.normalization };
}

/**
 * Weights that take pixels in 0..1: c1((x - mean) / std) with the division and the subtraction inside c1. Padding is
 * black and comes before normalisation, so zero padding of the raw pixels stays exact.
 */
export function foldNormalization({ parameters, normalization: { mean, std } }) {
  const weight = parameters["c1.weight"].data.map((value) => value / std);
  const size = weight.length / 6;
  const bias = parameters["c1.bias"].data.map((value, map) => {
    let sum = 0;
    for (let i = 0; i < size; i += 1) sum += weight[map * size + i];
    return value - mean * sum;
  });
  return {
    ...parameters,
    "c1.weight": { shape: parameters["c1.weight"].shape, data: weight },
    "c1.bias": { shape: parameters["c1.bias"].shape, data: bias },
  };
}

/** One of MNIST's files, unpacked, without its header, as bytes. */
export async function readIdx(data, name) {
  const bytes = await readFile(join(data, name));
  return new Uint8Array(bytes.subarray(name.includes("images") ? 16 : 8));
}

/** Count × 32 × 32 floats: padded by 2 with black, then normalised. Made ahead of training: a peer's best case. */
export function normalized(images, mean, std) {
  const count = images.length / 784;
  const values = new Float32Array(count * 1024).fill(-mean / std);
  for (let image = 0; image < count; image += 1) {
    for (let y = 0; y < 28; y += 1) {
      for (let x = 0; x < 28; x += 1) {
        values[image * 1024 + (y + 2) * 32 + x + 2] = (images[image * 784 + y * 28 + x] / 255 - mean) / std;
      }
    }
  }
  return values;
}

/** OneCycleLR's learning rate with PyTorch's default arguments, the momenta left alone. */
export function oneCycle(step, steps, maximum) {
  const up = 0.3 * steps - 1;
  const [begin, end, share] =
    step <= up ? [maximum / 25, maximum, step / up] : [maximum, maximum / 25e4, (step - up) / (steps - 1 - up)];
  return end + ((begin - end) / 2) * (1 + Math.cos(Math.PI * share));
}

/** The largest of each row's values, as its index. */
export function argmax(values, classes = 10) {
  const labels = [];
  for (let row = 0; row < values.length; row += classes) {
    let best = 0;
    for (let i = 1; i < classes; i += 1) if (values[row + i] > values[row + best]) best = i;
    labels.push(best);
  }
  return labels;
}

function summary(durations, seconds) {
  const sorted = Float64Array.from(durations).sort();
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return { calls: sorted.length, seconds: seconds / 1000, p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** Calls `call(0..calls-1)` round and round for the given time and takes each call's latency. */
function measure(call, calls, seconds) {
  const durations = [];
  const begin = performance.now();
  const deadline = begin + seconds * 1000;
  let now = begin;
  for (let index = 0; now < deadline; index = index + 1 < calls ? index + 1 : 0) {
    const before = now;
    call(index);
    now = performance.now();
    durations.push(now - before);
  }
  return summary(durations, now - begin);
}

/** `measure` for a call that answers with a promise; `concurrency` of them are under way at a time. */
async function measureAsync(call, calls, seconds, concurrency = 1) {
  const durations = [];
  const begin = performance.now();
  const deadline = begin + seconds * 1000;
  let index = 0;
  let last = begin;
  async function worker() {
    let now = performance.now();
    while (now < deadline) {
      const before = now;
      const mine = index;
      index = index + 1 < calls ? index + 1 : 0;
      await call(mine);
      now = performance.now();
      durations.push(now - before);
      last = now;
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker));
  return summary(durations, last - begin);
}

/**
 * Answers requests until stdin ends.
 *
 * `system.load(model, threads)` gets the weights ready. `system.prepare(images, batch)` returns
 * `{ call(index), labels(output), async?, settings }` over consecutive batches. Training is optional:
 * `system.train(directory, batch, seconds)` and `system.fit(directory, recipe, evaluated)`.
 */
export function serve(system) {
  const prepared = new Map();
  let images;
  let directory;

  const commands = {
    async load({ model, threads }) {
      return { ...(await system.load(model, threads)) };
    },
    async predict({ pixels }) {
      const { call, labels } = await system.prepare(Float32Array.from(pixels), 1);
      return { label: labels(await call(0))[0] };
    },
    async data({ data }) {
      directory = data;
      images = Float32Array.from(await readIdx(data, "t10k-images-idx3-ubyte"), (value) => value / 255);
    },
    async check({ batch, count }) {
      const { call, labels, settings } = await prepare(batch);
      const answers = [];
      for (let index = 0; answers.length < count; index += 1) answers.push(...labels(await call(index)));
      return { labels: answers.slice(0, count), settings };
    },
    async inference({ batch, seconds }) {
      const { call, async, calls } = await prepare(batch);
      return async ? measureAsync(call, calls, seconds) : measure(call, calls, seconds);
    },
    async concurrent({ batch, seconds, concurrency }) {
      const { calls, concurrent } = await prepare(batch);
      return measureAsync(concurrent, calls, seconds, concurrency);
    },
    async train({ batch, seconds }) {
      return system.train(directory, batch, seconds);
    },
    async fit({ data, recipe }) {
      return system.fit(data, recipe, (evaluation) => say({ event: "evaluation", ...evaluation }));
    },
  };

  async function prepare(batch) {
    if (!prepared.has(batch)) {
      const calls = Math.floor(images.length / 784 / batch);
      prepared.set(batch, { ...(await system.prepare(images.subarray(0, calls * batch * 784), batch)), calls });
    }
    return prepared.get(batch);
  }

  say({ event: "ready", versions: system.versions });
  (async () => {
    for await (const line of createInterface({ input: process.stdin })) {
      const request = JSON.parse(line);
      try {
        say({ ok: true, ...(await commands[request.cmd](request)) });
      } catch (error) {
        console.error(error);
        say({ ok: false, error: String(error?.message ?? error) });
      }
    }
    process.exit(0);
  })();
}
