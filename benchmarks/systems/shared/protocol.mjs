// The Node half of the line protocol: one JSON request a line on stdin, one JSON reply a line on stdout.
//
// A system gives an object with the methods that `serve` calls; everything is timed here, on the child's own clock, so
// that every Node system is measured by the same loop.
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { nodePeers } from "../../runner/paths.mjs";
import { readIdx } from "./network.mjs";

/** Requires a package that `npm run bench:setup` installed. */
export const requirePeer = createRequire(join(nodePeers, "package.json"));

// Whatever a library prints goes to stderr: stdout carries the protocol alone.
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);

export function say(message) {
  write(`${JSON.stringify(message)}\n`);
}

function summary(durations, seconds) {
  const sorted = Float64Array.from(durations).sort();
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return { calls: sorted.length, seconds: seconds / 1000, p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** Calls `call(0..calls-1)` round and round for the given time and takes each call's latency. */
export function measure(call, calls, seconds) {
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
export async function measureAsync(call, calls, seconds, concurrency = 1) {
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
 * `system.train(directory, batch, seconds)` and `system.fit(directory, recipe, evaluated)`. A system that is no LeNet-5
 * answers requests of its own, `system.commands`.
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
    /** So many calls of one image at the same time, to the last answer. */
    async crowd({ count }) {
      const { calls, concurrent } = await prepare(1);
      const begin = performance.now();
      await Promise.all(Array.from({ length: count }, (_, index) => concurrent(index % calls)));
      return { imagesPerSecond: (1000 * count) / (performance.now() - begin) };
    },
    async train({ batch, seconds }) {
      return system.train(directory, batch, seconds);
    },
    async fit({ data, recipe }) {
      return system.fit(data, recipe, (evaluation) => say({ event: "evaluation", ...evaluation }));
    },
    ...system.commands,
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
