// Weights out of TorchScript files: PyTorch's own layouts are understood, nothing of a file is run, and no number in it
// is believed that the file does not back.
import { readFileSync } from "node:fs";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { ZipFile } from "yazl";
import { checkTorchScriptArchive } from "../../lib/formats/torchscript-archive.js";
import { isLeNet5Error, LeNet5, readSafetensors } from "../../lib/index.js";

const fixtures = path.join(import.meta.dirname, "..", "fixtures", "state-dicts");
const fixture = (name: string) => readFileSync(path.join(fixtures, name));

it("reads what torch.jit.save wrote, bit for bit", async () => {
  using model = await LeNet5.load(fixture("lenet5.torchscript.pt"), { device: "cpu" });
  expect(model.stateDict()).toEqual(readSafetensors(fixture("lenet5.safetensors")).tensors);
});

it("reads doubles, channels last, transposed weights and several weights in one storage", async () => {
  using model = await LeNet5.load(fixture("lenet5-layouts.torchscript.pt"), { device: "cpu" });
  for (const [name, { data }] of Object.entries(model.stateDict())) {
    expect(data, name).toEqual(Float32Array.from(data, (_, i) => i / 65536));
  }
});

it("runs nothing of a file whose code libtorch would run while it loads it", async () => {
  using model = await LeNet5.load(fixture("lenet5-rigged.torchscript.pt"), { device: "cpu" });
  expect(model.stateDict()["f6.bias"]!.data.every((weight) => weight === 0)).toBe(true);
});

/** The fixture with some of its records changed. */
async function changed(records: Record<string, (contents: Buffer) => Uint8Array>): Promise<Uint8Array> {
  const bytes = fixture("lenet5.torchscript.pt");
  const archive = await checkTorchScriptArchive(bytes);
  const zip = new ZipFile();
  const names = ["data.pkl", "constants.pkl", "code/__torch__.py", "version", "byteorder"];
  for (let i = 0; i < 10; i++) names.push(`data/${i}`);
  for (const name of names) {
    const contents = (await archive.read(name, Number.POSITIVE_INFINITY))!;
    zip.addBuffer(Buffer.from(records[name]?.(Buffer.from(contents)) ?? contents), `a/${name}`, { compress: false });
  }
  zip.end();
  return await buffer(zip.outputStream);
}

/** Changes the pickle where `before` stands in it, just once. */
function inPickle(before: number[], after: number[]): Record<string, (contents: Buffer) => Uint8Array> {
  return {
    "data.pkl": (contents) => {
      const at = contents.indexOf(Buffer.from(before));
      expect(at).toBeGreaterThan(0);
      return Buffer.concat([contents.subarray(0, at), Buffer.from(after), contents.subarray(at + before.length)]);
    },
  };
}

const code = (bytes: Uint8Array) =>
  LeNet5.load(bytes, { device: "cpu" }).then(
    (model) => {
      model.dispose();
      return "loaded";
    },
    (error: unknown) => (isLeNet5Error(error) ? error.code : `a raw ${error}`),
  );

// c1.bias: a storage "1" of 6 elements (K 06 t Q), offset 0, size (6,), stride (1,).
const BIAS_STORAGE = [0x4b, 6, 0x74, 0x51, 0x71, 16, 0x4b, 0, 0x28, 0x4b, 6, 0x74, 0x28, 0x4b, 1, 0x74];
const bias = (length: number, offset: number, size: number, stride: number) => [
  ...[0x4b, length, 0x74, 0x51, 0x71, 16, 0x4b, offset, 0x28, 0x4b, size, 0x74, 0x28, 0x4b, stride, 0x74],
];

describe("refuses", () => {
  it("but for the changes below, the file is whole", async () => {
    expect(await code(await changed({}))).toBe("loaded");
    expect(await code(await changed(inPickle(BIAS_STORAGE, bias(6, 0, 6, 1))))).toBe("loaded");
  });

  it.each<[string, Record<string, (contents: Buffer) => Uint8Array>, string]>([
    ["a storage that is longer than its record", inPickle(BIAS_STORAGE, bias(254, 200, 6, 1)), "LENET5_MODEL_CORRUPT"],
    ["a storage that is shorter than its record", inPickle(BIAS_STORAGE, bias(5, 0, 6, 1)), "LENET5_MODEL_CORRUPT"],
    ["a tensor that begins beyond its storage", inPickle(BIAS_STORAGE, bias(6, 6, 6, 1)), "LENET5_MODEL_CORRUPT"],
    ["a stride that leads out of the storage", inPickle(BIAS_STORAGE, bias(6, 0, 6, 2)), "LENET5_MODEL_CORRUPT"],
    ["a tensor that is larger than its storage", inPickle(BIAS_STORAGE, bias(6, 0, 7, 1)), "LENET5_MODEL_CORRUPT"],
    ["a shorter record", { "data/1": (contents) => contents.subarray(4) }, "LENET5_MODEL_CORRUPT"],
    ["numbers of a big-endian machine", { byteorder: () => Buffer.from("big") }, "LENET5_MODEL_MISMATCH"],
    ["a pickle with an opcode of its own", inPickle([0x28, 0x58], [0x69, 0x58]), "LENET5_MODEL_CORRUPT"],
    ["another protocol", inPickle([0x63], [0x80, 4, 0x63]), "LENET5_MODEL_CORRUPT"],
    ["a pickle that is cut off", { "data.pkl": (contents) => contents.subarray(0, 700) }, "LENET5_MODEL_CORRUPT"],
    ["a pickle of nothing", { "data.pkl": () => Buffer.from("80024e2e", "hex") }, "LENET5_MODEL_CORRUPT"],
    ["an empty pickle", { "data.pkl": () => Buffer.alloc(0) }, "LENET5_MODEL_CORRUPT"],
    ["a huge pickle", { "data.pkl": () => Buffer.alloc(5 * 1024 * 1024) }, "LENET5_MODEL_MISMATCH"],
    ["parameters that are sparse", renamed("_rebuild_tensor_v2", "_rebuild_sparse_tv"), "LENET5_MODEL_MISMATCH"],
    ["whole numbers", renamed("FloatStorage", "Int32Storage"), "LENET5_MODEL_MISMATCH"],
    ["other names", renamed("weight", "waight"), "LENET5_MODEL_MISMATCH"],
  ])("%s", async (_, records, expected) => {
    expect(await code(await changed(records))).toBe(expected);
  });

  it("a module that holds itself", async () => {
    const self = Buffer.concat([
      Buffer.from("80026361", "hex"), // PROTO 2, GLOBAL "a" …
      Buffer.from("\nb\n"), // … "b"
      Buffer.from("2981" + "7100" + "7d", "hex"), // EMPTY_TUPLE NEWOBJ, BINPUT 0, EMPTY_DICT
      Buffer.from("285801000000" + "78" + "6800" + "75", "hex"), // MARK "x" BINGET 0 SETITEMS
      Buffer.from("622e", "hex"), // BUILD STOP
    ]);
    expect(await code(await changed({ "data.pkl": () => self }))).toBe("LENET5_MODEL_MISMATCH");
  });
});

function renamed(before: string, after: string): Record<string, (contents: Buffer) => Uint8Array> {
  return {
    "data.pkl": (contents) =>
      Buffer.from(contents.toString("latin1").replaceAll(before, after.padEnd(before.length)), "latin1"),
  };
}
