// What the package promises against its peers, and the comparison of a result file with it.
import { quartiles } from "./statistics.mjs";

/** Multiply-adds of one forward pass: c1, c3, c5, f6, output. */
export const MULTIPLY_ADDS = 6 * 28 * 28 * 25 + 16 * 10 * 10 * 150 + 120 * 400 + 84 * 120 + 10 * 84;

const OURS = "lenet5-fused";
const AUGMENTED = "lenet5-fused-augmented";

/** The result of one suite, system and batch, or undefined. */
export function find(result, suite, system, batch) {
  return result.results.find(
    (row) => row.suite === suite && row.system === system && (batch === undefined || row.batch === batch),
  );
}

function better(rows, key) {
  return rows.filter((row) => row?.[key] > 0).sort((a, b) => b[key] - a[key])[0];
}

/** The quartiles of the ratios round by round: both were measured within the same seconds. */
function pairedSpread(ours, peer, key) {
  const [mine, others] = [ours.rounds?.[key] ?? [], peer.rounds?.[key] ?? []];
  const pairs = mine.slice(0, others.length).map((value, index) => value / others[index]);
  return pairs.length > 1 ? quartiles(pairs) : null;
}

function rate(result, what, suite, batch, peers, target, system = OURS) {
  const ours = find(result, suite, system, batch);
  const peer = better(
    peers.map((name) => find(result, suite, name, batch)),
    "imagesPerSecond",
  );
  const common = { what, ours: ours?.imagesPerSecond ?? null, unit: "images/s", target };
  if (ours === undefined || peer === undefined) {
    const theirs = peer?.imagesPerSecond ?? null;
    return { ...common, peer: peer?.system ?? peers.join(", "), theirs, ratio: null, reached: null };
  }
  // A wrong answer is no measurement.
  const honest = ours.correct !== false && peer.correct !== false;
  const ratio = honest ? ours.imagesPerSecond / peer.imagesPerSecond : null;
  return {
    ...common,
    peer: peer.system,
    theirs: peer.imagesPerSecond,
    ratio,
    spread: pairedSpread(ours, peer, "imagesPerSecond"),
    reached: honest && ratio >= target,
  };
}

/** A figure that must stay below another. */
function below(what, ours, unit, peer, theirs, spread = null) {
  const ratio = ours > 0 && theirs > 0 ? theirs / ours : null;
  return {
    what,
    ours: ours ?? null,
    unit,
    peer,
    theirs: theirs ?? null,
    ratio,
    spread,
    target: 1,
    reached: ratio === null ? null : ratio >= 1,
  };
}

function startup(result) {
  const ours = find(result, "startup", OURS);
  const peer = find(result, "startup", "onnxruntime-node");
  const spread = (key) => (ours && peer ? pairedSpread(peer, ours, key) : null);
  return [
    below("import, model load, first prediction, beyond Node's start, under 60 ms", ours?.ownMs, "ms", "the limit", 60),
    below(
      "from nothing to the first prediction",
      ours?.totalMs,
      "ms",
      "onnxruntime-node",
      peer?.totalMs,
      spread("totalMs"),
    ),
    below("resident then, under 70 MB", ours?.residentMB, "MB", "the limit", 70),
    below("resident then", ours?.residentMB, "MB", "onnxruntime-node", peer?.residentMB, spread("residentMB")),
  ];
}

/** The suite script-module: a call's time, how it is called, and how many times torch.jit's it may be. */
const SCRIPT_MODULE = [
  ["MLP, batch 1", "runSync", 1.5],
  ["MLP, batch 1", "awaited", 2.5],
  ["MLP, batch 256", "awaited", 1.1],
  ["ResNet-18, batch 1", "awaited", 1.1],
  ["ResNet-18, batch 8", "awaited", 1.1],
  ["MobileNetV3-small, batch 1", "awaited", 1.1],
  ["DeepLabV3, batch 1", "awaited", 1.1],
  ["ViT-tiny, batch 1", "awaited", 1.1],
  ["Conformer, batch 1", "awaited", 1.1],
  ["2-layer LSTM, batch 1", "awaited", 1.3],
  ["loading ResNet-18", "loading", 1.3],
  ["loading EfficientNet-B0", "loading", 1.3],
];

function scriptModule(result) {
  const row = (system, what, how) =>
    result.results.find(
      (one) => one.suite === "script-module" && one.system === system && one.what === what && one.how === how,
    );
  return SCRIPT_MODULE.map(([what, how, most]) => {
    const ours = row("script-module", what, how);
    const theirs = row("torch-jit", what, how === "loading" ? how : "call");
    const ratio = ours && theirs && ours.correct && theirs.correct ? theirs.p50Ms / ours.p50Ms : null;
    return {
      what: how === "loading" ? what : `${what}, ${how}`,
      ours: ours?.p50Ms ?? null,
      unit: "ms",
      peer: "torch-jit",
      theirs: theirs?.p50Ms ?? null,
      ratio,
      spread: ours && theirs ? pairedSpread(theirs, ours, "p50Ms") : null,
      target: 1 / most,
      reached: ours === undefined || theirs === undefined ? null : ratio !== null && ratio >= 1 / most,
    };
  });
}

/** A hundred thousand awaited calls of one image at a time, against synchronous ones of a batch. */
function crowd(result) {
  const row = find(result, "inference", OURS, 256);
  if (row?.crowd === undefined) return [];
  const ratio = row.correct ? row.crowd.imagesPerSecond / row.imagesPerSecond : null;
  return [
    {
      what: `${row.crowd.calls.toLocaleString("en-US")} predict calls at a time`,
      ours: row.crowd.imagesPerSecond,
      unit: "images/s",
      peer: "predictSync, batch 256",
      theirs: row.imagesPerSecond,
      ratio,
      spread: pairedSpread(row.crowd, row, "imagesPerSecond"),
      target: 0.5,
      reached: ratio !== null && ratio >= 0.5,
    },
  ];
}

/** The suite serving: what is asked, whom it is compared with, and how many times its requests a second are promised. */
const SERVING = [
  ["PNG digit", "torchserve", 10],
  ["PNG digit", "fastify-empty", 0.6],
  ["v2 binary tensor", "fastify-empty", 0.8],
];
const SERVED_AT = 32;

function serving(result) {
  const row = (system, what) =>
    result.results.find(
      (one) => one.suite === "serving" && one.system === system && one.what === what && one.concurrency === SERVED_AT,
    );
  const rows = SERVING.map(([what, peer, target]) => {
    const [ours, theirs] = [row("lenet5-serve", what), row(peer, what)];
    const measured = ours !== undefined && theirs !== undefined;
    const honest = measured && ours.correct && theirs.correct;
    const ratio = honest ? ours.requestsPerSecond / theirs.requestsPerSecond : null;
    return {
      what: `${what}, ${SERVED_AT} at a time`,
      ours: ours?.requestsPerSecond ?? null,
      unit: "requests/s",
      peer,
      theirs: theirs?.requestsPerSecond ?? null,
      ratio,
      spread: honest ? pairedSpread(ours, theirs, "requestsPerSecond") : null,
      target,
      reached: measured ? honest && ratio >= target : null,
    };
  });
  const [ours, theirs] = [row("lenet5-serve", "PNG digit"), row("torchserve", "PNG digit")];
  const p99 = below(`PNG digit, ${SERVED_AT} at a time, p99`, ours?.p99Ms, "ms", "torchserve", theirs?.p99Ms);
  return [...rows, ours?.correct && theirs?.correct ? p99 : { ...p99, ratio: null, reached: null }];
}

/** The libtorch engine against libtorch without us. */
const ENGINE = "lenet5-libtorch";
const PLAIN = ["libtorch-plain"];

/**
 * Every promise as a row: `ratio` of the medians, the `target` it must reach, `reached` (null: not measured). Rows
 * whose suite is not in the result are left out.
 */
export function compare(result) {
  const has = (suite) => result.results.some((row) => row.suite === suite);
  const rows = has("startup") ? startup(result) : [];
  if (has("inference")) {
    const batches = [...new Set(result.results.filter((row) => row.suite === "inference").map((row) => row.batch))];
    for (const batch of batches)
      rows.push(rate(result, `inference, batch ${batch}`, "inference", batch, ["onnxruntime-node"], 2.5));
    for (const batch of batches)
      rows.push(rate(result, `libtorch engine, inference, batch ${batch}`, "inference", batch, PLAIN, 0.95, ENGINE));
    rows.push(rate(result, "inference, batch 1", "inference", 1, ["pytorch", "pytorch-optimized"], 15));
    rows.push(rate(result, "inference, batch 1", "inference", 1, ["tensorflow"], 15));
    rows.push(
      rate(result, "inference, batch 256", "inference", 256, ["pytorch", "pytorch-optimized", "tensorflow"], 2.5),
    );
  }
  if (has("training")) {
    for (const [peer, target] of [
      ["pytorch", 5],
      ["tensorflow", 8],
      ["tfjs-node", 20],
    ]) {
      rows.push(rate(result, "training, batch 64", "training", 64, [peer], target));
    }
    rows.push(rate(result, "libtorch engine, training, batch 64", "training", 64, PLAIN, 0.95, ENGINE));
    rows.push(rate(result, "training with augmentation against without", "training", 64, ["pytorch"], 5, AUGMENTED));
    const ours = find(result, "training", OURS);
    const peer = find(result, "training", "pytorch");
    // Runs that were made and did not get there are a miss, not a gap.
    const missed = ours?.secondsTo99 === null && ours.reached !== undefined;
    const ratio = ours?.secondsTo99 && peer?.secondsTo99 ? peer.secondsTo99 / ours.secondsTo99 : null;
    rows.push({
      what: "time to 99 %",
      ours: ours?.secondsTo99 ?? null,
      peer: "pytorch",
      theirs: peer?.secondsTo99 ?? null,
      unit: "s",
      ratio,
      target: 5,
      reached: missed ? false : ratio === null ? null : ratio >= 5,
    });
    const seconds = ours?.secondsTo99 ? ours.secondsOfTraining : null;
    rows.push({
      what: "training alone to 99 %, under 3 s",
      ours: seconds,
      peer: "the limit",
      theirs: 3,
      unit: "s",
      ratio: seconds === null ? null : 3 / seconds,
      target: 1,
      reached: missed ? false : seconds === null ? null : seconds < 3,
    });
  }
  if (has("script-module")) rows.push(...scriptModule(result));
  if (has("inference")) rows.push(...crowd(result));
  if (has("serving")) rows.push(...serving(result));
  const peak = result.environment.fmaPeak?.multiplyAddsPerSecond;
  const full = find(result, "inference", OURS, 256);
  if (has("inference")) {
    const possible = peak > 0 ? peak / MULTIPLY_ADDS : null;
    const share = full && possible ? full.imagesPerSecond / possible : null;
    rows.push({
      what: "share of the multiply-add peak, batch 256",
      ours: full?.imagesPerSecond ?? null,
      peer: "peak",
      theirs: possible,
      unit: "images/s",
      ratio: share,
      target: 0.35,
      reached: share === null ? null : share >= 0.35,
    });
  }
  return rows;
}
