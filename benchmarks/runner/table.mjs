// Figures as text: for the terminal and for the README.

export function figure(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "s") return `${value.toFixed(1)} s`;
  if (unit === "ms" || unit === "MB") return `${Number(value.toPrecision(3))} ${unit}`;
  if (value >= 1000) return Math.round(Number(value.toPrecision(3))).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}

function ratioText({ ratio, target }) {
  if (ratio === null) return "–";
  return target < 1 ? `${(ratio * 100).toFixed(0)} %` : `${ratio.toFixed(2)} ×`;
}

const targetText = (target) => (target < 1 ? `${(target * 100).toFixed(0)} %` : `${Number(target.toFixed(2))} ×`);
const reachedText = (reached) => (reached === null ? "not measured" : reached ? "yes" : "no");

/** The promises as rows of cells, the heading first. */
export function targetCells(rows) {
  return [
    ["", "this package", "peer", "its figure", "ratio", "worst round", "at least", "reached"],
    ...rows.map((row) => [
      row.what,
      figure(row.ours, row.unit),
      row.peer,
      figure(row.theirs, row.unit),
      ratioText(row),
      row.worst === null || row.worst === undefined ? "" : ratioText({ ...row, ratio: row.worst }),
      targetText(row.target),
      reachedText(row.reached),
    ]),
  ];
}

/** Cells as aligned columns. */
export function plainTable(cells) {
  const widths = cells[0].map((_, column) => Math.max(...cells.map((row) => row[column].length)));
  return cells
    .map((row) =>
      row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join("  "),
    )
    .join("\n");
}

/** Cells as a Markdown table; every column but the first and those named is right-aligned. */
export function markdownTable([heading, ...rows], left = []) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const rule = heading.map((_, column) => (column === 0 || left.includes(column) ? "---" : "---:"));
  return [line(heading), line(rule), ...rows.map(line)].join("\n");
}
