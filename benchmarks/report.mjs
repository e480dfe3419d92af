#!/usr/bin/env node
// Turns a result file into Markdown tables and plots: `npm run bench:report -- [--json FILE] [--out FOLDER] [--readme FILE]`.
//
// The tables go to the terminal and to FOLDER/results.md, the plots beside them as SVG and PNG. A README that holds the
// two marker lines gets the one table of promises between them, and a link to the rest.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { headline, report } from "./report/markdown.mjs";
import { charts, render } from "./report/plots.mjs";
import { readResult } from "./report/result-file.mjs";
import { plots, resultFile, root } from "./runner/paths.mjs";

const BEGIN = "<!-- benchmarks: begin, written by npm run bench:report -->";
const END = "<!-- benchmarks: end -->";

/** Replaces what lies between the markers; undefined when the text has none. */
function between(text, content) {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin === -1 || end < begin) return undefined;
  return `${text.slice(0, begin + BEGIN.length)}\n\n${content}\n${text.slice(end)}`;
}

try {
  const { values } = parseArgs({
    options: {
      json: { type: "string", default: resultFile },
      out: { type: "string", default: plots },
      readme: { type: "string", default: join(root, "README.md") },
    },
  });
  const result = await readResult(resolve(values.json));
  const folder = resolve(values.out);
  await mkdir(folder, { recursive: true });

  const drawn = [];
  for (const chart of charts(result)) {
    const { svg, png } = await render(chart.spec);
    await writeFile(join(folder, `${chart.name}.svg`), svg);
    await writeFile(join(folder, `${chart.name}.png`), png);
    drawn.push(chart);
  }
  const results = join(folder, "results.md");
  const text = report(result, drawn);
  await writeFile(results, text);

  const readme = resolve(values.readme);
  const before = await readFile(readme, "utf8").catch(() => "");
  const after = between(before, headline(result, relative(dirname(readme), results)));
  if (after !== undefined && after !== before) await writeFile(readme, after);
  console.log(text);
  console.error(`${folder}${after === undefined ? `; ${readme} has no markers` : `; ${readme}`}`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 2;
}
