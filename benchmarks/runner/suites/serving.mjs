// Requests a second over HTTP: this package's server, TorchServe, and what Fastify does with an empty handler.
//
// All servers are started at once and take turns in every round; whoever does not have the turn is stopped. The load is
// ApacheBench's, a process of its own. While it runs the suite asks too, and reads the answers: an answer that is wrong
// makes the figure worthless, whatever its status was.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import sharp from "sharp";
import { packageEntry } from "../paths.mjs";
import { absentApacheBench, bench } from "../serving/apache-bench.mjs";
import { binaryRequest, pngRequest, post, tensorFlowRequest } from "../serving/requests.mjs";
import {
  BATCHING,
  findTensorFlowServing,
  findTorchServe,
  startEmpty,
  startOurs,
  startTensorFlowServing,
  startTorchServe,
  torchServeVersion,
} from "../serving/servers.mjs";
import { summarize } from "../statistics.mjs";
import { rotated } from "./inference.mjs";

const CONCURRENCIES = [1, 8, 32, 128];
/** Where TorchServe's number of workers is chosen, and what is promised. */
const MAIN = 32;
/** Milliseconds between two answers that are read while the load runs. */
const SAMPLE_EVERY = 50;

/** Asks until `load` has ended. @returns how many answers were read, how many of them were wrong, and their mean length */
export async function sampled(url, request, load) {
  const result = { read: 0, wrong: 0, bytes: 0 };
  const ask = async () => {
    let right = false;
    try {
      const answer = await post(url, request);
      result.bytes += answer.bytes.length;
      right = request.isRight(answer);
    } catch {}
    result.read += 1;
    if (!right) result.wrong += 1;
  };
  let running = true;
  await ask();
  const asking = (async () => {
    while (running) {
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_EVERY));
      await ask();
    }
  })();
  try {
    return [await load(), result];
  } finally {
    running = false;
    await asking;
    await ask();
  }
}

/** A window's figures, with what was wrong in it. */
export async function window(server, request, concurrency, seconds, folder) {
  const url = server.url + request.path;
  const bodyFile = join(folder, `${request.what.replaceAll(" ", "-")}.body`);
  await writeFile(bodyFile, request.body);
  const percentilesFile = join(folder, "percentiles.csv");
  const { contentType, headers } = request;
  const [load, answers] = await sampled(url, request, () =>
    bench({ url, bodyFile, contentType, headers, concurrency, seconds, percentilesFile }),
  );
  const mean = answers.bytes / answers.read;
  // Bodies of right answers differ by the digits of their numbers.
  const otherBodies = Math.abs(load.bodyBytes - mean) > 0.1 * mean + 2;
  return {
    ...load,
    read: answers.read,
    wrong: answers.wrong + load.failed + load.otherStatuses + (otherBodies ? load.complete : 0),
  };
}

async function measure(run, servers, folder) {
  const { settings, report, fail } = run;
  const measurements = new Map();
  for (let round = 0; round < settings.servingRounds; round += 1) {
    for (const concurrency of CONCURRENCIES) {
      for (const server of rotated(servers, round)) {
        for (const request of server.requests) {
          const key = `${server.system} ${request.what} ${concurrency}`;
          if (!measurements.has(key)) measurements.set(key, { server, request, concurrency, rounds: [] });
          server.server?.resume();
          try {
            // What compilers and caches learn is not measured.
            if (round === 0) await window(server, request, concurrency, settings.servingWarmUp, folder);
            const taken = await window(server, request, concurrency, settings.servingSeconds, folder);
            measurements.get(key).rounds.push(taken);
          } catch (error) {
            fail(server.system, `${request.what}, ${concurrency} at a time: ${error.message}`, "serving");
          }
          server.server?.pause();
        }
      }
    }
    report(`serving: round ${round + 1} of ${settings.servingRounds}`);
  }
  return [...measurements.values()].filter(({ rounds }) => rounds.length > 0);
}

/** TorchServe with one worker and with two, at the concurrency of the promise: the faster one stays. */
async function bestTorchServe(run, torchserve, archive, request, folder) {
  let best;
  for (const workers of [1, 2]) {
    const place = join(folder, `torchserve-${workers}`);
    const server = await startTorchServe(place, torchserve, archive, workers, [request], run.environment);
    await window(server, request, MAIN, run.settings.servingWarmUp, folder);
    const { requestsPerSecond } = await window(server, request, MAIN, run.settings.servingSeconds, folder);
    run.report(`serving: TorchServe, ${server.settings}: ${requestsPerSecond.toFixed(0)} requests/s`);
    if (best === undefined || requestsPerSecond > best.requestsPerSecond) {
      await best?.server.end();
      best = { ...server, requestsPerSecond };
    } else await server.server.end();
    best.server.pause();
  }
  return best;
}

/** The archive for TorchServe, in a thread of its own: the runner itself loads no addon. */
async function exportArchive(model, path) {
  const code = `
    const { LeNet5, exportModelArchive } = await import(${JSON.stringify(pathToFileURL(packageEntry).href)});
    await exportModelArchive(await LeNet5.load(${JSON.stringify(model)}, { device: "cpu" }), ${JSON.stringify(path)});
  `;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
  await new Promise((resolve, reject) => worker.on("error", reject).on("exit", resolve));
}

export async function serving(run) {
  const { firstImage, model, modelFiles, environment, report, absent, fail } = run;
  const why = absentApacheBench();
  if (why !== undefined) {
    for (const { name } of run.selected) absent(name, why, "serving");
    return [];
  }
  const folder = await mkdtemp(join(tmpdir(), "lenet5-serving-"));
  const servers = [];
  const label = model.referenceLabels[0];
  const pixels = Uint8Array.from(firstImage, (value) => Math.round(value * 255));
  const raw = { raw: { width: 28, height: 28, channels: 1 } };
  const png = pngRequest(await sharp(pixels, raw).toColourspace("b-w").png().toBuffer(), label);
  const binary = binaryRequest(firstImage, label);
  const rows = tensorFlowRequest(firstImage, label);
  const starts = {
    "lenet5-serve": () => startOurs(folder, modelFiles, [png, binary], environment),
    "fastify-empty": () => startEmpty([png, binary], environment),
    torchserve: async () => {
      const { torchserve, why } = findTorchServe();
      if (why !== undefined) return { why };
      const archive = join(folder, "lenet5.mar");
      await exportArchive(modelFiles.torchscript, archive);
      run.versions({ name: "torchserve" }, { torchserve: torchServeVersion(torchserve) });
      return await bestTorchServe(run, torchserve, archive, png, folder);
    },
    "tensorflow-serving": async () => {
      const found = findTensorFlowServing();
      return found.why === undefined ? await startTensorFlowServing(folder, found, [rows], run) : found;
    },
  };
  try {
    for (const system of run.selected) {
      try {
        const server = await starts[system.name]();
        if (server.why !== undefined) absent(system.name, server.why, "serving");
        else servers.push(server);
        server.server?.pause();
      } catch (error) {
        fail(system.name, `start: ${error.message}`, "serving");
      }
    }
    report(`serving: ${servers.map(({ system, settings }) => `${system} (${settings})`).join(", ")}`);
    return (await measure(run, servers, folder)).map((each) => resultOf(each, fail));
  } finally {
    await Promise.all(servers.map(({ server }) => server?.end()));
    await rm(folder, { recursive: true, force: true });
  }
}

function resultOf({ server, request, concurrency, rounds }, fail) {
  const sum = (key) => rounds.reduce((all, round) => all + round[key], 0);
  const wrong = sum("wrong");
  const complete = sum("complete");
  const what = `${request.what}, ${concurrency} at a time`;
  if (wrong > 0) fail(server.system, `${what}: ${wrong} of ${complete} answers were not right`, "serving");
  return {
    suite: "serving",
    system: server.system,
    what: request.what,
    concurrency,
    ...summarize(rounds, ["requestsPerSecond", "p50Ms", "p99Ms"]),
    requests: complete,
    answersRead: sum("read"),
    wrong,
    keptConnections: sum("kept") / complete,
    correct: wrong === 0,
    settings: server.settings,
    batching: BATCHING,
  };
}
