import { randomFillSync } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { buffer as collect } from "node:stream/consumers";
import { crc32 } from "node:zlib";
import { describe, expect, it } from "vitest";
import { ZipFile } from "yazl";
import { checkTorchScriptArchive } from "../../lib/formats/torchscript-archive.js";

const fixtures = path.join(import.meta.dirname, "..", "fixtures", "state-dicts");
const torchScript = readFileSync(path.join(fixtures, "lenet5.torchscript.pt"));

/** The smallest set of entries that passes as an archive. */
const ENTRIES: Record<string, Buffer> = {
  "m/data.pkl": Buffer.from("\x80\x02."),
  "m/code/__torch__.py": Buffer.from("class M(Module):\n"),
  "m/constants.pkl": Buffer.from("\x80\x02)."),
  "m/version": Buffer.from("3\n"),
};

function zip(entries: Record<string, Buffer>, compress = false): Promise<Buffer> {
  const file = new ZipFile();
  for (const [name, contents] of Object.entries(entries)) file.addBuffer(contents, name, { compress });
  file.end();
  return collect(file.outputStream);
}

/** Overwrites a name everywhere in a zip by one of the same length, which no honest writer would produce. */
function rename(archive: Buffer, from: string, to: string): Buffer {
  const copy = Buffer.from(archive);
  for (let at = copy.indexOf(from); at >= 0; at = copy.indexOf(from, at + 1)) copy.write(to, at, "latin1");
  return copy;
}

const check = (bytes: Uint8Array): Promise<unknown> =>
  checkTorchScriptArchive(bytes, { where: "model.pt" }).then(
    () => "accepted",
    (error: unknown) => error,
  );

describe("checkTorchScriptArchive", () => {
  it("accepts what PyTorch writes, and a minimal archive stored or deflated", async () => {
    expect(await check(torchScript)).toBe("accepted");
    expect(await check(new Uint8Array(torchScript))).toBe("accepted");
    expect(await check(await zip(ENTRIES))).toBe("accepted");
    expect(await check(await zip(ENTRIES, true))).toBe("accepted");
  });

  it.each([
    ["nothing", Buffer.alloc(0), "an empty file"],
    ["text", Buffer.from("<html>not found</html>"), "a text file"],
    ["a PNG", Buffer.from("\x89PNG\r\n\x1a\n\0\0\0\0", "latin1"), "a PNG image"],
    ["zeros", Buffer.alloc(64), "unknown bytes"],
    ["safetensors", readFileSync(path.join(fixtures, "lenet5.safetensors")), "a safetensors file"],
    ["torch.save", readFileSync(path.join(fixtures, "torch-save.pth")), "a file of torch.save"],
    ["half a file", torchScript.subarray(0, torchScript.length >> 1), "a damaged or truncated zip file"],
  ])("names %s for what it is", async (_, bytes, words) => {
    expect(await check(bytes)).toMatchObject({
      code: "LENET5_MODEL_CORRUPT",
      message: expect.stringContaining(`Expected a TorchScript archive for model.pt but received ${words}`),
    });
  });

  it.each(Object.keys(ENTRIES))("refuses an archive without %s", async (missing) => {
    const { [missing]: _, ...rest } = ENTRIES;
    expect(await check(await zip(rest))).toMatchObject({ code: "LENET5_MODEL_CORRUPT" });
  });

  it("refuses every flipped bit of contents, stored and deflated", async () => {
    for (const compress of [false, true]) {
      const archive = await zip(ENTRIES, compress);
      for (const name of Object.keys(ENTRIES)) {
        const copy = Buffer.from(archive);
        const at = copy.indexOf(name) + name.length;
        copy[at] = copy[at]! ^ 0x10;
        expect(await check(copy), `${name} ${compress}`).toMatchObject({ code: "LENET5_MODEL_CORRUPT" });
      }
    }
  });

  it("refuses names that lead out of a folder, twins, and a name that differs between the headers", async () => {
    const archive = await zip({ ...ENTRIES, "m/code/aaaa.py": Buffer.from("1"), "m/code/bbbb.py": Buffer.from("2") });
    for (const name of ["../../../aaa.p", "/etc/passwd.py", "m\\code\\aaaa.p", "C:/code/aaaa.p"]) {
      expect(await check(rename(archive, "m/code/aaaa.py", name)), name).toMatchObject({
        code: "LENET5_MODEL_CORRUPT",
        message: expect.stringContaining("unsafe entry name"),
      });
    }
    expect(await check(rename(archive, "m/code/aaaa.py", "m/code/bbbb.py"))).toMatchObject({
      message: expect.stringContaining("twice"),
    });
    const onlyLocal = Buffer.from(archive);
    onlyLocal.write("m/code/cccc.py", onlyLocal.indexOf("m/code/aaaa.py"));
    expect(await check(onlyLocal)).toMatchObject({ message: expect.stringContaining("contradict") });
  });

  it("refuses huge declared sizes without allocating them", async () => {
    const archive = await zip(ENTRIES, true);
    const directory = archive.indexOf("PK\x01\x02");
    const huge = Buffer.from(archive);
    huge.writeUInt32LE(0xfffffff0, directory + 24); // uncompressed size of the first entry
    expect(await check(huge)).toMatchObject({ code: "LENET5_MODEL_TOO_LARGE" });
    const stored = await zip(ENTRIES);
    const at = stored.indexOf("PK\x01\x02");
    stored.writeUInt32LE(0xfffffff0, at + 20);
    stored.writeUInt32LE(0xfffffff0, at + 24);
    expect(await check(stored)).toMatchObject({ code: "LENET5_MODEL_CORRUPT" });
  });

  it("stops inflating a bomb at its declared size", async () => {
    const archive = await zip({ ...ENTRIES, "m/code/bomb.py": Buffer.alloc(64 << 20) }, true);
    const entry = archive.lastIndexOf("m/code/bomb.py") - 46;
    const local = archive.indexOf("m/code/bomb.py") - 30;
    for (const at of [entry + 24, local + 22]) archive.writeUInt32LE(1000, at);
    const before = process.memoryUsage().arrayBuffers;
    expect(await check(archive)).toMatchObject({
      code: "LENET5_MODEL_CORRUPT",
      message: expect.stringContaining("does not inflate to its declared size"),
    });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 << 20);
  });

  it("refuses entries that share bytes and bytes that nobody declares at the end", async () => {
    // The directory's entry for m/data/1 is pointed at a copy of that entry inside the contents of m/data/0.
    const inner = await zip({ "m/data/1": Buffer.from("weights") });
    const copy = inner.subarray(0, inner.indexOf("PK\x01\x02"));
    const archive = await zip({ ...ENTRIES, "m/data/0": copy, "m/data/1": Buffer.from("weights") });
    const overlapping = Buffer.from(archive);
    overlapping.writeUInt32LE(archive.indexOf(copy), archive.lastIndexOf("m/data/1") - 46 + 42);
    expect(await check(archive)).toBe("accepted");
    expect(await check(overlapping)).toMatchObject({ message: expect.stringContaining("overlaps") });
    expect(await check(Buffer.concat([archive, Buffer.from("tail")]))).toMatchObject({ code: "LENET5_MODEL_CORRUPT" });
    const fewer = Buffer.from(archive);
    fewer.writeUInt16LE(5, fewer.length - 12); // one entry hidden from strict readers
    expect(await check(fewer)).toMatchObject({ code: "LENET5_MODEL_CORRUPT" });
  });

  it("leaves the event loop free while it checks 256 MiB", async () => {
    const weights = randomFillSync(Buffer.alloc(256 << 20), 0, 1 << 20);
    const archive = await zip({ ...ENTRIES, "m/data/0": weights });
    expect(archive.indexOf("m/data/0")).toBeGreaterThan(0);
    let longest = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    const started = performance.now();
    expect(await check(archive)).toBe("accepted");
    longest = Math.max(longest, performance.now() - last); // the timer never comes round behind the last slice
    clearInterval(timer);
    expect(longest).toBeLessThan((performance.now() - started) / 2);
    expect(crc32(weights)).toBe(archive.readUInt32LE(archive.lastIndexOf("m/data/0") - 30));
  }, 30_000);
});
