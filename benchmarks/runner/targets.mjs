// What the package promises against its peers, and the comparison of a result file with it.
//
// A ratio is the median of the ratios round by round, where both systems were measured within the same seconds; the worst
// round stands beside it.
import { median, pairedRatios } from "./statistics.mjs";

const OURS = "lenet5-fused";
const AWAITED = "lenet5-fused-awaited";
const AUGMENTED = "lenet5-fused-augmented";
const NODE = ["onnxruntime-node"];
/** Whoever else predicts, and whoever trains. */
const FRAMEWORKS = ["pytorch", "pytorch-optimized", "tensorflow", "jax"];
const PREDICTING = [...FRAMEWORKS, "openvino", "litert", "onnxruntime-python", "tract", "candle", "libtorch-plain"];
const TRAINING = [...FRAMEWORKS, "keras-jax", "libtorch-plain", "tfjs-node", "tfjs-cpu"];

/** The result of one suite, system and batch, or undefined; of the suite dense, of one data set. */
export function find(result, suite, system, batch, what) {
  return result.results.find(
    (row) =>
      row.suite === suite &&
      row.system === system &&
      (batch === undefined || row.batch === batch) &&
      row.what === what?.set &&
      row.how === what?.how,
  );
}

function better(rows, key) {
  return rows.filter((row) => row?.[key] > 0 && row.correct !== false).sort((a, b) => b[key] - a[key])[0];
}

/** The median of the ratios round by round, and the worst; the ratio of the medians where there are no rounds to pair. */
function paired(above, below, key) {
  const ratios = pairedRatios(above.rounds?.[key] ?? [], below.rounds?.[key] ?? []);
  if (ratios.length === 0)
    return { ratio: above[key] > 0 && below[key] > 0 ? above[key] / below[key] : null, worst: null };
  return { ratio: median(ratios), worst: Math.min(...ratios) };
}

function rate(result, what, suite, batch, peers, target, { system = OURS, on } = {}) {
  const ours = find(result, suite, system, batch, on);
  const peer = better(
    peers.map((name) => find(result, suite, name, batch, on)),
    "imagesPerSecond",
  );
  const common = { what, ours: ours?.imagesPerSecond ?? null, unit: "images/s", target };
  if (ours === undefined || peer === undefined) {
    const theirs = peer?.imagesPerSecond ?? null;
    const whom = peers.length > 2 ? "the best peer" : peers.join(", ");
    // A peer that was measured and gave wrong answers is no gap.
    const wrong = ours !== undefined && peers.some((name) => find(result, suite, name, batch, on)?.correct === false);
    return { ...common, peer: peer?.system ?? whom, theirs, ratio: null, worst: null, reached: wrong ? false : null };
  }
  // A wrong answer is no measurement.
  const honest = ours.correct !== false;
  const { ratio, worst } = honest ? paired(ours, peer, "imagesPerSecond") : { ratio: null, worst: null };
  const reached = honest && ratio >= target;
  return { ...common, peer: peer.system, theirs: peer.imagesPerSecond, ratio, worst, reached };
}

/** A figure that must stay below another. */
function below(what, ours, unit, peer, theirs, pairs) {
  const { ratio, worst } = pairs ?? { ratio: ours > 0 && theirs > 0 ? theirs / ours : null, worst: null };
  return {
    what,
    ours: ours ?? null,
    unit,
    peer,
    theirs: theirs ?? null,
    ratio,
    worst,
    target: 1,
    reached: ratio === null ? null : ratio >= 1,
  };
}

function startup(result) {
  const ours = find(result, "startup", OURS);
  const peer = find(result, "startup", "onnxruntime-node");
  const pairs = (key) => (ours && peer ? paired(peer, ours, key) : undefined);
  return [
    below("import, model load, first prediction, beyond Node's start, under 60 ms", ours?.ownMs, "ms", "the limit", 60),
    below(
      "from nothing to the first prediction",
      ours?.totalMs,
      "ms",
      "onnxruntime-node",
      peer?.totalMs,
      pairs("totalMs"),
    ),
    below("resident then, under 70 MB", ours?.residentMB, "MB", "the limit", 70),
    below("resident then", ours?.residentMB, "MB", "onnxruntime-node", peer?.residentMB, pairs("residentMB")),
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
    const honest = ours && theirs && ours.correct && theirs.correct;
    const { ratio, worst } = honest ? paired(theirs, ours, "p50Ms") : { ratio: null, worst: null };
    return {
      what: how === "loading" ? what : `${what}, ${how}`,
      ours: ours?.p50Ms ?? null,
      unit: "ms",
      peer: "torch-jit",
      theirs: theirs?.p50Ms ?? null,
      ratio,
      worst,
      target: 1 / most,
      reached: ours === undefined || theirs === undefined ? null : ratio !== null && ratio >= 1 / most,
    };
  });
}

/** A hundred thousand awaited calls of one image at a time, against synchronous ones of a batch. */
function crowd(result) {
  const row = find(result, "inference", OURS, 256);
  if (row?.crowd === undefined) return [];
  const { ratio, worst } = row.correct ? paired(row.crowd, row, "imagesPerSecond") : { ratio: null, worst: null };
  return [
    {
      what: `${row.crowd.calls.toLocaleString("en-US")} predict calls at a time`,
      ours: row.crowd.imagesPerSecond,
      unit: "images/s",
      peer: "predictSync, batch 256",
      theirs: row.imagesPerSecond,
      ratio,
      worst,
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
    const { ratio, worst } = honest ? paired(ours, theirs, "requestsPerSecond") : { ratio: null, worst: null };
    return {
      what: `${what}, ${SERVED_AT} at a time`,
      ours: ours?.requestsPerSecond ?? null,
      unit: "requests/s",
      peer,
      theirs: theirs?.requestsPerSecond ?? null,
      ratio,
      worst,
      target,
      reached: measured ? honest && ratio >= target : null,
    };
  });
  const [ours, theirs] = [row("lenet5-serve", "PNG digit"), row("torchserve", "PNG digit")];
  const p99 = below(`PNG digit, ${SERVED_AT} at a time, p99`, ours?.p99Ms, "ms", "torchserve", theirs?.p99Ms);
  return [...rows, ours?.correct && theirs?.correct ? p99 : { ...p99, ratio: null, reached: null }];
}

/** A folder of PNGs, against a DataLoader loop. */
function batchRows(result) {
  const [{ what }] = result.results.filter(({ suite }) => suite === "batch");
  const row = rate(result, what, "batch", undefined, ["pytorch-dataloader"], 5, {
    system: "lenet5-predict",
    on: { set: what },
  });
  return [row];
}

/** The libtorch engine against libtorch without us. */
const ENGINE = { system: "lenet5-libtorch" };
const PLAIN = ["libtorch-plain"];
/** On images that fill their frame the ratios may be lower by so much. */
const DENSE_SHARE = 0.85;
/** At least so many times onnxruntime-node, and the best of all others, by batch size. */
const NODE_TARGET = (batch) => (batch === 1 ? 7 : 4);
const BEST_TARGET = 3.5;
const TRAINING_TARGET = 12;

function inferenceRows(result) {
  const batches = [...new Set(result.results.filter((row) => row.suite === "inference").map((row) => row.batch))];
  const row = (what, batch, peers, target, more) => rate(result, what, "inference", batch, peers, target, more);
  return [
    ...batches.map((batch) => row(`inference, batch ${batch}`, batch, NODE, NODE_TARGET(batch))),
    ...batches.map((batch) => row(`awaited predict, batch ${batch}`, batch, NODE, 2.5, { system: AWAITED })),
    ...batches.map((batch) => row(`inference, batch ${batch}`, batch, PREDICTING, BEST_TARGET)),
    row("inference, batch 1", 1, FRAMEWORKS, 15),
    ...batches.map((batch) => row(`libtorch engine, inference, batch ${batch}`, batch, PLAIN, 0.95, ENGINE)),
  ];
}

/** A time to 99 %: ours by one recipe against the quickest peer's, runs paired by their seeds. */
function timeTo99(what, ours, peers, target, pick) {
  const mine = pick(ours);
  const peer = peers
    .map((row) => ({ system: row.system, ...pick(row) }))
    .filter(({ secondsTo99 }) => secondsTo99 > 0)
    .sort((a, b) => a.secondsTo99 - b.secondsTo99)[0];
  // Runs that were made and did not get there are a miss, not a gap.
  const missed = mine?.secondsTo99 === null && mine.reached !== undefined;
  const measured = mine?.secondsTo99 > 0 && peer !== undefined;
  const seconds = (fits) => fits?.map((run) => run.secondsTo99) ?? [];
  const ratios = measured ? pairedRatios(seconds(peer.fits), seconds(mine.fits)) : [];
  const ratio = measured ? (ratios.length > 0 ? median(ratios) : peer.secondsTo99 / mine.secondsTo99) : null;
  return {
    what,
    ours: mine?.secondsTo99 ?? null,
    peer: peer?.system ?? "the best peer",
    theirs: peer?.secondsTo99 ?? null,
    unit: "s",
    ratio,
    worst: ratios.length > 1 ? Math.min(...ratios) : null,
    target,
    reached: missed ? false : ratio === null ? null : ratio >= target,
  };
}

/** The better of the common recipe and the system's own. */
function quickest(row) {
  const { secondsTo99, own } = row ?? {};
  return own?.secondsTo99 > 0 && !(secondsTo99 <= own.secondsTo99) ? own : row;
}

function trainingRows(result) {
  const row = (what, peers, target, more) => rate(result, what, "training", 64, peers, target, more);
  const rows = [
    row("training, batch 64", TRAINING, TRAINING_TARGET),
    row("training, batch 64", ["pytorch"], 5),
    row("training, batch 64", ["tensorflow"], 8),
    row("training, batch 64", ["tfjs-node"], 20),
    row("libtorch engine, training, batch 64", PLAIN, 0.95, ENGINE),
    row("training with augmentation against without", ["pytorch"], 5, { system: AUGMENTED }),
  ];
  const ours = find(result, "training", OURS);
  const peers = TRAINING.map((name) => find(result, "training", name)).filter((peer) => peer !== undefined);
  rows.push(timeTo99("time to 99 %, one recipe", ours, peers, 5, (one) => one));
  if (peers.some(({ own }) => own !== undefined) || ours?.own !== undefined)
    rows.push(timeTo99("time to 99 %, each by its best recipe", ours, peers, 5, quickest));
  const missed = ours?.secondsTo99 === null && ours.reached !== undefined;
  const best = quickest(ours);
  const seconds = best?.secondsTo99 ? best.secondsOfTraining : null;
  rows.push({
    what: "training alone to 99 %, under 0.9 s",
    ours: seconds,
    peer: "the limit",
    theirs: 0.9,
    unit: "s",
    ratio: seconds === null ? null : 0.9 / seconds,
    worst: null,
    target: 1,
    reached: missed ? false : seconds === null ? null : seconds < 0.9,
  });
  return rows;
}

function denseRows(result) {
  const sets = [...new Set(result.results.filter((row) => row.suite === "dense").map((row) => row.what))];
  return sets.flatMap((set) => {
    const on = { set, how: "inference" };
    const found = result.results.filter((row) => row.suite === "dense" && row.what === set && row.how === "inference");
    const batches = [...new Set(found.map(({ batch }) => batch))];
    const row = (batch, peers, target) =>
      rate(result, `${set}: inference, batch ${batch}`, "dense", batch, peers, DENSE_SHARE * target, { on });
    return [
      ...batches.map((batch) => row(batch, NODE, NODE_TARGET(batch))),
      ...batches.filter((batch) => batch === 256).map((batch) => row(batch, PREDICTING, BEST_TARGET)),
      rate(result, `${set}: training, batch 64`, "dense", 64, TRAINING, DENSE_SHARE * TRAINING_TARGET, {
        on: { set, how: "training" },
      }),
    ];
  });
}

/** The specification's training: our seconds against each other's. */
function specificationRows(result) {
  const row = (system) => result.results.find((one) => one.suite === "specification" && one.system === system);
  const ours = row(OURS);
  return ["libtorch-plain", "pytorch", "tensorflow"].map((peer) => {
    const theirs = row(peer);
    const ratio = ours && theirs ? theirs.seconds / ours.seconds : null;
    return {
      ...below("the specification's training", ours?.seconds, "s", peer, theirs?.seconds),
      ratio,
      target: 5,
      reached: ratio === null ? null : ratio >= 5,
    };
  });
}

/** What the kernels execute at a batch of 256 against the measured peak; the nominal share is beside it in the report. */
function shareOfPeak(result) {
  const row = find(result, "inference", OURS, 256);
  const peak = result.environment.fmaPeak?.multiplyAddsPerSecond;
  const executed = result.environment.multiplyAdds?.executed.digits;
  const share = row && peak > 0 && executed > 0 ? (row.imagesPerSecond * executed) / peak : null;
  return {
    what: "executed multiply-adds, share of the peak, batch 256",
    ours: row?.imagesPerSecond ?? null,
    peer: "peak",
    theirs: share === null ? null : peak / executed,
    unit: "images/s",
    ratio: share,
    worst: null,
    target: 0.7,
    reached: share === null ? null : share >= 0.7,
  };
}

/**
 * Every promise as a row: `ratio`, the `worst` of its rounds, the `target` it must reach, `reached` (null: not measured). Rows
 * whose suite is not in the result are left out.
 * @param options - `networks`: LeNet-5 by the fused engine alone, whole suites of it: what the README has room for
 */
export function compare(result, { networks = false } = {}) {
  const has = (suite) => result.results.some((row) => row.suite === suite);
  const rows = [
    ...(has("inference") ? inferenceRows(result) : []),
    ...(has("training") ? trainingRows(result) : []),
    ...(has("dense") ? denseRows(result) : []),
    ...(has("specification") ? specificationRows(result) : []),
    ...(has("inference") ? [...crowd(result), shareOfPeak(result)] : []),
  ];
  if (networks) return rows.filter(({ what }) => !what.startsWith("libtorch engine"));
  return [
    ...(has("startup") ? startup(result) : []),
    ...rows,
    ...(has("script-module") ? scriptModule(result) : []),
    ...(has("serving") ? serving(result) : []),
    ...(has("batch") ? batchRows(result) : []),
  ];
}
