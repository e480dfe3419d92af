// The notebook, executed from top to bottom as a reader would, and without a trace of the machine that it was written on.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { temporaryFolder } from "../cli/lenet5.js";
import { digitsName } from "../mnist.js";
import { describeWithEnvironments, pythonFor } from "../python.js";

const NOTEBOOK = join(packageRoot, "notebooks", "lenet5.ipynb");

interface Cell {
  cell_type: "code" | "markdown";
  execution_count?: number | null;
  outputs?: { output_type: string; name?: string; text?: string[]; data?: Record<string, string | string[]> }[];
}
const cellsOf = (path: string): Cell[] => JSON.parse(readFileSync(path, "utf8")).cells;

test("the notebook is committed without outputs and without machine paths", () => {
  for (const { cell_type, execution_count, outputs } of cellsOf(NOTEBOOK))
    if (cell_type === "code") expect({ execution_count, outputs }).toEqual({ execution_count: null, outputs: [] });
  expect(readFileSync(NOTEBOOK, "utf8")).not.toMatch(/\/(work|home|root|tmp|Users)\//);
});

describeWithEnvironments(["notebook"], "the notebook", () => {
  test("runs from top to bottom", { timeout: 1_500_000 }, async () => {
    const folder = temporaryFolder();
    const words = ["--to", "notebook", "--execute", NOTEBOOK, "--output-dir", folder];
    const child = spawn(
      pythonFor("notebook")!,
      ["-m", "jupyter", "nbconvert", ...words, "--ExecutePreprocessor.timeout=1200"],
      {
        stdio: ["ignore", "ignore", "pipe"],
        env: {
          ...process.env,
          ...(digitsName === "MNIST" ? {} : { LENET5_NOTEBOOK_DATA: "synthetic" }),
          TMPDIR: folder,
        },
        cwd: dirname(folder),
      },
    );
    let told = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      told += text;
    });
    const [status] = await once(child, "close");
    expect(status, told).toBe(0);
    const code = cellsOf(join(folder, "lenet5.ipynb")).filter(({ cell_type }) => cell_type === "code");
    expect(code.map(({ execution_count }) => execution_count)).toEqual(code.map((_, i) => i + 1));
    const outputs = code.flatMap((cell) => cell.outputs ?? []);
    // Digits and answers, times of requests, benchmarks, learning curves; and nothing to complain about.
    expect(outputs.filter(({ data }) => data?.["image/png"] !== undefined)).toHaveLength(4);
    expect(outputs.filter(({ name }) => name === "stderr")).toEqual([]);
    const texts = outputs.flatMap(({ text = [] }) => text).join("");
    expect(texts).toMatch(/5 protocols, the same answers; (9|10) of 10 digits right/);
  });
});
