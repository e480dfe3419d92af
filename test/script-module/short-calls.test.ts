// Awaited calls that are short: made by the calling thread, with the same values and errors, and never in the way of the
// event loop for long.
import { pbkdf2 as pbkdf2WithCallback } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { promisify } from "node:util";
import { afterEach, describe, expect, test } from "vitest";
import { ScriptModule, type ScriptModuleOptions, type Tensor } from "../../lib/index.js";
import { holdingUpLoop } from "../../lib/script-module/loop-time.js";
import { fixture, tensor } from "./expected.js";

const pbkdf2 = promisify(pbkdf2WithCallback);

const opened: ScriptModule[] = [];
async function load(name: string, options: ScriptModuleOptions = {}): Promise<ScriptModule> {
  const module: ScriptModule = await ScriptModule.load(fixture(name), { device: "cpu", ...options });
  opened.push(module);
  return module;
}
afterEach(() => {
  for (const module of opened.splice(0)) module.dispose();
});

/** Whether a call settles before the event loop has its turn. Adds to what holds it up. */
async function settlesAtOnce(call: () => Promise<unknown>): Promise<boolean> {
  let settled = false;
  const promise = call().finally(() => {
    settled = true;
  });
  for (let i = 0; i < 20; i++) await Promise.resolve();
  const atOnce = settled;
  await promise;
  return atOnce;
}

/** Calls until one settles at once; how many that took, or undefined where none of so many did. */
async function callsUntilShort(call: () => Promise<unknown>, most = 2000): Promise<number | undefined> {
  for (let i = 0; i < most; i++) {
    if (await settlesAtOnce(call)) return i;
  }
  return undefined;
}

const x = tensor("float32", [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]);

describe("short calls", () => {
  test("settle without the event loop, once those before them were short", async () => {
    const mlp = await load("mlp");
    expect(await callsUntilShort(() => mlp.forward(x))).toBeGreaterThanOrEqual(8);
    expect(await mlp.forward(x)).toEqual(mlp.forwardSync(x));
    // Nothing is known of another shape.
    expect(await settlesAtOnce(() => mlp.forward(tensor("float32", [1, 4], [1, 2, 3, 4])))).toBe(false);
  });

  test("that follow one another leave the event loop its turn", async () => {
    const mlp = await load("mlp");
    expect(await callsUntilShort(() => mlp.forward(x))).toBeDefined();
    for (let round = 0; round < 5; round++) {
      let fired = false;
      setTimeout(() => {
        fired = true;
      }, 1);
      // A million calls take half a minute; without its turn the timer never fires.
      let calls = 0;
      while (!fired && calls < 1_000_000) {
        await mlp.forward(x);
        calls++;
      }
      expect(fired).toBe(true);
    }
  });

  test("wait for the loop's turn once it was held up for a millisecond", async () => {
    const mlp = await load("mlp");
    for (let round = 0; round < 20; round++) {
      expect(await callsUntilShort(() => mlp.forward(x))).toBeDefined();
      holdingUpLoop(() => {
        for (const end = performance.now() + 1.1; performance.now() < end; );
      });
      expect(await settlesAtOnce(() => mlp.forward(x))).toBe(false);
    }
  });

  test("that wait for the loop's turn are made although the module is disposed of meanwhile, and end then", async () => {
    for (const calls of [0, 200]) {
      const mlp = await load("mlp");
      const expected = mlp.forwardSync(x);
      for (let i = 0; i < calls; i++) await mlp.forward(x);
      holdingUpLoop(() => {
        for (const end = performance.now() + 1.1; performance.now() < end; );
      });
      const call = mlp.forward(x);
      mlp.dispose();
      mlp.dispose();
      await expect(mlp.forward(x)).rejects.toMatchObject({ code: "LENET5_DISPOSED" });
      expect(await call).toEqual(expected);
      expect(() => mlp.forwardSync(x)).toThrow(expect.objectContaining({ code: "LENET5_DISPOSED" }));
    }
  });

  test("that wait for the loop's turn keep out of the way of those that have begun meanwhile", async () => {
    const mlp = await load("mlp", { concurrency: 2 });
    for (let i = 0; i < 50; i++) await mlp.forward(x);
    expect(await callsUntilShort(() => mlp.forward(x))).toBeDefined();
    // Every thread of the pool is busy, so that what goes there takes its time.
    const busy = Array.from({ length: 8 }, () => pbkdf2("a", "b", 200_000, 64, "sha512"));
    holdingUpLoop(() => {
      for (const end = performance.now() + 1.1; performance.now() < end; );
    });
    let settled = false;
    const call = mlp.forward(x).finally(() => {
      settled = true;
    });
    const parameters = mlp.parameters();
    for (let i = 0; i < 5; i++) await turn();
    expect(settled).toBe(false);
    expect(await call).toEqual(mlp.forwardSync(x));
    await Promise.all([parameters, ...busy]);
  });

  test("come after those that run and those that wait", async () => {
    const counter = await load("counter");
    const one = tensor("float32", [1], [1]);
    expect(await callsUntilShort(() => counter.forward(one))).toBeDefined();
    const before = ((await counter.forward(one)) as [Tensor, number])[1];
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 300 }, async (_, i) => {
        if (i % 50 === 0) await turn();
        order.push(((await counter.forward(one)) as [Tensor, number])[1] - before);
      }),
    );
    expect(order).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
  });

  test("reject with the errors of others, and throw none", async () => {
    const mlp = await load("mlp");
    expect(await callsUntilShort(() => mlp.forward(x))).toBeDefined();
    const wrong = tensor("float32", [2, 3], [1, 2, 3, 4, 5, 6]);
    const errors = new Set<unknown>();
    for (let i = 0; i < 100; i++) {
      const promise = mlp.forward(wrong);
      errors.add(
        await promise.then(
          () => "no error",
          ({ code }) => code,
        ),
      );
    }
    expect([...errors]).toEqual(["LENET5_SCRIPT_RAISED"]);
    expect(await mlp.forward(x)).toEqual(mlp.forwardSync(x));
    mlp.dispose();
    await expect(mlp.forward(x)).rejects.toMatchObject({ code: "LENET5_DISPOSED" });
  });

  test("wait for calls that are made while their arguments are read", async () => {
    const mlp = await load("mlp");
    const inner: Promise<unknown>[] = [];
    const outer = mlp.forward({
      ...x,
      get data() {
        inner.push(mlp.forward(tensor("float32", [1, 4], [1, 2, 3, 4])));
        return x.data;
      },
    });
    expect(await outer).toEqual(mlp.forwardSync(x));
    expect(await Promise.all(inner)).not.toHaveLength(0);
  });

  test("are taken back by a signal that has fired already", async () => {
    const mlp = await load("mlp");
    expect(await callsUntilShort(() => mlp.forward(x))).toBeDefined();
    const call = mlp.run("forward", [x], { signal: AbortSignal.abort() });
    await expect(call).rejects.toMatchObject({ code: "LENET5_ABORTED" });
  });
});

describe("calls that are not short", () => {
  test("go to another thread, whatever those of other arguments took", async () => {
    const slow = await load("slow");
    const small = { dtype: "float32", shape: [2, 2], data: new Float32Array(4) } as const;
    const square = { dtype: "float32", shape: [200, 200], data: new Float32Array(40_000).fill(0.01) } as const;
    expect(await callsUntilShort(() => slow.forward(small, 1))).toBeDefined();
    for (let i = 0; i < 20; i++) {
      expect(await settlesAtOnce(() => slow.forward(square, 10))).toBe(false);
      await slow.forward(small, 1);
    }
    expect(await settlesAtOnce(() => slow.forward(small, 400))).toBe(false);
  });
});

describe("results of every size", () => {
  test("are each one's own, also when their memory was another's before", async () => {
    const slow = await load("slow");
    const results: { value: number; data: ArrayLike<number | bigint> }[] = [];
    for (let round = 0; round < 6; round++) {
      for (const size of [3, 31, 32, 33, 64, 100, 181, 182, 200]) {
        const value = round + size / 1000;
        const data = new Float32Array(size * size).fill(value);
        const answer = (await slow.forward({ dtype: "float32", shape: [size, size], data }, 0)) as Tensor;
        results.push({ value: Math.fround(value), data: answer.data });
      }
      // Half of them go.
      results.splice(0, results.length >> 1);
    }
    for (const { value, data } of results) expect(new Set(Array.from(data as Float32Array))).toEqual(new Set([value]));
  });
});
