// Measures all cases of all networks, round by round, so that all take turns.
import os from "node:os";
import { dataSet } from "../runner/data.mjs";
import { median, significant } from "../runner/statistics.mjs";
import { inNetworks } from "./network.mjs";
import { ours, pytorch, trainTogether } from "./ranks.mjs";

/** The batch with which the model is tried on the bare machine, beside the one that it is made from. */
const LARGE = 8;

/** What is trained on a network. */
function casesOf({ name }, { data, ranks, batch, quick }) {
  const isBare = name === "bare";
  const cases = [];
  const add = (system, size, images, task) => {
    const threads = size === 1 ? 1 : Math.max(1, Math.floor(os.availableParallelism() / size));
    const whole = { data, batch: images, limit: quick ? 2_000 : 60_000, threads, engine: "fused", ...task };
    const run = system.startsWith("pytorch") ? pytorch(whole) : ours(whole);
    cases.push({ system, ranks: size, batch: images, run });
  };
  for (const size of ranks) {
    // A rank alone sums nothing: the network is nothing to it.
    if (size === 1 && !isBare) continue;
    // Shaped, a step takes milliseconds.
    add("lenet5-fused", size, batch, isBare || quick ? {} : { limit: 12_000 });
    for (const bytes of [false, true]) {
      const limit = quick ? 2_000 : isBare ? 24_000 : 6_000;
      add(`pytorch, ${bytes ? "bytes" : "floats"}`, size, batch, { bytes, limit });
    }
    if (size === 1 || !isBare) continue;
    add("lenet5-fused", size, LARGE * batch);
    // What the model is made of: the same work for one rank alone, with its share of a batch.
    for (const images of [batch, LARGE * batch]) add("lenet5-fused, one rank's share", 1, Math.ceil(images / size));
  }
  return cases;
}

/** A round of one case: the slowest rank's speed, and the share of its time that the ranks spent in sums. */
async function taken(one, network) {
  const each = await trainTogether(one.run, one.ranks, network);
  const slowest = each.reduce((a, b) => (a.seconds > b.seconds ? a : b));
  return {
    imagesPerSecond: slowest.images / slowest.seconds,
    stepsPerSecond: slowest.steps / slowest.seconds,
    communication: median(each.map((rank) => rank.communicationSeconds)) / slowest.seconds,
  };
}

/** All networks with what they were really like, and a row for each case on each, medians of the rounds. */
export async function measured({ names, ranks, batch, rounds, quick, say }) {
  const data = await dataSet("digits");
  const networks = {};
  const results = [];
  for await (const network of inNetworks(names, Math.max(...ranks), say)) {
    const { name, delay, bandwidth, shapedBy } = network;
    networks[name] = { delay, bandwidth, shapedBy };
    const cases = new Map(casesOf(network, { data, ranks, batch, quick }).map((one) => [one, []]));
    for (let round = 0; round < rounds; round += 1) {
      for (const [one, all] of cases) all.push(await taken(one, network));
      say(`${name}: ${round + 1} of ${rounds} rounds`);
    }
    for (const [{ run: _, ...one }, all] of cases) {
      const of = (key) => significant(median(all.map((each) => each[key])), 4);
      results.push({
        ...{ network: name, ...one, imagesPerSecond: of("imagesPerSecond"), stepsPerSecond: of("stepsPerSecond") },
        ...(one.system.startsWith("lenet5") ? { communication: of("communication") } : {}),
        rounds: all.map((each) => significant(each.imagesPerSecond, 4)),
      });
    }
  }
  return { networks, results };
}
