// Rounds of measurements on a machine whose speed changes.
//
// Problem: a virtual machine loses its processor to others for seconds at a time; a round then measures the neighbours. Order
// matters too: who always follows the same neighbour inherits its warm or cold caches. Resolution: the machine's
// multiply-add peak is measured before and after each round; a round in which it fell below 90 % of the best peak of the run
// is taken again, and both are in the result. Within a round the order is drawn at random, from a seed.
import { seeded, shuffled } from "../systems/shared/network.mjs";

export const LEAST_PEAK = 0.9;

/**
 * Takes rounds until `count` of them stand, or until as many again have been repeated. `take(order)` measures one round:
 * it returns a map of keys to figures, and shuffles by `order`. A key's figures come back in the order of the rounds that
 * count, with null for a round in which it was not measured, so that two keys' rounds can be paired.
 */
export async function rounds({ settings, peak, report, repeated = [] }, suite, count, take) {
  const order = { random: seeded(settings.orderSeed ?? 0) };
  order.of = (list) => shuffled([...list], order.random);
  const taken = [];
  let before = await peak();
  const best = () => Math.max(...taken.map((round) => round.best));
  const stands = (round) => round.lowest === undefined || round.lowest >= LEAST_PEAK * best();
  while (taken.filter(stands).length < count && taken.length < 2 * count) {
    const begin = performance.now();
    const figures = await take(order, taken.length);
    const after = await peak();
    const both = [before, after].filter((value) => value !== undefined);
    taken.push({
      figures,
      lowest: both.length === 0 ? undefined : Math.min(...both),
      best: both.length === 0 ? 0 : Math.max(...both),
    });
    before = after;
    const seconds = ((performance.now() - begin) / 1000).toFixed(0);
    const again = stands(taken.at(-1)) ? "" : ", the machine was slow: taken again";
    report(`${suite}: ${taken.filter(stands).length} of ${count} rounds, ${seconds} s${again}`);
  }
  const standing = taken.filter(stands);
  for (const [index, round] of taken.entries()) {
    if (!stands(round)) repeated.push({ suite, round: index, shareOfPeak: Number((round.lowest / best()).toFixed(3)) });
  }
  // A machine that was slow in every other round has no better ones to offer; the result says how slow.
  const counted = standing.length >= Math.min(2, count) ? standing : taken;
  const keys = new Set(counted.flatMap(({ figures }) => [...figures.keys()]));
  return new Map([...keys].map((key) => [key, counted.map(({ figures }) => figures.get(key) ?? null)]));
}
