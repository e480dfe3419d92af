// Packages that the real PyTorch compiles: they answer as in Python, and refuse what they were not compiled for.
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { packageRoot } from "#package-root";
import type { ScriptInput, Tensor } from "../../lib/index.js";
import { bfloat16ToFloat32, CompiledModule, float16ToFloat32, ScriptModule, TensorHandle } from "../../lib/index.js";
import { lenet5, runNode } from "../cli/lenet5.js";
import { describeWithPython, python } from "../python.js";

type Numbers = { shape: number[]; dtype: string; data: number[] } | { [key: string]: Numbers } | Numbers[] | null;

/** The numbers that generate_compiled.py makes its inputs of. */
function ramp(...shape: number[]): Tensor<"float32"> {
  const count = shape.reduce((product, size) => product * size, 1);
  return { data: Float32Array.from({ length: count }, (_, i) => (i % 17) / 8 - 1), shape, dtype: "float32" };
}

/** A result as Python wrote it down. */
function numbers(value: unknown): unknown {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(numbers);
  if ("data" in value && "dtype" in value) {
    const { data, shape, dtype } = value as Tensor;
    const bits = data as Uint16Array;
    const read = dtype === "float16" ? float16ToFloat32(bits) : dtype === "bfloat16" ? bfloat16ToFloat32(bits) : data;
    return { shape, dtype, data: Array.from(read as ArrayLike<number | bigint>, Number) };
  }
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, numbers(each)]));
}

/** The same tree, each number within one rounding of half precision's last place of single precision's. */
function expectClose(mine: unknown, theirs: unknown): void {
  if (typeof theirs === "number") expect(mine).toBeCloseTo(theirs, 5);
  else if (theirs === null || typeof theirs !== "object") expect(mine).toBe(theirs);
  else {
    expect(Object.keys(mine as object)).toEqual(Object.keys(theirs));
    for (const [key, each] of Object.entries(theirs)) expectClose((mine as Record<string, unknown>)[key], each);
  }
}

const ours = async (): Promise<string[]> =>
  (await readdir(tmpdir())).filter((name) => /^lenet5-(package|libraries)-/.test(name));

describeWithPython(
  "packages of AOTInductor",
  () => {
    let folder: string;
    let answers: Record<string, Numbers>;
    let general: CompiledModule;
    const path = (name: string): string => join(folder, `${name}.pt2`);
    const inputs = (): ScriptInput[] => [ramp(6, 4), null, [ramp(6, 2)]];
    const keywords = { extra: { shift: ramp(3) } };

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "lenet5-compiled-"));
      const program = await readFile(join(packageRoot, "test", "fixtures", "generate_compiled.py"), "utf8");
      answers = await python(program, [folder], { timeout: 280_000 });
      general = await CompiledModule.load(path("general"), { maxQueue: 2 });
    }, 300_000);
    afterAll(async () => {
      general?.dispose();
      await rm(folder, { recursive: true, force: true });
    });

    it("answer as in Python, lists, tuples and dictionaries as they are there", async () => {
      expectClose(numbers(await general.run(inputs(), { keywords })), answers.general);
      expectClose(numbers(general.runSync(inputs(), { keywords })), answers.general);
    });

    it("may keep state, and their weights beside the library", async () => {
      using convolution = await CompiledModule.load(await readFile(path("convolution")));
      for (const wanted of answers.convolution as Numbers[]) {
        expectClose(numbers(await convolution.forward(ramp(2, 3, 64, 64))), wanted);
      }
    });

    it("leave nothing in the folder for temporary files", async () => {
      const before = await ours();
      using convolution = await CompiledModule.load(path("convolution"));
      expect(convolution.device).toBe("cpu");
      expect((await ours()).filter((name) => !before.includes(name))).toEqual([]);
    });

    it("tell what they have", async () => {
      const found = general.inspect();
      expect(found).toMatchObject({ model: "model", device: "cpu", positional: 3, keywords: ["extra"] });
      expect(found.metadata).toMatchObject({ AOTI_DEVICE_KEY: "cpu", author: "generate_compiled.py" });
      const constants = found.constants.map(({ name, shape, dtype }) => ({ name, shape, dtype }));
      expect(constants).toContainEqual({ name: "first.weight", shape: [8, 4], dtype: "float32" });
      found.keywords.push("mine");
      expect(general.inspect().keywords).toEqual(["extra"]);
      expect(await CompiledModule.inspect(path("general"))).toEqual({
        models: [{ name: "model", metadata: found.metadata }],
      });
      const shown = await lenet5(["inspect", path("general"), "--json"]);
      expect(JSON.parse(shown.stdout.trim())).toMatchObject({
        models: [{ name: "model", metadata: { author: "generate_compiled.py" } }],
      });
    });

    it("leave results in native memory, which outlive them", async () => {
      const module = await CompiledModule.load(path("general"));
      const x = await TensorHandle.from(ramp(6, 4));
      const kept = (await module.run([x, null, [ramp(6, 2)]], { keywords, keep: true })) as unknown as {
        scale: TensorHandle;
        pair: [TensorHandle, TensorHandle];
      };
      module.dispose();
      x.dispose();
      expect([...(await kept.scale.toTensor()).data]).toEqual([1, 2, 3]);
      expect((await kept.pair[1].toTensor()).data).toEqual(ramp(6, 4).data);
    });

    it("copy what they are given and what they give", async () => {
      const x = ramp(6, 4);
      const running = general.run([x, null, [ramp(6, 2)]], { keywords });
      x.data.fill(9);
      const first = (await running) as { scale: Tensor<"float32">; pair: Tensor<"float32">[] };
      expect(first.pair[1]!.data).toEqual(ramp(6, 4).data);
      first.scale.data.fill(0);
      expect(numbers(await general.run(inputs(), { keywords }))).toMatchObject({ scale: { data: [1, 2, 3] } });
    });

    const wrong: [what: string, inputs: () => ScriptInput[], keywords: Record<string, ScriptInput>, message: RegExp][] =
      [
        [
          "another size",
          () => [ramp(6, 5), null, [ramp(6, 2)]],
          keywords,
          /for argument 0, but .* at 1, expected 4, received 5/,
        ],
        [
          "a batch too large",
          () => [ramp(65, 4), null, [ramp(65, 2)]],
          keywords,
          /too large at 0, expected <= 64, received 65/,
        ],
        [
          "a batch too small",
          () => [ramp(1, 4), null, [ramp(1, 2)]],
          keywords,
          /too small at 0, expected >= 2, received 1/,
        ],
        ["batches of two sizes", () => [ramp(6, 4), null, [ramp(60, 2)]], keywords, /as the package was made for.* 60/],
        ["nothing in a tensor", () => [ramp(6, 0), null, [ramp(6, 2)]], keywords, /at 1, expected 4, received 0/],
        ["too few dimensions", () => [ramp(6), null, [ramp(6, 2)]], keywords, /as the package was made for/],
        ["too many dimensions", () => [ramp(6, 4, 1), null, [ramp(6, 2)]], keywords, /expected ndim 2 but got 3/],
        [
          "another size by name",
          inputs,
          { extra: { shift: ramp(4) } },
          /argument extra\["shift"\].* expected 3, received 4/,
        ],
        [
          "another dtype",
          () => [{ data: new Float64Array(24), shape: [6, 4], dtype: "float64" }, null, [ramp(6, 2)]],
          keywords,
          /Expected dtype float32 for argument 0.* float64/,
        ],
        ["no tensor at all", () => [], {}, /Expected 3 tensors.* 0/],
        ["a tensor left out", inputs, {}, /Expected 3 tensors.* 2/],
        [
          "a fixed number",
          () => [ramp(6, 4), 2, [ramp(6, 2)]],
          keywords,
          /null for what the package holds fixed, for argument 1 but received 2/,
        ],
        ["one tensor more", () => [ramp(6, 4), ramp(1), [ramp(6, 2)]], keywords, /Expected 3 tensors.* 4/],
        ["one argument more", () => [...inputs(), null], keywords, /at most 3 by place/],
        ["a tensor for a list", () => [ramp(6, 4), null, ramp(6, 2)], keywords, /an array of 1 for argument 2/],
        ["a list for a tensor", () => [[ramp(6, 4)], null, [ramp(6, 2)]], keywords, /for argument 0/],
        [
          "a list too long",
          () => [ramp(6, 4), null, [ramp(6, 2), ramp(6, 2)]],
          keywords,
          /an array of 1 for argument 2/,
        ],
        ["another key", inputs, { extra: { shifts: ramp(3) } }, /the keys "shift" for argument extra/],
        ["another name", inputs, { ...keywords, more: null }, /the names of arguments \("extra"\).*"more"/],
      ];
    it.each(wrong)("refuse %s, and go on", async (_, args, named, message) => {
      const refusal = { code: "LENET5_SCRIPT_ARGUMENTS", message: expect.stringMatching(message) };
      await expect(general.run(args(), { keywords: named })).rejects.toMatchObject(refusal);
      expect(() => general.runSync(args(), { keywords: named })).toThrow(expect.objectContaining(refusal));
      expect(numbers(await general.run(inputs(), { keywords }))).toMatchObject({ scale: { data: [1, 2, 3] } });
    });

    it.each([["0"], [undefined]])(
      "check their inputs whatever the environment says after loading: %s",
      async (setting) => {
        const name = "AOTI_RUNTIME_CHECK_INPUTS";
        for (const sync of [false, true]) {
          using module = await CompiledModule.load(path("general"));
          if (setting === undefined) delete process.env[name];
          else process.env[name] = setting;
          const run = async (): Promise<unknown> => {
            const args: ScriptInput[] = [ramp(6, 4), null, [ramp(60, 2)]];
            return sync ? module.runSync(args, { keywords }) : await module.run(args, { keywords });
          };
          await expect(run()).rejects.toMatchObject({ code: "LENET5_SCRIPT_ARGUMENTS" });
        }
      },
    );

    it("refuse more dimensions than their checks can be trusted with", async () => {
      const args: ScriptInput[] = [ramp(6, 4, 1, 1, 1, 1), null, [ramp(6, 2)]];
      const refusal = { code: "LENET5_INVALID_SHAPE", message: expect.stringMatching(/at most 5 dimensions.* 6$/) };
      await expect(general.run(args, { keywords })).rejects.toMatchObject(refusal);
      expect(() => general.runSync(args, { keywords })).toThrow(expect.objectContaining(refusal));
    });

    it("take a kept tensor with other strides as the one that it shows", async () => {
      const file = join(folder, "transpose.pt");
      const program = `
import sys, torch
class Transpose(torch.nn.Module):
    def forward(self, x):
        return x.t()
torch.jit.trace(Transpose(), torch.zeros(4, 6)).save(sys.argv[1])
print("null")`;
      await python(program, [file]);
      using transpose = await ScriptModule.load(file);
      using kept = (await transpose.run("forward", [ramp(4, 6)], { keep: true })) as unknown as TensorHandle;
      const shown = (await kept.toTensor()) as Tensor;
      const wanted = await general.run([shown, null, [ramp(6, 2)]], { keywords });
      expect(await general.run([kept, null, [ramp(6, 2)]], { keywords })).toEqual(wanted);
      expect(general.runSync([kept, null, [ramp(6, 2)]], { keywords })).toEqual(wanted);
    });

    it("are refused where they do not compare the number of dimensions", async () => {
      await expect(CompiledModule.load(path("unasserted"))).rejects.toMatchObject({
        code: "LENET5_SCRIPT_UNSUPPORTED",
        message: expect.stringMatching(/does not check how many dimensions its inputs have: .*size_asserts on/),
      });
    });

    it("refuse fewer dimensions than they were made for, whatever lies behind the sizes that there are", async () => {
      using six = await CompiledModule.load(path("six"));
      // Behind five sizes lie the strides, the first of which is a size that the last dimension may have.
      for (const shape of [[2, 3, 2, 3, 2], [2, 3, 2, 3], [2], []]) {
        const refusal = { code: "LENET5_SCRIPT_ARGUMENTS" };
        await expect(six.run([ramp(...shape)])).rejects.toMatchObject(refusal);
      }
    });

    it("take a kept tensor with the bit for negative values as the values that it shows", async () => {
      const file = join(folder, "negative.pt");
      const made = `
import sys, torch
class Negative(torch.nn.Module):
    def forward(self, x):
        return torch._neg_view(x)
torch.jit.trace(Negative(), torch.zeros(6, 4)).save(sys.argv[1])
print("null")`;
      await python(made, [file]);
      using negative = await ScriptModule.load(file);
      using kept = (await negative.run("forward", [ramp(6, 4)], { keep: true })) as unknown as TensorHandle;
      const shown = (await kept.toTensor()) as Tensor<"float32">;
      expect(shown.data).toEqual(ramp(6, 4).data.map((each) => -each));
      const wanted = await general.run([shown, null, [ramp(6, 2)]], { keywords });
      expect(await general.run([kept, null, [ramp(6, 2)]], { keywords })).toEqual(wanted);
      expect(general.runSync([kept, null, [ramp(6, 2)]], { keywords })).toEqual(wanted);
    });

    it("give back the memory of inputs that they refuse", async () => {
      const large = ramp(1_000_000, 4);
      const refused = (): Promise<unknown> => general.run([large, null, [ramp(6, 2)]], { keywords }).catch(() => {});
      for (let i = 0; i < 5; i++) await refused();
      const before = process.memoryUsage().rss;
      for (let i = 0; i < 60; i++) await refused();
      // 960 MB went in. The allocator keeps some for each thread of the pool, a different share each time.
      expect((process.memoryUsage().rss - before) / 1e6).toBeLessThan(400);
    });

    it("queue as script modules do", async () => {
      const module = await CompiledModule.load(path("general"), { maxQueue: 1 });
      const controller = new AbortController();
      const first = module.run(inputs(), { keywords });
      const second = module.run(inputs(), { keywords, signal: controller.signal });
      expect(module.queued).toBe(1);
      await expect(module.run(inputs(), { keywords })).rejects.toMatchObject({ code: "LENET5_QUEUE_FULL" });
      expect(() => module.runSync(inputs(), { keywords })).toThrow(
        expect.objectContaining({ code: "LENET5_MODEL_BUSY" }),
      );
      controller.abort();
      await expect(second).rejects.toMatchObject({ code: "LENET5_ABORTED" });
      module.dispose();
      module.dispose();
      expectClose(numbers(await first), answers.general);
      expect(module.disposed).toBe(true);
      await expect(module.run(inputs(), { keywords })).rejects.toMatchObject({ code: "LENET5_DISPOSED" });
      expect(() => module.inspect()).toThrow(expect.objectContaining({ code: "LENET5_DISPOSED" }));
    });

    it("run several calls at once", async () => {
      using module = await CompiledModule.load(path("general"), { concurrency: 3 });
      const all = await Promise.all(Array.from({ length: 12 }, () => module.run(inputs(), { keywords })));
      for (const each of all) expectClose(numbers(each), answers.general);
    });

    it("are refused for a device or a model that they do not have", async () => {
      const device = expect.stringMatching(/\(cpu\).*"cuda"|a device that is here \(cpu\)/);
      await expect(CompiledModule.load(path("general"), { device: "cuda" })).rejects.toMatchObject({
        code: "LENET5_DEVICE_UNAVAILABLE",
        message: device,
      });
      await expect(CompiledModule.load(path("general"), { model: "other" })).rejects.toMatchObject({
        code: "LENET5_INVALID_OPTION",
        message: expect.stringContaining('("model")'),
      });
    });

    it("are refused where a bit or a half is missing", async () => {
      const whole = await readFile(path("general"));
      const before = await ours();
      const code = "LENET5_MODEL_CORRUPT";
      await expect(CompiledModule.load(whole.subarray(0, whole.length >> 1))).rejects.toMatchObject({ code });
      const damaged = join(folder, "damaged.pt2");
      const flipped = Buffer.from(whole);
      flipped[whole.length >> 1]! ^= 1;
      await writeFile(damaged, flipped);
      await expect(CompiledModule.load(damaged)).rejects.toMatchObject({ code });
      await expect(CompiledModule.load(flipped)).rejects.toMatchObject({ code });
      expect((await ours()).filter((name) => !before.includes(name))).toEqual([]);
      expect(existsSync(damaged)).toBe(true);
    });

    it("keep their files as long as they are open where they have kernels, and no longer", async () => {
      const before = await ours();
      const added = async (): Promise<string[]> => (await ours()).filter((name) => !before.includes(name));
      const file = join(folder, "kernels.pt2");
      const program = `
import shutil, sys, zipfile
shutil.copy(sys.argv[1], sys.argv[2])
with zipfile.ZipFile(sys.argv[2], "a") as archive:
    top = archive.namelist()[0].split("/")[0]
    archive.writestr(top + "/data/aotinductor/model/kernel.cubin", "a kernel")
print("null")`;
      await python(program, [path("general"), file]);
      const module = await CompiledModule.load(file);
      const [kept] = await added();
      expect(await readFile(join(tmpdir(), kept!, "data/aotinductor/model/kernel.cubin"), "utf8")).toBe("a kernel");
      module.dispose();
      expect(await added()).toEqual([]);
      const script = `
        const { CompiledModule } = require(process.argv[1]);
        const { readdirSync } = require("node:fs");
        CompiledModule.load(process.argv[2]).then(() => console.log(readdirSync(require("node:os").tmpdir()).join()));`;
      const main = join(packageRoot, "dist", "cjs", "lenet5-libtorch.js");
      const { status, stdout } = await runNode(["--eval", script, main, file]);
      expect(status).toBe(0);
      expect(stdout).toContain("lenet5-package-");
      expect(await added()).toEqual([]);
    });

    it("say what else it is", async () => {
      await expect(CompiledModule.load(path("exported"))).rejects.toMatchObject({
        code: "LENET5_MODEL_CORRUPT",
        message: expect.stringContaining("aoti_compile_and_package"),
      });
      await expect(ScriptModule.load(path("general"))).rejects.toMatchObject({
        code: "LENET5_MODEL_CORRUPT",
        message: expect.stringContaining("CompiledModule.load"),
      });
    });
  },
  60_000,
);
