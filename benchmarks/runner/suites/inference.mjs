// Images a second and latency by batch size. All systems are loaded at once and take turns within each round.
import { chooseInference, chosen } from "../choosing.mjs";
import { isRight } from "../reference.mjs";
import { rounds } from "../rounds.mjs";
import { significant, summarize } from "../statistics.mjs";

/** Awaited calls of one image at the same time, measured beside the synchronous ones of this batch size. */
const CROWD = 100_000;
const crowdOf = ({ quick }) => (quick ? CROWD / 10 : CROWD);
const CROWD_BATCH = 256;
/** Milliseconds of a call from which on a window needs no unmeasured one before it. */
const SLOW = 40;

/** The list turned by `by` places: nobody always follows the same neighbour. */
export function rotated(list, by) {
  return list.map((_, index) => list[(index + by) % list.length]);
}

/** Takes one window; a short unmeasured one before it brings caches and clocks back. */
async function window(child, request, previous) {
  const slow = previous !== undefined && previous.p50Ms > SLOW;
  if (!slow) await child.turn({ ...request, seconds: Math.min(0.03, request.seconds) });
  return child.turn(request);
}

/** What is measured beside the synchronous calls: some awaited ones at a time, and a crowd of them. */
async function beside({ settings }, { system, child, batch }, seconds, figures) {
  if (system.concurrent) {
    const concurrency = batch === 1 ? 64 : 4;
    const together = await child.turn({ cmd: "concurrent", batch, seconds: seconds / 2, concurrency });
    figures.set(`concurrent ${batch} ${system.name}`, { value: (together.calls * batch) / together.seconds });
  }
  if (system.crowd && batch === CROWD_BATCH) {
    const { imagesPerSecond } = await child.turn({ cmd: "crowd", count: crowdOf(settings) });
    figures.set(`crowd ${batch} ${system.name}`, { imagesPerSecond });
  }
}

/** Measures a data set's images on every system. Resolves with rows without the suite's own members. */
export async function measureInference(run, { suite, set, batches, count, alone }) {
  const { settings, selected, report, fail } = run;
  const measurements = [];
  for (const system of selected) {
    try {
      const chosen = await chooseInference(run, system, set, batches);
      for (const one of chosen) {
        measurements.push(one);
        if (isRight(one)) continue;
        const wrong = `${one.wrongLabels} labels are wrong, the largest difference is ${one.largestDifference}`;
        fail(system.name, `${set}, batch ${one.batch}, ${one.how}: ${wrong}`, suite);
      }
      report(`${suite}: ${system.name} ready, ${set} checked`);
    } catch (error) {
      fail(system.name, `${set}: ${error.message}`, suite);
    }
  }

  const broken = new Set();
  const last = new Map();
  const seconds = settings.windowSeconds;
  const take = async (order) => {
    const figures = new Map();
    for (const batch of batches) {
      for (const one of order.of(measurements.filter((measurement) => measurement.batch === batch))) {
        if (broken.has(one.system)) continue;
        try {
          const request = { cmd: "inference", batch, seconds };
          const reply = await window(one.child, request, last.get(one));
          last.set(one, reply);
          figures.set(one, { ...reply, imagesPerSecond: (reply.calls * batch) / reply.seconds });
          if (!alone) await beside(run, one, seconds, figures);
        } catch (error) {
          broken.add(one.system);
          fail(one.system.name, `${set}, batch ${batch}: ${error.message}`, suite);
        }
      }
    }
    return figures;
  };
  const taken = await rounds(run, `${suite}, ${set}`, count, take);
  await Promise.all([...new Set(measurements.map(({ child }) => child))].map((child) => child.end()));

  return measurements
    .filter((one) => taken.has(one))
    .map((one) => {
      const { system, batch, wrongLabels, largestDifference } = one;
      const concurrent = taken.get(`concurrent ${batch} ${system.name}`);
      const crowd = taken.get(`crowd ${batch} ${system.name}`);
      return {
        system: system.name,
        batch,
        ...summarize(taken.get(one), ["imagesPerSecond", "p50Ms", "p99Ms"]),
        ...(concurrent ? { concurrentImagesPerSecond: summarize(concurrent, ["value"]).value } : {}),
        ...(crowd ? { crowd: { calls: crowdOf(settings), ...summarize(crowd, ["imagesPerSecond"]) } } : {}),
        correct: isRight(one),
        wrongLabels,
        largestDifference: significant(largestDifference, 3),
        ...chosen(one),
      };
    });
}

export async function inference(run) {
  const { batches, inferenceRounds: count } = run.settings;
  const rows = await measureInference(run, { suite: "inference", set: "digits", batches, count });
  return rows.map((row) => ({ suite: "inference", ...row }));
}
