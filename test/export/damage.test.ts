// 2,100 damaged files against the checks that stand before libtorch. They are TypeScript all the way, so that no process
// of its own is needed; test/long/fuzz-models.test.ts goes on into libtorch with files of every format.
import { readFileSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { Random } from "../../lib/data/random.js";
import { onnxBytes, readOnnx } from "../../lib/export/onnx.js";
import { checkTorchScriptArchive } from "../../lib/formats/torchscript-archive.js";
import { stateDictFromSafetensors } from "../../lib/lenet5/state-dict-from-safetensors.js";
import { mutate } from "../mutate.mjs";
import { fixtureModel } from "./fixture-model.js";

const fixtures = path.join(import.meta.dirname, "..", "fixtures", "state-dicts");
const FILES = 700;
const CODES = ["MODEL_CORRUPT", "MODEL_TOO_LARGE", "MODEL_MISMATCH", "INVALID_DTYPE"].map((code) => `LENET5_${code}`);

it.each<[string, Uint8Array, (bytes: Uint8Array) => unknown]>([
  [
    "TorchScript",
    readFileSync(path.join(fixtures, "lenet5.torchscript.pt")),
    (bytes) => checkTorchScriptArchive(bytes),
  ],
  ["safetensors", readFileSync(path.join(fixtures, "lenet5.safetensors")), (bytes) => stateDictFromSafetensors(bytes)],
  ["ONNX", onnxBytes(fixtureModel().stateDict(), fixtureModel()), (bytes) => readOnnx(bytes)],
])("%s: each damaged file is refused with a code or read", async (_, original, read) => {
  const refused = new Map<string, number>();
  for (let i = 0; i < FILES; i++) {
    try {
      await read(mutate(original, new Random(20260920, i)));
    } catch (error) {
      const code = String((error as { code?: string }).code);
      expect(CODES, `file ${i}: ${(error as Error).stack}`).toContain(code);
      refused.set(code, (refused.get(code) ?? 0) + 1);
    }
  }
  expect(refused.get("LENET5_MODEL_CORRUPT")).toBeGreaterThan(FILES / 2);
});
