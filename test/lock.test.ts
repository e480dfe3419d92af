import { createHash } from "node:crypto";
import { existsSync, mkdirSync, rmdirSync, rmSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test, vi } from "vitest";
import { packageRoot } from "#package-root";
import { IDX_FILES } from "../lib/data/idx.js";
import { idx } from "../lib/index.js";
import { withLock } from "../lib/lock.js";
import { runNode, temporaryFolder } from "./cli/lenet5.js";
import { honest, Mirror } from "./data/mirror.js";

const BUSY = { code: "LENET5_FILE_BUSY", message: expect.stringMatching(/^Expected .+ for .+ but received .+/) };

/** A lock with work under it that only its signal ends; resolves when the work has begun. */
function hold(target: string, signal?: AbortSignal): Promise<{ ended: Promise<never> }> {
  return new Promise((begun) => {
    const ended = withLock(target, { signal }, (told) => {
      queueMicrotask(() => begun({ ended }));
      return new Promise<never>((_, reject) => told.addEventListener("abort", () => reject(new Error("told"))));
    });
    ended.catch(() => {});
  });
}

test("a lock that is held is refused, or waited for", async () => {
  const target = join(temporaryFolder(), "thing");
  const order: string[] = [];
  let finish = () => {};
  let first: Promise<void> = Promise.resolve();
  await new Promise<void>((begun) => {
    first = withLock(target, {}, async () => {
      begun();
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      order.push("first");
    });
  });
  await expect(withLock(target, {}, async () => {})).rejects.toMatchObject(BUSY);
  const second = withLock(target, { wait: true, onWait: () => finish() }, async () => order.push("second"));
  await Promise.all([first, second]);
  expect(order).toEqual(["first", "second"]);
  expect(existsSync(`${target}.lock`)).toBe(false);
});

test("waiting for the dead takes over what a killed process left, and refuses what a living one holds", async () => {
  const target = join(temporaryFolder(), "thing");
  const { ended } = await hold(target);
  let told = 0;
  const waiting = withLock(target, { wait: "for-the-dead", onWait: () => told++ }, async () => {});
  await expect(waiting).rejects.toMatchObject(BUSY);
  expect(told).toBe(1);
  rmdirSync(`${target}.lock`);
  await expect(ended).rejects.toMatchObject(BUSY);

  // A dead one's: nobody refreshes it, and it gets old.
  mkdirSync(`${target}.lock`);
  const taken = withLock(target, { wait: "for-the-dead" }, async () => "taken");
  setTimeout(() => utimesSync(`${target}.lock`, new Date(0), new Date(0)), 300);
  expect(await taken).toBe("taken");
});

test("where this process stood still, whether it holds the lock is certain once a lost one would have been seen", async () => {
  const target = join(temporaryFolder(), "thing");
  const now = Date.now;
  let jump = 0;
  vi.spyOn(Date, "now").mockImplementation(() => now() + jump);
  onTestFinished(() => void vi.restoreAllMocks());
  let written = "";
  const work = withLock(target, {}, async (_, certain) => {
    const begin = performance.now();
    await certain();
    expect(performance.now() - begin).toBeLessThan(1000);
    // It was stopped for a minute; nobody took the lock.
    jump += 60_000;
    await certain();
    written += "a";
    // Once more, and somebody did.
    jump += 60_000;
    rmdirSync(`${target}.lock`);
    mkdirSync(`${target}.lock`);
    await certain();
    written += "b";
  });
  await expect(work).rejects.toMatchObject(BUSY);
  expect(written).toBe("a");
  expect(existsSync(`${target}.lock`)).toBe(true);
});

test("a signal ends the waiting, and the work", async () => {
  const target = join(temporaryFolder(), "thing");
  const controller = new AbortController();
  const { ended } = await hold(target, controller.signal);
  const waiting = withLock(target, { wait: true, signal: controller.signal }, async () => {});
  controller.abort();
  const outcomes = await Promise.allSettled([ended, waiting]);
  expect(outcomes).toEqual(
    [1, 2].map(() => ({ status: "rejected", reason: expect.objectContaining({ code: "LENET5_ABORTED" }) })),
  );
  expect(existsSync(`${target}.lock`)).toBe(false);
});

test("a lock that somebody removes ends the work with an error", async () => {
  const target = join(temporaryFolder(), "thing");
  const { ended } = await hold(target);
  rmdirSync(`${target}.lock`);
  await expect(ended).rejects.toMatchObject(BUSY);
});

test("a lock that somebody else has taken over ends the work and stays", async () => {
  const target = join(temporaryFolder(), "thing");
  const { ended } = await hold(target);
  rmdirSync(`${target}.lock`);
  mkdirSync(`${target}.lock`);
  utimesSync(`${target}.lock`, new Date(), new Date(Date.now() + 5_000));
  await expect(ended).rejects.toMatchObject(BUSY);
  expect(existsSync(`${target}.lock`)).toBe(true);
});

test("a process whose cache is emptied during a download lives, and fetches again", async () => {
  const cache = temporaryFolder();
  const contents = {
    trainImages: idx.encode({ data: new Uint8Array(20 * 784), shape: [20, 28, 28] }),
    trainLabels: idx.encode({ data: new Uint8Array(20), shape: [20] }),
    testImages: idx.encode({ data: new Uint8Array(10 * 784), shape: [10, 28, 28] }),
    testLabels: idx.encode({ data: new Uint8Array(10), shape: [10] }),
  };
  const keys = Object.keys(IDX_FILES) as (keyof typeof IDX_FILES)[];
  const files = new Map(keys.map((key) => [`${IDX_FILES[key]}.gz`, gzipSync(contents[key])]));
  // The first answer begins, and goes no further until somebody has removed the whole cache below it.
  const mirror = await Mirror.start(files, (_, response, file) => {
    mirror.manner = honest;
    response.writeHead(200, { "content-length": file.length }).write(file.subarray(0, 10));
    setTimeout(() => rmSync(cache, { recursive: true }), 200);
  });
  const descriptor = {
    name: "blank",
    folders: ["blank"],
    classNames: ["0"],
    mirrors: [mirror.url],
    mirrorsVariable: "LENET5_BLANK_MIRRORS",
    files: Object.fromEntries(
      keys.map((key) => [
        key,
        { bytes: contents[key].length, md5: createHash("md5").update(contents[key]).digest("hex") },
      ]),
    ),
  };
  const module = pathToFileURL(join(packageRoot, "build", "esm", "data", "named-dataset.js")).href;
  const script = `import(process.argv[1])
    .then(({ namedDataset }) => namedDataset(JSON.parse(process.argv[2])).load({ cache: process.argv[3] }))
    .then(({ train }) => console.log("loaded", train.count), (error) => console.log(error.code, error.message));`;
  const run = await runNode(["--eval", script, module, JSON.stringify(descriptor), cache], {
    env: { LENET5_DATA_DIR: undefined },
  });
  expect(run).toMatchObject({ status: 0, signal: null, stdout: "loaded 20\n" });
});
