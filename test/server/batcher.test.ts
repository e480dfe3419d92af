// The batcher by itself: who shares a pass, who waits, who is refused, and that nobody gets a neighbour's answer.
import { setTimeout as wait } from "node:timers/promises";
import { expect, test } from "vitest";
import { Batcher, type QueueLimits } from "../../lib/server/batcher.js";

interface Input {
  kind: string;
  rows: number;
  value: number;
}

const LIMITS = { maxBatchSize: 4, maxQueueDelayMicroseconds: 0, maxQueueSize: 100, timeoutMilliseconds: 10_000 };

/** A batcher whose passes give each value's double and are written down. */
function doubling(limits: Partial<QueueLimits> = {}, milliseconds?: number) {
  const batches: number[][] = [];
  const observed = { waited: 0, rows: [] as number[] };
  const run = (inputs: readonly Input[]) => {
    batches.push(inputs.map(({ value }) => value));
    if (inputs.some(({ value }) => Number.isNaN(value))) throw new Error("a bad one");
    const doubles = inputs.map(({ value }) => 2 * value);
    return milliseconds === undefined ? doubles : wait(milliseconds, doubles);
  };
  const batcher = new Batcher<Input, number>(
    run,
    { ...LIMITS, ...limits },
    { waited: () => observed.waited++, computed: (rows) => observed.rows.push(rows) },
  );
  const submit = (value: number, { kind = "a", rows = 1, ...options } = {}) =>
    batcher.submit({ kind, rows, value }, options);
  return { batcher, batches, observed, submit };
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "answered",
    (error: { code?: string; message: string }) => error.code ?? error.message,
  );

test("what comes in one turn shares passes up to the largest batch, in order", async () => {
  const { batches, observed, submit } = doubling();
  const answers = await Promise.all([1, 2, 3, 4, 5, 6].map((value) => submit(value)));
  expect(answers).toEqual([2, 4, 6, 8, 10, 12]);
  expect(batches).toEqual([
    [1, 2, 3, 4],
    [5, 6],
  ]);
  expect(observed).toEqual({ waited: 6, rows: [4, 2] });
});

test("other kinds go in passes of their own, and what is too large runs by itself", async () => {
  const { batches, submit } = doubling();
  await Promise.all([
    submit(1),
    submit(2, { kind: "b" }),
    submit(3),
    submit(4, { rows: 9 }),
    submit(5, { kind: "b" }),
    submit(6),
  ]);
  expect(batches).toEqual([[1, 3, 6], [2, 5], [4]]);
});

test("what comes while a pass is under way gathers for the next", async () => {
  const { batches, submit } = doubling({}, 20);
  const first = submit(1);
  await wait(5);
  await Promise.all([first, submit(2), submit(3)]);
  expect(batches).toEqual([[1], [2, 3]]);
});

test("company is waited for, and not once the batch is full", async () => {
  const patient = doubling({ maxQueueDelayMicroseconds: 40_500 });
  const start = performance.now();
  const first = patient.submit(1);
  await wait(5);
  await Promise.all([first, patient.submit(2)]);
  expect(patient.batches).toEqual([[1, 2]]);
  expect(performance.now() - start).toBeGreaterThan(39);
  const very = doubling({ maxQueueDelayMicroseconds: 30_000_000 });
  await Promise.all([1, 2, 3, 4].map((value) => very.submit(value)));
  expect(very.batches).toEqual([[1, 2, 3, 4]]);
});

test("a full queue refuses at once, and takes the next when there is room", async () => {
  const { batcher, submit } = doubling({ maxQueueSize: 2 }, 20);
  const running = submit(1);
  await wait(2);
  const waiting = [submit(2), submit(3)];
  expect(() => submit(4)).toThrowError("at most 2 requests for the model's queue");
  await expect(batcher.submitMade(() => Promise.reject(new Error("not to be made")))).rejects.toThrow("at most 2");
  expect(batcher.queued).toBe(2);
  expect(await Promise.all([running, ...waiting])).toEqual([2, 4, 6]);
  expect(await submit(4)).toBe(8);
});

test("an input in the making has its place, and gives it back when nothing comes of it", async () => {
  const { batcher, submit } = doubling({ maxQueueSize: 1 });
  const bad = batcher.submitMade(async () => {
    await wait(5);
    throw new Error("no image");
  });
  expect(() => submit(1)).toThrowError("at most 1");
  let idle = false;
  const untilIdle = batcher.idle().then(() => {
    idle = true;
  });
  await wait(1);
  expect(idle).toBe(false);
  await expect(bad).rejects.toThrow("no image");
  await untilIdle;
  expect(await batcher.submitMade(async () => ({ kind: "a", rows: 1, value: 3 }))).toBe(6);
});

test("a client that goes while its input is being made holds up nobody who waits for quiet", async () => {
  const { batcher, batches } = doubling();
  const gone = new AbortController();
  const make = () => wait(20, { kind: "a", rows: 1, value: 1 });
  const made = codeOf(batcher.submitMade(make, { signal: gone.signal }));
  const idle = batcher.idle();
  gone.abort();
  expect(await made).toBe("LENET5_ABORTED");
  expect(await Promise.race([idle, wait(100, "busy")])).toBeUndefined();
  expect(batches).toEqual([]);
});

test("a bad request fails by itself; its neighbours are answered", async () => {
  const { batches, submit } = doubling();
  const answers = await Promise.all([submit(1), codeOf(submit(Number.NaN)), submit(3)]);
  expect(answers).toEqual([2, "a bad one", 6]);
  expect(batches).toEqual([[1, Number.NaN, 3], [1], [Number.NaN], [3]]);
});

test("a pass with too few answers answers nobody with a neighbour's", async () => {
  const run = (inputs: readonly Input[]) => (inputs.length === 1 ? [inputs[0]!.value] : [1]);
  const batcher = new Batcher<Input, number>(run, LIMITS, { waited: () => {}, computed: () => {} });
  const answers = [7, 8, 9].map((value) => batcher.submit({ kind: "a", rows: 1, value }));
  expect(await Promise.all(answers)).toEqual([7, 8, 9]);
});

test("a request that waits too long is given up, also while it runs", async () => {
  const { batches, submit } = doubling({ maxBatchSize: 1, timeoutMilliseconds: 30 }, 60);
  const codes = await Promise.all([
    codeOf(submit(1)),
    codeOf(submit(2)),
    codeOf(submit(3, { timeoutMilliseconds: 5 } as object)),
  ]);
  expect(codes).toEqual(Array(3).fill("LENET5_REQUEST_TIMED_OUT"));
  await wait(80);
  expect(batches).toEqual([[1]]);
});

test("a client that goes leaves the queue, and one that has gone does not enter it", async () => {
  const { batcher, batches, submit } = doubling({ maxBatchSize: 1 }, 20);
  const gone = new AbortController();
  const running = submit(1);
  await wait(2);
  const waiting = codeOf(submit(2, { signal: gone.signal } as object));
  const after = submit(3);
  expect(batcher.queued).toBe(2);
  gone.abort();
  expect(batcher.queued).toBe(1);
  expect(await waiting).toBe("LENET5_ABORTED");
  expect(await codeOf(submit(4, { signal: gone.signal } as object))).toBe("LENET5_ABORTED");
  expect(await Promise.all([running, after])).toEqual([2, 6]);
  expect(batches).toEqual([[1], [3]]);
});

test("ten thousand requests, each with its own answer", async () => {
  const { submit, observed } = doubling({ maxBatchSize: 64, maxQueueSize: 10_000 });
  const answers = await Promise.all(
    Array.from({ length: 10_000 }, (_, i) => submit(i, { kind: i % 7 === 0 ? "a" : "b" })),
  );
  expect(answers).toEqual(Array.from({ length: 10_000 }, (_, i) => 2 * i));
  expect(observed.waited).toBe(10_000);
  expect(observed.rows.reduce((sum, rows) => sum + rows)).toBe(10_000);
});
