// A signal takes back every call that may take a while: before it, and in its middle.
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { contactSheet, decodeDigits, LeNet5, ScriptModule } from "../../lib/index.js";
import { temporaryFolder } from "../cli/lenet5.js";
import { stripedImages } from "./striped-images.js";

// Enough images for the slow engine to be still at them when the signal fires.
const { images, labels } = stripedImages(4000);
const model = new LeNet5({ seed: 3, engine: "libtorch", device: "cpu" });
const mlp = await ScriptModule.load(join(packageRoot, "test/fixtures/script-modules/mlp.pt"), { device: "cpu" });
const x = { data: new Float32Array(8), shape: [2, 4], dtype: "float32" } as const;
const png = await sharp(Buffer.from(images.subarray(0, 784)), { raw: { width: 28, height: 28, channels: 1 } })
  .png()
  .toBuffer();
const sheet = {
  images: images.slice(0, 784 * 2000),
  labels: Int32Array.from(labels.subarray(0, 2000)),
  count: 2000,
  height: 28,
  width: 28,
  classNames: [..."0123456789"],
} as const;
afterAll(() => {
  model.dispose();
  mlp.dispose();
});

/** Makes a call that has to wait for others. */
async function busy<T>(call: () => Promise<T>): Promise<T> {
  const others = [mlp.warmUp([x], { runs: 300 })];
  try {
    return await call();
  } finally {
    await Promise.all(others);
  }
}

interface WithSignal {
  signal: AbortSignal;
}
const CALLS: [name: string, call: (options: WithSignal) => Promise<unknown>][] = [
  ["predict, of pixels", (options) => model.predict(images, options)],
  ["predict, of files", (options) => model.predict(new Array(50).fill(png), options)],
  ["forward", (options) => model.forward(images, options)],
  ["evaluate", (options) => model.evaluate({ images, labels }, options)],
  ["gradients", (options) => model.gradients(images, labels, options)],
  ["toTorchScript", (options) => model.toTorchScript(options)],
  ["decodeDigits", (options) => decodeDigits(new Array(50).fill(png), options)],
  ["contactSheet", (options) => contactSheet(sheet as never, options)],
  ["ScriptModule.to", (options) => busy(() => mlp.to("cpu", options))],
  ["ScriptModule.parameters", (options) => busy(() => mlp.parameters(options))],
  ["ScriptModule.warmUp", (options) => mlp.warmUp([x], { runs: 100, ...options })],
];

describe.each(CALLS)("%s", (_, call) => {
  test("rejects at once where the signal has fired", async () => {
    const reason = new Error("no longer wanted");
    const error = await call({ signal: AbortSignal.abort(reason) }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "LENET5_ABORTED", name: "AbortError", cause: reason });
  });

  test("rejects when the signal fires, and the object can be used again", async () => {
    const controller = new AbortController();
    const running = call({ signal: controller.signal });
    setImmediate(() => controller.abort());
    await expect(running).rejects.toMatchObject({ code: "LENET5_ABORTED" });
    expect((await model.predict(images.subarray(0, 784))).count).toBe(1);
    expect(await mlp.forward(x)).toMatchObject({ shape: [2, 3] });
  });

  test("takes no notice of a signal that does not fire", async () => {
    await call({ signal: new AbortController().signal });
  });

  test("refuses what is no signal", async () => {
    await expect(call({ signal: {} as AbortSignal })).rejects.toMatchObject({ code: "LENET5_INVALID_OPTION" });
  });
});

test("save leaves the file that was there", async () => {
  const path = join(temporaryFolder(), "lenet5.pt");
  await model.save(path);
  const before = await readFile(path);
  for (const delay of [0, 5, 20]) {
    const controller = new AbortController();
    const saving = model.save(path, { signal: controller.signal }).catch((error: unknown) => error);
    setTimeout(() => controller.abort(), delay);
    const error = await saving;
    if (error !== undefined) expect(error).toMatchObject({ code: "LENET5_ABORTED" });
    expect((await readFile(path)).length).toBe(before.length);
  }
  await expect(model.save(path, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "LENET5_ABORTED" });
  expect((await readFile(path)).equals(before)).toBe(true);
});

test("save into a pipe that nobody reads is taken back", async () => {
  const pipe = join(temporaryFolder(), "pipe");
  expect(spawnSync("mkfifo", [pipe]).status).toBe(0);
  const saving = model.save(pipe, { signal: AbortSignal.timeout(200) });
  await expect(saving).rejects.toMatchObject({ code: "LENET5_ABORTED" });
});
