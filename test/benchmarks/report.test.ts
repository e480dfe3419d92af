import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterEach, beforeEach, expect, test } from "vitest";
import { benchmarksFolder, sampleResult } from "./modules.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lenet5-report-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const BEGIN = "<!-- benchmarks: begin, written by npm run bench:report -->";
const END = "<!-- benchmarks: end -->";

async function report(result: unknown) {
  await writeFile(join(folder, "result.json"), JSON.stringify(result));
  const args = [
    "--json",
    join(folder, "result.json"),
    "--out",
    join(folder, "plots"),
    "--readme",
    join(folder, "README.md"),
  ];
  return spawnSync(process.execPath, [join(benchmarksFolder, "report.mjs"), ...args], {
    encoding: "utf8",
    timeout: 60_000,
  });
}

test("tables, plots and the README's one table come from the result file, again and again the same", {
  timeout: 120_000,
}, async () => {
  const readme = join(folder, "README.md");
  await writeFile(readme, `# Title\n\n${BEGIN}\nold\n${END}\n\nThe end.\n`);
  const { status, stderr } = await report(sampleResult());
  expect(stderr).toContain("README.md");
  expect(status).toBe(0);

  const text = await readFile(readme, "utf8");
  expect(text.startsWith(`# Title\n\n${BEGIN}\n`)).toBe(true);
  expect(text.endsWith(`${END}\n\nThe end.\n`)).toBe(true);
  expect(text).not.toContain("\nold\n");
  expect(text).toContain("| inference, batch 1 | 60,000 | onnxruntime-node | 20,000 | 3.00 × | 3.00 × | 7 × | no |");
  expect(text).toContain("| time to 99 %, one recipe | 4.0 s | pytorch | 18.0 s | 4.50 × |  | 5 × | no |");
  expect(text).toContain("| training, batch 64 | 55,000 | tfjs-node | – | – |  | 20 × | not measured |");
  expect(text).toContain("[plots/results.md](plots/results.md)");
  // One table and no plot: the rest is where the link leads.
  expect(text.match(/^\| ---/gm)).toHaveLength(1);
  expect(text).not.toContain(".svg");

  const full = await readFile(join(folder, "plots", "results.md"), "utf8");
  expect(full).toContain("| training, batch 64 | 55,000 | tfjs-node | – | – |  | 20 × | not measured |");
  expect(full).toContain("TensorFlow.js, node: not installed");
  expect(full).toContain("(inference.svg)");
  expect(full.match(/^\| ---/gm)!.length).toBeGreaterThan(3);

  for (const name of ["inference", "latency", "training", "startup"]) {
    const svg = await readFile(join(folder, "plots", `${name}.svg`), "utf8");
    expect(svg).toMatch(/^<svg[^>]*>/);
    expect(svg).toContain("lenet5-libtorch, fused engine");
    const { width, height, format } = await sharp(join(folder, "plots", `${name}.png`)).metadata();
    expect(format).toBe("png");
    expect(Math.min(width, height)).toBeGreaterThan(100);
  }

  await report(sampleResult());
  expect(await readFile(readme, "utf8")).toBe(text);
});

test("what is no result file is refused in one line", async () => {
  const broken = sampleResult();
  broken.results[0]!.imagesPerSecond = null;
  const { status, stderr } = await report(broken);
  expect(status).toBe(2);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr).toContain("results[0].imagesPerSecond is null");
});
