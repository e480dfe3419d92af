// runSync and forwardSync: the same answers, bit for bit, the same errors, and never a second call of a module at a time.
import { once } from "node:events";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { ScriptModule, type ScriptModuleOptions, type Tensor, TensorHandle } from "../../lib/index.js";
import { cases, fixture, input, tensor } from "./expected.js";

const opened: ScriptModule[] = [];
async function load(name: string, options: ScriptModuleOptions = {}): Promise<ScriptModule> {
  const module: ScriptModule = await ScriptModule.load(fixture(name), { device: "cpu", ...options });
  opened.push(module);
  return module;
}
afterEach(() => {
  for (const module of opened.splice(0)) module.dispose();
});

const SIZE = 200;
const square: Tensor = { dtype: "float32", shape: [SIZE, SIZE], data: new Float32Array(SIZE * SIZE).fill(0.01) };
const one = tensor("float32", [1], [1]);

describe("answers", () => {
  test.each(["mlp", "residual", "counter", "options", "embedding", "strided", "values", "no-forward", "traced-frozen"])(
    "of %s.pt are those of run, bit for bit",
    async (name) => {
      // One module each: a module may keep state.
      const [waited, blocking] = [await load(name), await load(name)];
      for (const each of cases(name)) {
        const args = each.args.map((arg) => input(arg, each.method === "kind"));
        const keywords = Object.fromEntries(Object.entries(each.keywords ?? {}).map(([key, arg]) => [key, input(arg)]));
        for (const integers of ["number", "bigint"] as const) {
          const wanted = await waited.run(each.method, args, { keywords, integers });
          expect(blocking.runSync(each.method, args, { keywords, integers }), each.method).toEqual(wanted);
        }
      }
    },
  );

  test("of forwardSync are those of forward", async () => {
    const mlp = await load("mlp");
    const x = tensor("float32", [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]);
    expect(mlp.forwardSync(x)).toEqual(await mlp.forward(x));
  });

  test("stay in native memory where asked to, and go into the next call from there", async () => {
    const strided = await load("strided");
    const x = tensor("float32", [2, 2], [1, 2, 3, 4]);
    const turned = strided.runSync("forward", [x], { keep: true }) as TensorHandle;
    expect(turned).toBeInstanceOf(TensorHandle);
    expect(strided.forwardSync(turned)).toEqual(x);
  });

  test("are the caller's own: neither input nor result is shared with the module", async () => {
    const counter = await load("counter");
    const x = tensor("float32", [1], [1]);
    const [first] = counter.runSync("forward", [x]) as [Tensor, number];
    (first.data as Float32Array).fill(100);
    x.data.fill(50);
    expect(((await counter.buffers()).total as Tensor).data[0]).toBe(1);
  });
});

describe("errors", () => {
  test("are thrown, with the same codes and words as run's", async () => {
    const [raises, values] = [await load("raises"), await load("values")];
    const calls: [ScriptModule, string, readonly unknown[]][] = [
      [values, "no_such", []],
      [values, "next_int", ["text"]],
      [values, "next_int", []],
      [values, "next_int", [1, 2]],
      [values, "twice", [{ data: new Float32Array(3), shape: [2], dtype: "float32" }]],
      [values, "twice", [Symbol("no value")]],
      [raises, "forward", [tensor("float32", [5], [1, 2, 3, 4, 5])]],
    ];
    for (const [module, method, args] of calls) {
      const wanted = await module.run(method, args as never).catch((error: unknown) => error as Error & object);
      const { message, code, detail } = wanted as { message: string; code: string; detail?: string };
      expect(code).toMatch(/^LENET5_/);
      expect(() => module.runSync(method, args as never), method).toThrow(
        expect.objectContaining({ message, code, ...(detail === undefined ? {} : { detail }) }),
      );
    }
  });

  test("for options and arguments that are none", async () => {
    const mlp = await load("mlp");
    const sync = mlp.runSync.bind(mlp) as (...args: unknown[]) => unknown;
    for (const [args, code] of [
      [[1, []], "LENET5_INVALID_ARGUMENT"],
      [["forward", one], "LENET5_INVALID_ARGUMENT"],
      [["forward", [one], { keep: 1 }], "LENET5_INVALID_OPTION"],
      [["forward", [one], { keywords: 1 }], "LENET5_INVALID_OPTION"],
      [["forward", [one], { signal: new AbortController().signal }], "LENET5_UNKNOWN_OPTION"],
    ] as const) {
      expect(() => sync(...args)).toThrow(expect.objectContaining({ code }));
    }
  });

  test("leave the module as usable as before", async () => {
    const values = await load("values");
    expect(() => values.runSync("next_int", ["text"])).toThrow();
    expect(values.runSync("next_int", [3])).toBe(4);
    expect(await values.call("next_int", 3)).toBe(4);
  });
});

describe("one call at a time", () => {
  test("a running call is not joined, unless concurrency lets it", async () => {
    const module = await load("slow");
    const running = module.forward(square, 100);
    expect(() => module.forwardSync(square, 1)).toThrow(expect.objectContaining({ code: "LENET5_MODEL_BUSY" }));
    await running;
    expect((module.forwardSync(square, 1) as Tensor).shape).toEqual([SIZE, SIZE]);

    const shared = await load("slow", { concurrency: 2 });
    const other = shared.forward(square, 100);
    expect(shared.forwardSync(square, 1)).toEqual(module.forwardSync(square, 1));
    await other;
  });

  test("a call made while the arguments are read waits, and one more synchronous call is refused", async () => {
    const counter = await load("counter");
    let nested: Promise<unknown> | undefined;
    let refused: unknown;
    const x = {
      get data() {
        nested = counter.run("forward", [one]);
        try {
          counter.forwardSync(one);
        } catch (error) {
          refused = error;
        }
        return Float32Array.of(1);
      },
      shape: [1],
      dtype: "float32" as const,
    };
    const [, count] = counter.runSync("forward", [x]) as [Tensor, number];
    expect(count).toBe(1);
    expect(refused).toMatchObject({ code: "LENET5_MODEL_BUSY" });
    expect(((await nested) as [Tensor, number])[1]).toBe(2);
  });

  test("a disposed module answers nothing, also when its arguments dispose of it", async () => {
    const mlp = await load("mlp");
    const x = {
      get data() {
        mlp.dispose();
        return new Float32Array(4);
      },
      shape: [1, 4],
      dtype: "float32" as const,
    };
    for (let i = 0; i < 2; i++) {
      expect(() => mlp.forwardSync(x)).toThrow(expect.objectContaining({ code: "LENET5_DISPOSED" }));
    }
  });
});

test("several threads call at once, and one that ends in the middle takes nobody along", {
  timeout: 60_000,
}, async () => {
  const source = `
    const { ScriptModule } = require(${JSON.stringify(join(packageRoot, "dist/cjs/lenet5-libtorch.js"))});
    const { parentPort, workerData } = require("node:worker_threads");
    ScriptModule.load(workerData.file, { device: "cpu" }).then((module) => {
      const x = { data: new Float32Array(40000).fill(0.01), shape: [200, 200], dtype: "float32" };
      const answer = () => Array.from(module.forwardSync(x, 3).data.subarray(0, 3));
      parentPort.postMessage(answer());
      if (workerData.endless) for (;;) answer();
      parentPort.postMessage(answer());
      module.dispose();
    });`;
  const start = (endless: boolean) =>
    new Worker(source, { eval: true, workerData: { file: fixture("slow"), endless } });
  const endless = [start(true), start(true)];
  await Promise.all(endless.map((worker) => once(worker, "message")));
  const module = await load("slow");
  const wanted = Array.from((module.forwardSync(square, 3) as Tensor).data.subarray(0, 3) as Float32Array);
  await Promise.all(endless.map((worker) => worker.terminate()));
  const other = start(false);
  const answers: number[][] = [];
  other.on("message", (answer) => answers.push(answer));
  await once(other, "exit");
  expect(answers).toEqual([wanted, wanted]);
  expect(Array.from((module.forwardSync(square, 3) as Tensor).data.subarray(0, 3) as Float32Array)).toEqual(wanted);
});
