// Every export gives bytes as well as files, and both are the same.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { exportModelArchive, exportOnnx, exportSafetensors } from "../../lib/index.js";
import { temporaryFolder } from "../cli/lenet5.js";
import { fixtureModel } from "./fixture-model.js";

const EXPORTERS = [
  ["exportOnnx", exportOnnx],
  ["exportSafetensors", exportSafetensors],
  ["exportModelArchive", exportModelArchive],
] as const;

describe.each(EXPORTERS)("%s", (_, exporter) => {
  test("resolves to the bytes that it writes to a file", async () => {
    // An archive holds the time of its making.
    vi.useFakeTimers({ toFake: ["Date"] });
    onTestFinished(() => void vi.useRealTimers());
    const path = join(temporaryFolder(), "model");
    expect(await exporter(fixtureModel(), path)).toBe(undefined);
    const file = await readFile(path);
    for (const bytes of [await exporter(fixtureModel()), await exporter(fixtureModel(), {})]) {
      expect(file.equals(bytes)).toBe(true);
    }
  });

  test("is aborted, and leaves the file that was there", async () => {
    const path = join(temporaryFolder(), "model");
    await exporter(fixtureModel(), path);
    const before = await readFile(path);
    const aborted = { code: "LENET5_ABORTED" };
    await expect(exporter(fixtureModel(), path, { signal: AbortSignal.abort() })).rejects.toMatchObject(aborted);
    await expect(exporter(fixtureModel(), { signal: AbortSignal.abort() })).rejects.toMatchObject(aborted);
    const controller = new AbortController();
    const writing = exporter(fixtureModel(), path, { signal: controller.signal });
    controller.abort();
    await expect(writing).rejects.toMatchObject(aborted);
    expect((await readFile(path)).equals(before)).toBe(true);
  });
});
