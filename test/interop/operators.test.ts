// Operators of the real torchvision wheel: its detection models answer as in Python. The wheel is made for PyTorch's own
// libtorch, so that a process of its own uses that one.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { packageRoot } from "#package-root";
import { lastJson, lenet5, line, runNode } from "../cli/lenet5.js";
import { describeWithPython, python, pythonPath } from "../python.js";

interface Found {
  boxes: number[][];
  labels: number[];
  scores: number[];
}

describeWithPython("torchvision's operators", () => {
  let folder: string;
  let library: string;
  let wanted: Record<string, Found>;
  const env = { LENET5_USE_PYTORCH: "1", LENET5_PYTHON: pythonPath, LIBTORCH: undefined, LENET5_OPERATORS: undefined };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "lenet5-operators-"));
    const generator = join(packageRoot, "test", "fixtures", "generate_detection.py");
    const program = `
import runpy, sys, torchvision
sys.path.insert(0, ${JSON.stringify(dirname(generator))})
runpy.run_path(${JSON.stringify(generator)}, run_name="__main__")`;
    wanted = await python(program, [folder], { timeout: 250_000 });
    library = await python(
      'import importlib.util as u, json; print(json.dumps(u.find_spec("torchvision").submodule_search_locations[0] + "/_C.so"))',
    );
  }, 300_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it.each(["faster-rcnn", "ssdlite"])("%s answers as in Python", async (name) => {
    const script = `
      const { readFileSync } = require("node:fs");
      const { ScriptModule } = require(${JSON.stringify(join(packageRoot, "dist", "cjs", "lenet5-libtorch.js"))});
      const [, folder, name, library] = process.argv;
      const bytes = readFileSync(folder + "/image.bin");
      const data = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
      (async () => {
        const module = await ScriptModule.load(folder + "/" + name + ".pt", { device: "cpu", operators: [library] });
        const [, [{ boxes, labels, scores }]] = await module.forward([{ data, shape: [3, 96, 128], dtype: "float32" }]);
        console.log(JSON.stringify({ boxes: [...boxes.data], labels: [...labels.data].map(Number), scores: [...scores.data] }));
      })();`;
    const run = await runNode(["--eval", script, folder, name, library], { env });
    expect(run).toMatchObject({ status: 0 });
    const answer = JSON.parse(run.stdout) as { boxes: number[]; labels: number[]; scores: number[] };
    const { boxes, labels, scores } = wanted[name]!;
    expect(labels.length).toBeGreaterThan(10);
    expect(answer.labels).toEqual(labels);
    // The same kernels on the same numbers; a sum may come in another order where the numbers of threads differ.
    const close = (mine: number[], theirs: number[], tolerance: number): void => {
      expect(mine.length).toBe(theirs.length);
      expect(Math.max(...mine.map((value, i) => Math.abs(value - theirs[i]!)))).toBeLessThan(tolerance);
    };
    close(answer.scores, scores, 1e-5);
    close(answer.boxes, boxes.flat(), 1e-2);
  });

  it("without them, the error names the operator, its package and the option", async () => {
    const run = await lenet5(line`inspect ${join(folder, "ssdlite.pt")} --json`, { env });
    expect(lastJson(run)).toMatchObject({
      error: {
        code: "LENET5_SCRIPT_UNSUPPORTED",
        message: expect.stringMatching(
          /received torchvision::\w+, which the Python package torchvision has: load its library with the option operators .*torchvision\/_C\.so.*--operators or LENET5_OPERATORS/,
        ),
      },
    });
  });

  it("come by --operators and by LENET5_OPERATORS too, and the doctor tries them", async () => {
    const file = join(folder, "ssdlite.pt");
    expect(await lenet5(line`inspect ${file} --operators ${library}`, { env })).toMatchObject({ status: 0 });
    const named = { ...env, LENET5_OPERATORS: library };
    expect(await lenet5(line`inspect ${file}`, { env: named })).toMatchObject({ status: 0 });
    const doctor = lastJson(await lenet5(line`doctor --json`, { env: named }));
    expect(doctor.checks).toContainEqual({ name: "operators", status: "ok", found: library });
  });
});
