// Loading from a file: what is large is read once, straight into its place, and checked there.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkTorchScriptArchive } from "../../lib/formats/torchscript-archive.js";
import { checkZip } from "../../lib/formats/zip-check.js";
import { zipInFile } from "../../lib/formats/zip-source.js";
import { LeNet5, ScriptModule } from "../../lib/index.js";
import { libtorch } from "../../lib/native.js";
import { FOLDER, fixture, tensor } from "./expected.js";

let folder: string;
/** An archive with a tensor of 192 KB, larger than what is read with its surroundings. */
let path: string;
let bytes: Uint8Array;
let large: { start: number; storedBytes: number };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "lenet5-loading-"));
  path = join(folder, "model.pt");
  using model = new LeNet5({ seed: 5, device: "cpu" });
  bytes = await model.toTorchScript();
  writeFileSync(path, bytes);
  const entries = await checkZip(bytes, { what: "an archive", where: path, maxInflatedBytes: 1e8 });
  large = entries.find(({ storedBytes }) => storedBytes >= 64 * 1024)!;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const image = tensor(
  "float32",
  [1, 1, 28, 28],
  Array.from({ length: 784 }, (_, i) => (i % 17) / 17),
);

async function damaged(name: string, change: (copy: Uint8Array) => Uint8Array | undefined): Promise<unknown> {
  const file = join(folder, name);
  const copy = Uint8Array.from(bytes);
  writeFileSync(file, change(copy) ?? copy);
  return ScriptModule.load(file, { device: "cpu" }).catch((error: unknown) => error);
}

test("a path, a URL and bytes give the same module", async () => {
  const modules = await Promise.all(
    [path, pathToFileURL(path), bytes].map((source) => ScriptModule.load(source, { device: "cpu" })),
  );
  const [first, ...others] = await Promise.all(modules.map((module) => module.forward(image)));
  for (const other of others) expect(other).toEqual(first);
  expect([...modules[0]!.extraFiles]).toEqual([...modules[2]!.extraFiles]);
  for (const module of modules) module.dispose();
});

test("damage in a large tensor is found as it is read, and everywhere else before", async () => {
  expect(large).toBeDefined();
  const inTensor = await damaged("tensor.pt", (copy) => {
    copy[large.start + large.storedBytes - 1]! ^= 1;
    return undefined;
  });
  expect(inTensor).toMatchObject({
    code: "LENET5_MODEL_CORRUPT",
    message: expect.stringMatching(/^Expected .* checksum/),
  });
  expect(isCorrupt(await damaged("cut.pt", (copy) => copy.subarray(0, large.start + 1000)))).toBe(true);
});

function isCorrupt(error: unknown): boolean {
  return (error as { code?: unknown }).code === "LENET5_MODEL_CORRUPT";
}

test("a file that changes between check and reading is a damaged one, and ends no process", async () => {
  const load = async (change: (file: string) => void): Promise<unknown> => {
    const file = join(folder, "changing.pt");
    writeFileSync(file, bytes);
    await using handle = await open(file);
    const zip = zipInFile(handle, bytes.length);
    const { left } = await checkTorchScriptArchive(zip, { leaveFrom: 64 * 1024 });
    expect(left.length).toBeGreaterThan(0);
    change(file);
    const archive = {
      size: zip.size,
      parts: zip.held.flatMap(({ offset, bytes: part }) => [offset, part]),
      path: file,
      records: left.flatMap(({ start, storedBytes, crc32 }) => [start, storedBytes, crc32]),
      withoutRecords: false,
    };
    return libtorch("the test")
      .ScriptModule.load(archive, "cpu", file)
      .then(
        () => "loaded",
        (error: { code: string; message: string }) => error.message,
      );
  };
  expect(await load(() => {})).toBe("loaded");
  expect(await load((file) => truncateSync(file, large.start + 10))).toMatch(/became shorter while it was read/);
  expect(await load((file) => rmSync(file))).toMatch(/became shorter while it was read/);
  expect(await load((file) => writeFileSync(file, new Uint8Array(bytes.length)))).toMatch(/checksum .* does not match/);
  if (process.platform !== "win32") {
    const pipe = (file: string): void => {
      rmSync(file);
      spawnSync("mkfifo", [file]);
    };
    expect(await load(pipe)).toMatch(/became shorter while it was read/);
  }
});

test("leaves no file open", async () => {
  const before = openFiles();
  for (let i = 0; i < 20; i++) (await ScriptModule.load(path, { device: "cpu" })).dispose();
  await damaged("tensor.pt", (copy) => copy.fill(0, large.start, large.start + 10));
  expect(openFiles()).toBeLessThanOrEqual(before + 2);
});

function openFiles(): number {
  return process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0;
}

test("ScriptModule.inspect tells what inspect of the loaded module does", async () => {
  const files = readdirSync(FOLDER).filter((name) => name.endsWith(".pt"));
  for (const name of [...files.map((file) => fixture(file.slice(0, -3))), path]) {
    using module = await ScriptModule.load(name, { device: "cpu" });
    const looked = await ScriptModule.inspect(name);
    const sorted = (inspection: typeof looked): unknown => ({
      ...inspection,
      extraFiles: inspection.extraFiles.toSorted((a, b) => a.name.localeCompare(b.name)),
    });
    expect(sorted(looked), name).toEqual(sorted(module.inspect()));
    expect(await ScriptModule.inspect(readFileSync(name))).toEqual(looked);
  }
  await expect(ScriptModule.inspect(join(folder, "absent.pt"))).rejects.toMatchObject({
    code: "LENET5_MODEL_NOT_FOUND",
  });
  await expect(ScriptModule.inspect(path, { device: "cpu" } as never)).rejects.toMatchObject({
    code: "LENET5_UNKNOWN_OPTION",
  });
});
