import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, test, vi } from "vitest";
import { BoundedQueue } from "../lib/queue.js";

/** A task that ends when told to. */
function controlled(): {
  task: () => Promise<string>;
  finish: () => void;
  fail: (error: Error) => void;
  started: () => boolean;
} {
  let finish!: () => void;
  let fail!: (error: Error) => void;
  let started = false;
  const promise = new Promise<string>((resolve, reject) => {
    finish = () => resolve("done");
    fail = reject;
  });
  const task = (): Promise<string> => {
    started = true;
    return promise;
  };
  return { task, finish, fail, started: () => started };
}

describe("BoundedQueue", () => {
  test("runs as many at once as allowed, in order of arrival", async () => {
    const queue = new BoundedQueue({ concurrency: 2, capacity: 10 });
    const tasks = [controlled(), controlled(), controlled(), controlled()];
    const results = tasks.map((each) => queue.run(each.task));
    await nextTurn();
    expect(tasks.map((each) => each.started())).toEqual([true, true, false, false]);
    expect([queue.running, queue.waiting]).toEqual([2, 2]);
    tasks[1]!.finish();
    await results[1];
    await nextTurn();
    expect(tasks.map((each) => each.started())).toEqual([true, true, true, false]);
    for (const each of tasks) each.finish();
    expect(await Promise.all(results)).toEqual(["done", "done", "done", "done"]);
    expect([queue.running, queue.waiting]).toEqual([0, 0]);
  });

  test("a failing task makes room like any other", async () => {
    const queue = new BoundedQueue({ concurrency: 1, capacity: 1 });
    const first = controlled();
    const failing = queue.run(first.task);
    const second = queue.run(() => Promise.resolve(2));
    first.fail(new Error("broken"));
    await expect(failing).rejects.toThrow("broken");
    expect(await second).toBe(2);
  });

  test("refuses what does not fit, and takes more once there is room", async () => {
    const queue = new BoundedQueue({ concurrency: 1, capacity: 1 });
    const first = controlled();
    const running = queue.run(first.task);
    const waiting = queue.run(() => Promise.resolve("second"));
    const onDropped = vi.fn();
    await expect(queue.run(() => Promise.resolve(), { onDropped })).rejects.toMatchObject({
      code: "LENET5_QUEUE_FULL",
    });
    expect(onDropped).toHaveBeenCalledTimes(1);
    first.finish();
    await running;
    expect(await waiting).toBe("second");
    expect(await queue.run(() => Promise.resolve("third"))).toBe("third");
  });

  test("a capacity of 0 lets calls run and none wait", async () => {
    const queue = new BoundedQueue({ concurrency: 1, capacity: 0 });
    const first = controlled();
    const running = queue.run(first.task);
    await expect(queue.run(() => Promise.resolve())).rejects.toMatchObject({ code: "LENET5_QUEUE_FULL" });
    first.finish();
    await running;
  });

  test("an aborted task leaves the queue at once, a running one ends", async () => {
    const queue = new BoundedQueue({ concurrency: 1, capacity: 2 });
    const first = controlled();
    const controller = new AbortController();
    const running = queue.run(first.task, { signal: controller.signal });
    const never = vi.fn(() => Promise.resolve());
    const onDropped = vi.fn();
    const aborted = queue.run(never, { signal: controller.signal, onDropped });
    const last = queue.run(() => Promise.resolve("last"));
    controller.abort("enough");
    await expect(aborted).rejects.toMatchObject({ code: "LENET5_ABORTED", name: "AbortError", cause: "enough" });
    expect(onDropped).toHaveBeenCalledTimes(1);
    expect(queue.waiting).toBe(1);
    first.finish();
    expect(await running).toBe("done");
    expect(await last).toBe("last");
    expect(never).not.toHaveBeenCalled();
    await expect(queue.run(never, { signal: controller.signal })).rejects.toMatchObject({ code: "LENET5_ABORTED" });
  });

  test("once closed it refuses what waits and what comes", async () => {
    const queue = new BoundedQueue({ concurrency: 1, capacity: 5 });
    const first = controlled();
    const running = queue.run(first.task);
    const waiting = [queue.run(() => Promise.resolve()), queue.run(() => Promise.resolve())];
    queue.close(new Error("closed"));
    for (const each of waiting) await expect(each).rejects.toThrow("closed");
    await expect(queue.run(() => Promise.resolve())).rejects.toThrow("closed");
    first.finish();
    expect(await running).toBe("done");
  });

  test("leaves no listener behind on a signal that is used many times", async () => {
    const queue = new BoundedQueue({ concurrency: 1, capacity: 100 });
    const { signal } = new AbortController();
    const added = vi.spyOn(signal, "addEventListener");
    const removed = vi.spyOn(signal, "removeEventListener");
    await Promise.all(Array.from({ length: 50 }, () => queue.run(() => Promise.resolve(), { signal })));
    expect(added).toHaveBeenCalledTimes(49);
    expect(removed).toHaveBeenCalledTimes(49);
  });
});
