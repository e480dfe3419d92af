import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import { exportModelArchive, exportOnnx, exportSafetensors } from "../../lib/index.js";
import { fixtureModel } from "./fixture-model.js";

it.each([
  ["exportOnnx", exportOnnx],
  ["exportSafetensors", exportSafetensors],
  ["exportModelArchive", exportModelArchive],
])("%s refuses what is no model and what is no path", async (name, exporter) => {
  const refusal = { code: "LENET5_INVALID_ARGUMENT", message: expect.stringContaining(name) };
  for (const model of [undefined, null, 7, "model.pt", {}]) {
    await expect(exporter(model as never, path.join(tmpdir(), "x"))).rejects.toMatchObject(refusal);
  }
  for (const target of [undefined, "", 7]) {
    await expect(exporter(fixtureModel(), target as never)).rejects.toMatchObject(refusal);
  }
});
