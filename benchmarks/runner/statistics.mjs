// Medians and quartiles: with a noisy machine a mean says little.

/** The value below which `share` of the sorted values lie, interpolated between neighbours. */
export function quantile(values, share) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const position = (sorted.length - 1) * share;
  const below = Math.floor(position);
  const above = Math.ceil(position);
  return sorted[below] + (sorted[above] - sorted[below]) * (position - below);
}

export function median(values) {
  return quantile(values, 0.5);
}

/** First and third quartile: what the result file calls a spread. */
export function quartiles(values) {
  return [quantile(values, 0.25), quantile(values, 0.75)];
}

/** Rounds to `digits` significant digits, so that a result file does not claim more than was measured. */
export function significant(value, digits = 5) {
  if (value === null || value === undefined) return null;
  return typeof value === "number" && Number.isFinite(value) ? Number(value.toPrecision(digits)) : null;
}

/** The ratios of two systems' rounds, each pair from the same round; rounds that one of them lacks are left out. */
export function pairedRatios(above, below) {
  return above
    .map((value, index) => (value === null || !(below[index] > 0) ? null : value / below[index]))
    .filter((ratio) => ratio !== null && Number.isFinite(ratio));
}

/**
 * The rounds of one measurement as a result's members: each key's median, the quartiles under `spread`, and the values
 * themselves under `rounds`, in the order of the rounds, so that two systems' rounds can be paired; null stands for a round in
 * which the measurement was not taken.
 */
export function summarize(rounds, keys) {
  const summary = { spread: {}, rounds: {} };
  for (const key of keys) {
    const all = rounds.map((round) => round?.[key] ?? null);
    const values = all.filter((value) => value !== null);
    summary[key] = significant(median(values));
    summary.spread[key] = quartiles(values).map((value) => significant(value));
    summary.rounds[key] = all.map((value) => significant(value));
  }
  return summary;
}
