import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import sharp from "sharp";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { decodeDigit } from "../../lib/data/image.js";
import { exportModelArchive } from "../../lib/export/model-archive.js";
import { checkZip, readZipEntry } from "../../lib/formats/zip-check.js";
import { describeWithPython, python, pythonPath } from "../python.js";
import { fixtureModel } from "./fixture-model.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "lenet5-mar-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const handlerFolder = path.join(import.meta.dirname, "..", "..", "lib", "export");

describe("exportModelArchive", () => {
  it("writes manifest, model, handler and class names, readable by a streaming unzip", async () => {
    const target = path.join(folder, "digits.mar");
    await exportModelArchive(fixtureModel({ classNames: [..."abcdefghij"] }), target, {
      modelName: "digits",
      version: "2.1",
    });
    expect(await readdir(folder)).toEqual(["digits.mar"]);
    const bytes = await readFile(target);
    const entries = await checkZip(bytes, { what: "a model archive", where: target, maxInflatedBytes: 1e6 });
    const contents = new Map<string, Buffer>();
    for (const entry of entries) contents.set(entry.name, await readZipEntry(bytes, entry));
    expect([...contents.keys()].sort()).toEqual([
      "MAR-INF/MANIFEST.json",
      "index_to_name.json",
      "lenet5.pt",
      "lenet5_handler.py",
    ]);
    expect(JSON.parse(contents.get("MAR-INF/MANIFEST.json")!.toString())).toEqual({
      createdOn: expect.stringMatching(/^\d\d\/\d\d\/\d{4} \d\d:\d\d:\d\d$/),
      runtime: "python",
      model: { modelName: "digits", serializedFile: "lenet5.pt", handler: "lenet5_handler.py", modelVersion: "2.1" },
      archiverVersion: "0.12.0",
    });
    expect(JSON.parse(contents.get("index_to_name.json")!.toString())).toMatchObject({ 0: "a", 9: "j" });
    expect(contents.get("lenet5.pt")!.equals(await fixtureModel().toTorchScript())).toBe(true);
    // Bit 3 of a local header's flags would mean that sizes follow the contents: Java's stream reader refuses that.
    for (const { name } of entries) {
      const header = bytes.indexOf(name) - 30;
      expect(bytes.readUInt32LE(header)).toBe(0x04034b50);
      expect(bytes.readUInt16LE(header + 6) & 8, name).toBe(0);
    }
  });

  it("finds its handler in the published package", async () => {
    const root = path.join(import.meta.dirname, "..", "..");
    const pack = ["pack", "--dry-run", "--json", "--ignore-scripts"];
    const { stdout } = await promisify(execFile)("npm", pack, { cwd: root, maxBuffer: 1 << 24 });
    const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
    expect(files.map((file) => file.path)).toContain("lib/export/lenet5_handler.py");
  });

  it.each([
    [{ modelName: "../evil" }, "INVALID_OPTION"],
    [{ modelName: "" }, "INVALID_OPTION"],
    [{ version: "1 0" }, "INVALID_OPTION"],
    [{ version: 1 }, "INVALID_OPTION"],
    [{ modelname: "x" }, "UNKNOWN_OPTION"],
  ])("refuses %o", async (options, code) => {
    const target = path.join(folder, "x.mar");
    await expect(exportModelArchive(fixtureModel(), target, options as object)).rejects.toMatchObject({
      code: `LENET5_${code}`,
    });
    expect(await readdir(folder)).toEqual([]);
  });
});

/** A dark digit drawn on light paper, off centre. */
const drawing = (background: string, ink: string, size: number): Promise<Buffer> =>
  sharp(
    Buffer.from(
      `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size * 2}" viewBox="0 0 100 200">
        <rect width="100" height="200" fill="${background}"/>
        <path d="M25 70 L60 70 L35 130" stroke="${ink}" stroke-width="9" fill="none"/></svg>`,
    ),
  )
    .png()
    .toBuffer();

describeWithPython("the archive's handler", () => {
  const handle = (
    requests: (string | null)[],
  ): Promise<{ answers: Record<string, unknown>[]; statuses: Record<string, number> }> =>
    python(
      `
import json, sys
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
from lenet5_handler import LeNet5Handler
statuses = {}
context = SimpleNamespace(
    system_properties={"model_dir": sys.argv[2], "gpu_id": None},
    manifest={"model": {"serializedFile": "lenet5.torchscript.pt"}},
    set_response_status=lambda code, phrase, place: statuses.update({place: code}),
)
handler = LeNet5Handler()
handler.initialize(context)
requests = [{"body": None if path is None else open(path, "rb").read()} for path in json.loads(sys.argv[3])]
print(json.dumps({"answers": handler.handle(requests, context), "statuses": statuses}))
`,
      [handlerFolder, path.join(import.meta.dirname, "..", "fixtures", "state-dicts"), JSON.stringify(requests)],
    );

  it("answers PNG, its negative, bytes, floats and JSON of one image alike, and what is no image with 400 each", async () => {
    const pixels = await decodeDigit(await drawing("#fff", "#111", 300));
    const png = await sharp(pixels, { raw: { width: 28, height: 28, channels: 1 } })
      .png()
      .toBuffer();
    const floats = Float32Array.from(pixels, (value) => value / 255);
    const inverted = await sharp(
      pixels.map((value) => 255 - value),
      { raw: { width: 28, height: 28, channels: 1 } },
    )
      .png()
      .toBuffer();
    const files: Record<string, Uint8Array> = {
      "digit.png": png,
      inverted,
      "digit.raw": pixels,
      "digit.f32": new Uint8Array(floats.buffer),
      "digit.json": Buffer.from(JSON.stringify(Array.from(floats))),
      text: Buffer.from("hello"),
      empty: new Uint8Array(0),
      "short.json": Buffer.from("[1,2,3]"),
      "torn.json": Buffer.from("[1,2"),
      "bright.json": Buffer.from(JSON.stringify(Array(784).fill(2))),
      "half.png": png.subarray(0, png.length >> 1),
      nan: new Uint8Array(new Float32Array(784).fill(Number.NaN).buffer),
    };
    const paths: (string | null)[] = [];
    for (const [name, bytes] of Object.entries(files)) {
      await writeFile(path.join(folder, name), bytes);
      paths.push(path.join(folder, name));
    }
    const { answers, statuses } = await handle([...paths, null]);
    const [first, ...alike] = answers.slice(0, 5) as { label: string; probability: number; probabilities: number[] }[];
    expect(first!.probabilities).toHaveLength(10);
    expect(first!.probabilities.reduce((sum, value) => sum + value)).toBeCloseTo(1, 5);
    expect(first!.probabilities[Number(first!.label)]).toBe(first!.probability);
    for (const answer of alike) {
      expect(answer.label).toBe(first!.label);
      expect(Math.abs(answer.probability - first!.probability)).toBeLessThan(1e-6);
    }
    expect(statuses).toEqual(Object.fromEntries(answers.slice(5).map((_, i) => [i + 5, 400])));
    for (const answer of answers.slice(5)) {
      expect(answer).toMatchObject({ code: 400, message: expect.stringMatching(/^Expected .* but received/) });
    }
  });

  it("prepares images as the package's decodeDigit does", async () => {
    const transparent = await drawing("none", "#222", 200);
    const images = [
      await drawing("#fff", "#111", 300),
      await drawing("#111", "#eee", 90),
      await drawing("#fe8", "#248", 2000),
      transparent,
      await sharp(await drawing("#fff", "#111", 300))
        .jpeg({ quality: 80 })
        .toBuffer(),
      await sharp({ create: { width: 50, height: 60, channels: 3, background: "#777" } })
        .png()
        .toBuffer(),
    ];
    for (const [i, image] of images.entries()) await writeFile(path.join(folder, String(i)), image);
    const program = `
import json, sys
sys.path.insert(0, sys.argv[1])
from lenet5_handler import decode_digit
print(json.dumps([decode_digit(open(f"{sys.argv[2]}/{i}", "rb").read()).ravel().tolist() for i in range(int(sys.argv[3]))]))
`;
    const theirs = await python<number[][]>(program, [handlerFolder, folder, String(images.length)]);
    for (const [i, image] of images.entries()) {
      const ours = await decodeDigit(image);
      const mean = ours.reduce((sum, value, at) => sum + Math.abs(value - theirs[i]![at]!), 0) / ours.length;
      expect(mean, `image ${i}`).toBeLessThan(2);
    }
  });

  it("is the only class of its file, as TorchServe wants it", async () => {
    const { stdout } = await promisify(execFile)(pythonPath!, [
      "-c",
      "import ast,sys; print(sum(isinstance(n, ast.ClassDef) for n in ast.parse(open(sys.argv[1]).read()).body))",
      path.join(handlerFolder, "lenet5_handler.py"),
    ]);
    expect(stdout.trim()).toBe("1");
  });
});
