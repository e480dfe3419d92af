// The folder of models: what is loaded, under which names, and what takes its place.
import { afterEach, expect, test } from "vitest";
import { cleanUp, emptyRepository, placeLeNet5, placeModule, serve } from "./models.js";

afterEach(cleanUp);

test("LeNet-5 of every format answers as the model that was saved, and modules beside it", async () => {
  const folder = await emptyRepository();
  const files = ["model.pt", "model.mar", "model.safetensors"];
  const models = [];
  for (const [i, file] of files.entries())
    models.push(await placeLeNet5(folder, { name: `digits-${i}`, seed: i, file }));
  await placeModule(folder, "mlp");
  const { server } = await serve(folder);
  expect(server.repository.statuses().map(({ name, state }) => `${name} ${state}`)).toEqual([
    "digits-0 ready",
    "digits-1 ready",
    "digits-2 ready",
    "mlp ready",
  ]);
  const pixels = Float32Array.from({ length: 3 * 784 }, (_, i) => (i % 251) / 250);
  for (const [i, model] of models.entries()) {
    const tensor = { data: pixels, shape: [3, 1, 28, 28], dtype: "float32" } as const;
    const served = server.repository.model(`digits-${i}`);
    const answer = await served.infer(new Map([["input0", tensor]]));
    expect(served.description.kind).toBe("lenet5");
    expect(answer.get("output0")).toEqual(model.forwardSync(pixels));
  }
});
