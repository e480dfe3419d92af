// The Node half of the line protocol: one JSON request a line on stdin, one JSON reply a line on stdout.
//
// A system gives an object with the methods that `serve` calls; everything is timed here, on the child's own clock, so
// that every Node system is measured by the same loop.
import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { nodePeers } from "../../runner/paths.mjs";
import { argmax, readIdx } from "./network.mjs";

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

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/**
 * The fastest of several ways to run the same batches: `candidates` are `{ name, make }`, and `make()` resolves with
 * `{ call(index), async?, … }`. Each is warmed up; then they take turns in ten rounds of 30 ms, and medians are
 * compared, so that one slow window does not choose for the whole run. What each took, or why it could not be run, is
 * reported; with `only`, the candidate of that name is made and no other.
 */
async function fastest(candidates, calls, only) {
  const ways = [];
  const report = [];
  for (const { name, make } of candidates) {
    if (only !== undefined && name !== only) continue;
    try {
      const way = await make();
      for (let index = 0; index < Math.min(calls, 10); index += 1) await way.call(index);
      ways.push({ name, way, times: [] });
    } catch (error) {
      console.error(error);
      report.push({
        name,
        error: String(error?.message ?? error)
          .split("\n")[0]
          .slice(0, 300),
      });
    }
  }
  if (ways.length === 0) throw new Error(report.map(({ name, error }) => `${name}: ${error}`).join("; "));
  if (ways.length === 1) return { ...ways[0].way, name: ways[0].name, report: [...report, { name: ways[0].name }] };
  for (let round = 0; round < 10; round += 1) {
    for (const { way, times } of ways) {
      const window = await (way.async ? measureAsync : measure)(way.call, calls, 0.03);
      times.push((1000 * window.seconds) / window.calls);
    }
  }
  for (const { name, times } of ways) report.push({ name, ms: median(times) });
  const [best] = ways.toSorted((a, b) => median(a.times) - median(b.times));
  return { ...best.way, name: best.name, report };
}

/**
 * Answers requests until stdin ends.
 *
 * `system.load(model, threads)` gets the weights ready. `system.candidates(images, batch)` lists the ways to run
 * consecutive batches: `{ name, make() }`, where `make` gives `{ call(index), answer(output), async?, concurrent? }` and
 * `answer` an output's log-probabilities. Training is optional: `system.train(directory, batch, seconds)`,
 * `system.fit(directory, recipe, evaluated)` and `system.useThreads(threads)`. A system that is no LeNet-5 answers
 * requests of its own, `system.commands`.
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
      const [{ make }] = system.candidates(Float32Array.from(pixels), 1);
      const { call, answer } = await make();
      return { label: argmax(answer(await call(0)))[0] };
    },
    async data({ data }) {
      directory = data;
      prepared.clear();
      images = Float32Array.from(await readIdx(data, "t10k-images-idx3-ubyte"), (value) => value / 255);
    },
    /** Chooses the way to run this batch size, and writes the log-probabilities of all images to a file. */
    async check({ batch, only, output }) {
      const { call, answer, calls, name, report } = await prepare(batch, only);
      const count = images.length / 784;
      const values = new Float32Array(calls * batch * 10);
      for (let index = 0; index < calls; index += 1) values.set(answer(await call(index)), index * batch * 10);
      await writeFile(output, new Uint8Array(values.buffer, 0, count * 40));
      return { settings: name, candidates: report };
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
    async fit({ data, threads, recipe }) {
      await system.useThreads(threads);
      return system.fit(data, recipe, (evaluation) => say({ event: "evaluation", ...evaluation }));
    },
    ...system.commands,
  };

  async function prepare(batch, only) {
    if (!prepared.has(batch)) {
      const count = images.length / 784;
      const calls = Math.ceil(count / batch);
      // The last batch is filled up with the first images.
      const whole = new Float32Array(calls * batch * 784);
      whole.set(images);
      whole.set(images.subarray(0, whole.length - images.length), images.length);
      prepared.set(batch, { ...(await fastest(system.candidates(whole, batch), calls, only)), calls });
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
