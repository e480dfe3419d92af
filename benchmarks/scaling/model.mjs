// What a step of distributed training takes:
//
//   T = crowding × compute(b / N) + own(N) + wire(N)
//
// compute(b) = c0 + c1 b for a rank's share of b images, from measurements of one rank alone; crowding: processes a
// core, where there are more of them than cores; a relay that stands in for a network is one of them. wire(N) = rounds × delay + 2 (N - 1) / N × S / bandwidth is what the network takes for a sum
// of S bytes: each rank sends and receives its N-th part of them N - 1 times, twice, as native/core/direct_sum.h says, in
// two rounds of messages, of which two ranks need one. own(N) is what processes and kernel need for a sum without a
// network between them: what is left of a step on the bare machine, with the first batch size.

/** Bytes of a sum: the packed gradients of ten classes, with the loss and the number of right answers. */
export const BYTES = 4 * (68_256 + 2);

/** The networks: delay in seconds, bandwidth in bytes a second; without one it is no limit. */
export const NETWORKS = {
  bare: { delay: 0 },
  "10gbit-0.1ms": { delay: 1e-4, bandwidth: 1.25e9 },
  "1gbit-1ms": { delay: 1e-3, bandwidth: 1.25e8 },
};

/**
 * Seconds of a processor for one message more: not measured, as that takes a machine a rank, but assumed. It is the system
 * calls of sending it, of receiving it, and of announcing that.
 */
const MESSAGE = 2e-5;

/** What a network is shaped by where the kernel has no netem. */
export const RELAY = "a relay";

const OURS = "lenet5-fused";

/** Least squares of relative errors for y = c0 + c1 x; with one point, or where c0 would be negative, a line through 0. */
function line(points) {
  const weighted = (of) => points.reduce((sum, point) => sum + of(point) / point.y ** 2, 0);
  const mean = (of) => weighted(of) / weighted(() => 1);
  const x = mean((point) => point.x);
  const y = mean((point) => point.y);
  const c1 = mean((point) => (point.x - x) * (point.y - y)) / mean((point) => (point.x - x) ** 2);
  const c0 = y - c1 * x;
  return points.length > 1 && c0 >= 0
    ? { c0, c1 }
    : { c0: 0, c1: weighted((point) => point.x * point.y) / weighted((point) => point.x ** 2) };
}

/** Whether the model's numbers come from this row: then it predicts nothing about it. */
export function isFitted(row, batch) {
  return row.system.startsWith(OURS) && (row.ranks === 1 || (row.network === "bare" && row.batch === batch));
}

/** The model's numbers, from measured rows. */
export function fitted(rows, batch, cores) {
  const from = rows.filter((row) => isFitted(row, batch));
  const alone = from.filter(({ ranks }) => ranks === 1);
  const model = { ...line(alone.map((row) => ({ x: row.batch, y: 1 / row.stepsPerSecond }))), cores, own: {} };
  for (const row of from) {
    if (row.ranks > 1) model.own[row.ranks] = Math.max(0, 1 / row.stepsPerSecond - compute(model, row));
  }
  return model;
}

function compute({ c0, c1, cores }, { ranks, batch }, processes = ranks) {
  return Math.max(1, processes / cores) * (c0 + (c1 * batch) / ranks);
}

const rounds = (ranks) => Math.min(ranks - 1, 2);

function own(model, ranks) {
  return model.own[ranks] ?? rounds(ranks) * model.own[2] + 2 * (ranks - 1) * MESSAGE;
}

function wire(ranks, { delay, bandwidth = Number.POSITIVE_INFINITY }) {
  return rounds(ranks) * delay + (2 * (ranks - 1) * BYTES) / ranks / bandwidth;
}

/** Steps a second that the model says of a measured row on such a network. */
export function predicted(model, row, network) {
  const processes = row.ranks + (network.shapedBy === RELAY ? 1 : 0);
  return 1 / (compute(model, row, processes) + own(model, row.ranks) + wire(row.ranks, network));
}

/**
 * The batch with which so many machines, a rank each, spend half of their time in sums; images a second then, and against
 * one machine alone.
 */
export function sensibleBatch(model, name, machines) {
  const sum = own({ own: { 2: model.own[2] } }, machines) + wire(machines, NETWORKS[name]);
  const batch = Math.max(1, Math.ceil((sum - model.c0) / model.c1)) * machines;
  const imagesPerSecond = batch / (compute(model, { ranks: machines, batch }, 1) + sum);
  const one = batch / compute(model, { ranks: 1, batch });
  return {
    ...{ machines, batch, sumMilliseconds: Number((sum * 1e3).toPrecision(3)) },
    ...{
      imagesPerSecond: Math.round(imagesPerSecond),
      timesOneMachine: Number((imagesPerSecond / one).toPrecision(3)),
    },
  };
}
