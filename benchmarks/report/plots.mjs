// The plots, as Vega-Lite specifications, and their rendering to SVG and PNG.
import sharp from "sharp";
import * as vega from "vega";
import { compile } from "vega-lite";
import { registry } from "../runner/systems.mjs";
import { figure } from "../runner/table.mjs";

const order = registry.map(({ label }) => label);
const label = (name) => registry.find((system) => system.name === name).label;
const rowsOf = (result, suite) => result.results.filter((row) => row.suite === suite);

// Okabe and Ito's colours, which colour-blind readers can tell apart; this package's two engines stand out.
const OURS = "#d55e00";
const OURS_PALE = "#e69f00";
const PEER = "#7f8fa6";
const colourOf = (system) => (system === "lenet5-fused" ? OURS : system.startsWith("lenet5-") ? OURS_PALE : PEER);

const base = {
  $schema: "https://vega.github.io/schema/vega-lite/v6.json",
  background: "white",
  padding: 12,
  config: {
    font: "Helvetica, Arial, sans-serif",
    view: { stroke: null },
    axis: { grid: false, labelFontSize: 11, titleFontSize: 11, labelLimit: 0 },
    title: { anchor: "start", fontSize: 13 },
    bar: { height: { band: 0.72 } },
  },
};

const systemAxis = (labels) => ({
  field: "label",
  type: "nominal",
  sort: order,
  title: null,
  axis: labels ? {} : null,
});

/** Horizontal bars, one a system, the figure at each bar's end. */
function bars(values, { title, width, labels, text = (value) => figure(value), axisTitle }) {
  const data = values.map((row) => ({ ...row, text: text(row.value) }));
  const most = Math.max(...data.map(({ value }) => value));
  return {
    title,
    width,
    height: { step: 21 },
    data: { values: data },
    encoding: {
      y: systemAxis(labels),
      // Room for the figure behind the longest bar.
      x: {
        field: "value",
        type: "quantitative",
        title: axisTitle ?? null,
        axis: null,
        scale: { domain: [0, most * 1.3] },
      },
    },
    layer: [
      { mark: { type: "bar" }, encoding: { color: { field: "colour", type: "nominal", scale: null } } },
      { mark: { type: "text", align: "left", dx: 4, fontSize: 11 }, encoding: { text: { field: "text" } } },
    ],
  };
}

const point = (row, value) => ({ label: label(row.system), colour: colourOf(row.system), value });

function inferenceChart(result) {
  const rows = rowsOf(result, "inference").filter((row) => row.correct);
  const batches = [...new Set(rows.map(({ batch }) => batch))].sort((a, b) => a - b);
  return {
    name: "inference",
    title: "Inference, images per second by batch size",
    spec: {
      ...base,
      title: "Inference, images per second (higher is better)",
      hconcat: batches.map((batch, index) =>
        bars(
          rows.filter((row) => row.batch === batch).map((row) => point(row, row.imagesPerSecond)),
          { title: `batch ${batch.toLocaleString("en-US")}`, width: 170, labels: index === 0 },
        ),
      ),
    },
  };
}

function latencyChart(result) {
  const rows = rowsOf(result, "inference").filter((row) => row.correct && row.batch === 1);
  if (rows.length === 0) return undefined;
  const values = rows.map((row) => ({ ...point(row, row.p50Ms * 1000), last: row.p99Ms * 1000 }));
  const x = { field: "value", type: "quantitative", scale: { type: "log" }, title: "microseconds, logarithmic" };
  return {
    name: "latency",
    title: "Latency of one image, median to 99th percentile",
    spec: {
      ...base,
      title: "Latency of one image: median (dot) to 99th percentile (lower is better)",
      width: 520,
      height: { step: 21 },
      data: { values },
      encoding: { y: systemAxis(true), color: { field: "colour", type: "nominal", scale: null } },
      layer: [
        { mark: { type: "rule", strokeWidth: 3, opacity: 0.55 }, encoding: { x, x2: { field: "last" } } },
        { mark: { type: "point", filled: true, size: 90, opacity: 1 }, encoding: { x } },
      ],
    },
  };
}

function trainingChart(result) {
  const rows = rowsOf(result, "training");
  const timed = rows.filter((row) => row.secondsTo99 > 0);
  const panels = [
    bars(
      rows.map((row) => point(row, row.imagesPerSecond)),
      { title: "images per second, batch 64 (higher is better)", width: 300, labels: true },
    ),
  ];
  if (timed.length > 0) {
    const panel = bars(
      timed.map((row) => point(row, row.secondsTo99)),
      { title: "seconds from start to 99 % (lower is better)", width: 300, labels: true, text: (v) => figure(v, "s") },
    );
    panels.push(panel);
  }
  return {
    name: "training",
    title: "Training speed, and the time to 99 %",
    spec: { ...base, title: "Training on MNIST", hconcat: panels },
  };
}

function startupChart(result) {
  const phases = { importMs: "import", loadMs: "model load", firstPredictionMs: "first prediction" };
  const values = rowsOf(result, "startup").flatMap((row) =>
    Object.entries(phases).map(([key, phase], index) => ({ label: label(row.system), phase, index, value: row[key] })),
  );
  return {
    name: "startup",
    title: "Startup: import, model load, first prediction",
    spec: {
      ...base,
      title: "Startup in a fresh process (lower is better)",
      width: 520,
      height: { step: 21 },
      data: { values },
      mark: { type: "bar" },
      encoding: {
        y: systemAxis(true),
        x: { field: "value", type: "quantitative", title: "milliseconds" },
        order: { field: "index" },
        color: {
          field: "phase",
          type: "nominal",
          sort: Object.values(phases),
          scale: { domain: Object.values(phases), range: ["#0072b2", "#56b4e9", "#e69f00"] },
          legend: { title: null, orient: "bottom" },
        },
      },
    },
  };
}

/** Images a second on digits and on images that fill their frame, at the largest batch size that both have. */
function denseChart(result) {
  const rows = rowsOf(result, "dense").filter((row) => row.how === "inference" && row.correct);
  const batch = [256, ...rows.map((row) => row.batch)].find((size) => rows.some((row) => row.batch === size));
  const panels = [...new Set(rows.map(({ what }) => what))].map((what, index) =>
    bars(
      rows.filter((row) => row.what === what && row.batch === batch).map((row) => point(row, row.imagesPerSecond)),
      { title: `${what}, batch ${batch}`, width: 300, labels: index === 0 },
    ),
  );
  if (panels.length === 0) return undefined;
  return {
    name: "dense",
    title: "Inference on images that fill their frame",
    spec: { ...base, title: "Inference on images that fill their frame, images per second", hconcat: panels },
  };
}

/** The specification's ten epochs: how long they take, and the accuracy after each. */
function specificationChart(result) {
  const rows = rowsOf(result, "specification");
  const { epochs, batchSize, evaluationBatch, learningRate } = rows[0];
  const ours = rows.map(({ system }) => label(system));
  const learning = rows.flatMap((row) =>
    row.accuracies.map((accuracy, index) => ({ label: label(row.system), epoch: index + 1, accuracy: 100 * accuracy })),
  );
  return {
    name: "specification",
    title: "The specification's training",
    spec: {
      ...base,
      title: `Training as the specification has it: ${epochs} epochs, batch ${batchSize}, test batch ${evaluationBatch}, Adam at ${learningRate}`,
      hconcat: [
        bars(
          rows.map((row) => point(row, row.seconds)),
          { title: "seconds of training (lower is better)", width: 300, labels: true, text: (v) => figure(v, "s") },
        ),
        {
          title: "accuracy on the test set, %",
          width: 300,
          height: Math.max(126, 21 * rows.length),
          data: { values: learning },
          mark: { type: "line", point: true },
          encoding: {
            x: { field: "epoch", type: "ordinal", title: "epoch", axis: { labelAngle: 0 } },
            y: { field: "accuracy", type: "quantitative", title: null, scale: { zero: false } },
            color: {
              field: "label",
              type: "nominal",
              sort: ours,
              legend: { title: null, orient: "right", labelLimit: 0 },
            },
          },
        },
      ],
      resolve: { scale: { color: "independent" } },
    },
  };
}

/** The plots a result has figures for: `{ name, title, spec }`. */
export function charts(result) {
  const has = (suite) => rowsOf(result, suite).length > 0;
  return [
    has("inference") && inferenceChart(result),
    has("inference") && latencyChart(result),
    has("training") && trainingChart(result),
    has("startup") && startupChart(result),
    has("dense") && denseChart(result),
    has("specification") && specificationChart(result),
  ].filter(Boolean);
}

/** A Vega-Lite specification as SVG text and as a PNG of twice its size. */
export async function render(spec) {
  const view = new vega.View(vega.parse(compile(spec).spec), { renderer: "none" });
  const svg = await view.toSVG();
  view.finalize();
  const png = await sharp(Buffer.from(svg), { density: 144 }).png({ compressionLevel: 9 }).toBuffer();
  return { svg: `${svg}\n`, png };
}
