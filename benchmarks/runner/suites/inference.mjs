// Images a second and latency by batch size. All systems are loaded at once and take turns within each round.
import { CHECKED_IMAGES } from "../model.mjs";
import { summarize } from "../statistics.mjs";

/** Awaited calls of one image at the same time, measured beside the synchronous ones of this batch size. */
const CROWD = 100_000;
const crowdOf = ({ quick }) => (quick ? CROWD / 10 : CROWD);
const CROWD_BATCH = 256;

/** How many of the labels are not the reference's. */
export function wrongLabels(labels, reference) {
  if (!Array.isArray(labels) || labels.length !== reference.length) return reference.length;
  return labels.reduce((count, label, index) => count + (label === reference[index] ? 0 : 1), 0);
}

/** The list turned by `by` places: nobody always follows the same neighbour. */
export function rotated(list, by) {
  return list.map((_, index) => list[(index + by) % list.length]);
}

/** Takes one window; a short unmeasured one before it brings caches and clocks back. */
async function window(child, request, previous) {
  const slow = previous !== undefined && previous.p50Ms > 40;
  if (!slow) await child.turn({ ...request, seconds: Math.min(0.03, request.seconds) });
  return child.turn(request);
}

export async function inference(run) {
  const { settings, children, report, fail, peak } = run;
  const measurements = new Map();
  const running = new Set(children.keys());

  const attempt = async (system, what, action) => {
    try {
      return await action();
    } catch (error) {
      running.delete(system);
      fail(system.name, `${what}: ${error.message}`, "inference");
      return undefined;
    }
  };

  for (const system of [...running]) {
    for (const batch of settings.batches) {
      if (!running.has(system)) break;
      const request = { cmd: "check", batch, count: CHECKED_IMAGES };
      const reply = await attempt(system, `labels at batch ${batch}`, () => children.get(system).turn(request));
      if (reply === undefined) break;
      const wrong = wrongLabels(reply.labels, run.model.referenceLabels);
      measurements.set(`${system.name} ${batch}`, {
        system,
        batch,
        wrong,
        settings: reply.settings,
        rounds: [],
        concurrent: [],
        crowd: [],
      });
      if (wrong > 0) fail(system.name, `batch ${batch}: ${wrong} of ${CHECKED_IMAGES} labels are wrong`, "inference");
    }
    if (running.has(system)) report(`inference: ${system.name} ready, labels checked`);
  }

  for (let round = 0; round < settings.inferenceRounds; round += 1) {
    const begin = performance.now();
    await peak();
    for (const batch of settings.batches) {
      for (const system of rotated([...running], round)) {
        if (!running.has(system)) continue;
        const measurement = measurements.get(`${system.name} ${batch}`);
        const child = children.get(system);
        const seconds = settings.windowSeconds;
        const request = { cmd: "inference", batch, seconds };
        const reply = await attempt(system, `batch ${batch}`, () => window(child, request, measurement.rounds.at(-1)));
        if (reply === undefined) continue;
        measurement.rounds.push({ ...reply, imagesPerSecond: (reply.calls * batch) / reply.seconds });
        if (system.concurrent) {
          const concurrency = batch === 1 ? 64 : 4;
          const together = await attempt(system, `concurrent, batch ${batch}`, () =>
            child.turn({ cmd: "concurrent", batch, seconds: seconds / 2, concurrency }),
          );
          if (together) measurement.concurrent.push({ value: (together.calls * batch) / together.seconds });
        }
        if (system.crowd && batch === CROWD_BATCH) {
          const crowd = await attempt(system, `${crowdOf(settings)} calls at a time`, () =>
            child.turn({ cmd: "crowd", count: crowdOf(settings) }),
          );
          if (crowd) measurement.crowd.push({ imagesPerSecond: crowd.imagesPerSecond });
        }
      }
    }
    const took = ((performance.now() - begin) / 1000).toFixed(0);
    report(`inference: round ${round + 1} of ${settings.inferenceRounds}, ${took} s`);
  }

  return [...measurements.values()]
    .filter(({ rounds }) => rounds.length > 0)
    .map(({ system, batch, wrong, settings: how, rounds, concurrent, crowd }) => ({
      suite: "inference",
      system: system.name,
      batch,
      ...summarize(rounds, ["imagesPerSecond", "p50Ms", "p99Ms"]),
      ...(concurrent.length > 0 ? { concurrentImagesPerSecond: summarize(concurrent, ["value"]).value } : {}),
      ...(crowd.length > 0 ? { crowd: { calls: crowdOf(settings), ...summarize(crowd, ["imagesPerSecond"]) } } : {}),
      correct: wrong === 0,
      wrongLabels: wrong,
      settings: how,
      threads: run.threadsOf(system),
    }));
}
