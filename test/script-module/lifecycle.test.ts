// Calls under way, waiting, aborted; modules disposed of, moved to threads, and threads that end in the middle of a call.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { ScriptModule, type Tensor, TensorHandle } from "../../lib/index.js";
import { fixture, tensor } from "./expected.js";

const SIZE = 200;
const square: Tensor = { dtype: "float32", shape: [SIZE, SIZE], data: new Float32Array(SIZE * SIZE).fill(0.01) };

async function slow(options = {}): Promise<ScriptModule> {
  return await ScriptModule.load(fixture("slow"), { device: "cpu", ...options });
}

describe("calls", () => {
  test("leave the event loop free", async () => {
    const module = await slow();
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await module.forward(square, 400);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(3);
    module.dispose();
  });

  test("made at once all get their own answer", async () => {
    for (const concurrency of [1, 4]) {
      const mlp = await ScriptModule.load(fixture("values"), { device: "cpu", concurrency });
      const results = await Promise.all(
        Array.from({ length: 200 }, (_, i) => mlp.call("twice", tensor("int32", [1], [i]))),
      );
      expect(results).toEqual(Array.from({ length: 200 }, (_, i) => tensor("int32", [1], [2 * i])));
      mlp.dispose();
    }
  });

  test("on a module with state run one after another", async () => {
    const counter = await ScriptModule.load(fixture("counter"), { device: "cpu" });
    const results = await Promise.all(
      Array.from({ length: 100 }, () => counter.run("forward", [tensor("float32", [1], [1])])),
    );
    expect(results.map((each) => (each as [Tensor, number])[1])).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    expect(((await counter.buffers()).total as Tensor).data[0]).toBe(100);
    counter.dispose();
  });

  test("beyond the queue are refused", async () => {
    const module = await slow({ maxQueue: 2 });
    const calls = [1, 2, 3, 4, 5].map(() => module.forward(square, 50));
    expect(module.queued).toBe(2);
    const settled = await Promise.allSettled(calls);
    expect(settled.map((each) => each.status)).toEqual(["fulfilled", "fulfilled", "fulfilled", "rejected", "rejected"]);
    expect(settled[4]).toMatchObject({ reason: { code: "LENET5_QUEUE_FULL" } });
    module.dispose();
  });

  test("that wait are taken back by their signal, one that runs is not", async () => {
    const module = await slow();
    const controller = new AbortController();
    const running = module.run("forward", [square, 200], { signal: controller.signal });
    const waiting = module.run("forward", [square, 1_000_000_000], { signal: controller.signal });
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ code: "LENET5_ABORTED", name: "AbortError" });
    expect(((await running) as Tensor).shape).toEqual([SIZE, SIZE]);
    const late = module.run("forward", [square, 1], { signal: controller.signal });
    await expect(late).rejects.toMatchObject({ code: "LENET5_ABORTED" });
    module.dispose();
  });
});

describe("dispose", () => {
  test("waits for the running call, refuses waiting and later ones, and may be called twice", async () => {
    const module = await slow();
    const running = module.forward(square, 200);
    const waiting = module.forward(square, 1);
    module.dispose();
    module.dispose();
    expect(module.disposed).toBe(true);
    await expect(waiting).rejects.toMatchObject({ code: "LENET5_DISPOSED" });
    expect(((await running) as Tensor).shape).toEqual([SIZE, SIZE]);
    await expect(module.forward(square, 1)).rejects.toMatchObject({ code: "LENET5_DISPOSED" });
    await expect(module.parameters()).rejects.toMatchObject({ code: "LENET5_DISPOSED" });
    await expect(module.to("cpu")).rejects.toMatchObject({ code: "LENET5_DISPOSED" });
    expect(() => module.inspect()).toThrow(expect.objectContaining({ code: "LENET5_DISPOSED" }));
  });

  test("is what `using` calls", async () => {
    const module = await slow();
    module[Symbol.dispose]();
    expect(module.disposed).toBe(true);
  });
});

describe("results in native memory", () => {
  test("are passed on without leaving it", async () => {
    const mlp = await ScriptModule.load(fixture("mlp"), { device: "cpu" });
    const strided = await ScriptModule.load(fixture("strided"), { device: "cpu" });
    const x = tensor("float32", [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]);
    const transposed = (await strided.run("forward", [x], { keep: true })) as TensorHandle;
    expect(transposed).toMatchObject({ shape: [4, 2], dtype: "float32", device: "cpu", disposed: false });
    const back = (await strided.run("forward", [transposed], { keep: true })) as TensorHandle;
    expect(await back.toTensor()).toEqual(x);
    expect(await mlp.forward(back)).toEqual(await mlp.forward(x));
    expect(await transposed.toTensor()).toEqual(tensor("float32", [4, 2], [1, 5, 2, 6, 3, 7, 4, 8]));
    mlp.dispose();
    strided.dispose();
  });

  test("come whatever the result's structure", async () => {
    const options = await ScriptModule.load(fixture("options"), { device: "cpu" });
    const result = await options.run("forward", [{ a: tensor("float32", [1], [2]) }], { keep: true });
    const handle = (result as Record<string, TensorHandle>).a!;
    expect(await handle.toTensor()).toEqual(tensor("float32", [1, 1], [2]));
    options.dispose();
  });

  test("can be made from a tensor, and go when they are disposed of", async () => {
    const handle = await TensorHandle.from(tensor("int64", [2], [1, 2]));
    expect(await handle.toTensor()).toEqual(tensor("int64", [2], [1, 2]));
    const values = await ScriptModule.load(fixture("values"), { device: "cpu" });
    const made = values.call("twice", handle);
    handle.dispose();
    handle.dispose();
    expect(handle.disposed).toBe(true);
    // The call was made before.
    expect(await made).toEqual(tensor("int64", [2], [2, 4]));
    await expect(handle.toTensor()).rejects.toMatchObject({ code: "LENET5_DISPOSED" });
    await expect(values.call("twice", handle)).rejects.toMatchObject({ code: "LENET5_DISPOSED" });
    await expect(TensorHandle.from({ ...tensor("int64", [2], [1, 2]), shape: [3] })).rejects.toMatchObject({
      code: "LENET5_INVALID_SHAPE",
    });
    values.dispose();
  });
});

describe("loading", () => {
  test("takes a file's contents, and leaves them to the caller", async () => {
    const bytes = await readFile(fixture("mlp"));
    const loading = ScriptModule.load(bytes, { device: "cpu" });
    bytes.fill(0);
    const module = await loading;
    expect(module.inspect().className).toContain("Mlp");
    module.dispose();
  });

  test.each<[string, unknown, object, string]>([
    ["a file that is not there", "no-such-file.pt", {}, "MODEL_NOT_FOUND"],
    ["a folder", packageRoot, {}, "MODEL_NOT_FOUND"],
    ["an empty file", new Uint8Array(0), {}, "MODEL_CORRUPT"],
    ["a file of another kind", Buffer.from("PK but no zip"), {}, "MODEL_CORRUPT"],
    ["no path at all", 5, {}, "INVALID_ARGUMENT"],
    ["a misspelt option", fixture("mlp"), { maxQeue: 1 }, "UNKNOWN_OPTION"],
    ["a queue of -1", fixture("mlp"), { maxQueue: -1 }, "INVALID_OPTION"],
    ["nothing at once", fixture("mlp"), { concurrency: 0 }, "INVALID_OPTION"],
    ["a device that is none", fixture("mlp"), { device: "quantum" }, "INVALID_OPTION"],
  ])("refuses %s", async (_, source, options, code) => {
    await expect(ScriptModule.load(source as string, options)).rejects.toMatchObject({ code: `LENET5_${code}` });
  });

  test("refuses every truncation", async () => {
    const whole = await readFile(fixture("no-forward"));
    for (let length = 0; length < whole.length; length += 97) {
      const load = ScriptModule.load(whole.subarray(0, length), { device: "cpu" });
      await expect(load, `${length} bytes`).rejects.toMatchObject({ code: "LENET5_MODEL_CORRUPT" });
    }
  });

  test("refuses a flipped bit wherever it matters", async () => {
    const whole = await readFile(fixture("no-forward"));
    const x = tensor("float32", [1], [2]);
    let refused = 0;
    for (let position = 0; position < whole.length; position += 53) {
      const damaged = Uint8Array.from(whole);
      damaged[position]! ^= 1 << (position % 8);
      try {
        // Padding between the entries says nothing: a module that loads is the one that was saved.
        const module = await ScriptModule.load(damaged, { device: "cpu" });
        expect(await module.call("twice", x)).toEqual(tensor("float32", [1], [4]));
        module.dispose();
      } catch (error) {
        expect(error, `byte ${position}`).toMatchObject({ code: "LENET5_MODEL_CORRUPT" });
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(10);
  });
});

describe("warmUp", () => {
  test("calls as often as told and keeps nothing", async () => {
    const counter = await ScriptModule.load(fixture("counter"), { device: "cpu" });
    await counter.warmUp([tensor("float32", [1], [1])], { runs: 4 });
    expect(((await counter.forward(tensor("float32", [1], [1]))) as [Tensor, number])[1]).toBe(5);
    await expect(counter.warmUp([], { method: "nope" })).rejects.toMatchObject({
      code: "LENET5_SCRIPT_METHOD_NOT_FOUND",
    });
    counter.dispose();
  });
});

describe("worker_threads", () => {
  const entry = JSON.stringify(join(packageRoot, "dist", "cjs", "lenet5-libtorch.js"));
  const worker = (body: string): Worker =>
    new Worker(
      `const { parentPort } = require("node:worker_threads");
       const { ScriptModule } = require(${entry});
       const x = { dtype: "float32", shape: [${SIZE}, ${SIZE}], data: new Float32Array(${SIZE * SIZE}) };
       (async () => { ${body} })().catch((error) => parentPort.postMessage({ error: String(error) }));`,
      { eval: true },
    );

  test("several load and run at once", async () => {
    const body = `
      const module = await ScriptModule.load(${JSON.stringify(fixture("slow"))}, { device: "cpu" });
      const { shape } = await module.forward(x, 5);
      parentPort.postMessage({ shape });`;
    const workers = [1, 2, 3].map(() => worker(body));
    const messages = await Promise.all(workers.map((each) => once(each, "message")));
    expect(messages).toEqual([1, 2, 3].map(() => [{ shape: [SIZE, SIZE] }]));
    await Promise.all(workers.map((each) => each.terminate()));
  }, 60_000);

  test("one may be terminated in the middle of its calls", async () => {
    const body = `
      const module = await ScriptModule.load(${JSON.stringify(fixture("slow"))}, { device: "cpu" });
      const handle = await module.run("forward", [x, 1], { keep: true });
      for (let i = 0; i < 20; i++) void module.forward(handle, 300);
      parentPort.postMessage("running");
      await module.forward(x, 1);`;
    for (let i = 0; i < 3; i++) {
      const each = worker(body);
      expect(await once(each, "message")).toEqual(["running"]);
      await each.terminate();
    }
    const module = await slow();
    expect(((await module.forward(square, 1)) as Tensor).shape).toEqual([SIZE, SIZE]);
    module.dispose();
  }, 60_000);
});
