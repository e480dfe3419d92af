// TorchScript modules behind the server: their tensors by name, batches where config.json allows them, JSON and images.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { imageTensor, ScriptModule, type Tensor } from "../../lib/index.js";
import type { Server } from "../../lib/server.js";
import { fixture } from "../script-module/expected.js";
import { cleanUp, emptyRepository, placeModule, serve } from "./models.js";

let server: Server;
let url: string;
let mlp: ScriptModule;
let residual: ScriptModule;

beforeAll(async () => {
  const folder = await emptyRepository();
  const place = async (name: string, as = name, config?: object): Promise<void> => {
    await placeModule(folder, name, { as });
    if (config !== undefined) await writeFile(join(folder, as, "config.json"), JSON.stringify(config));
  };
  await place("mlp");
  await place("mlp", "mlp-batched", {
    maxBatchSize: 16,
    inputs: [{ name: "rows", dtype: "float32", shape: [-1, 4] }],
    outputs: [{ name: "scores", dtype: "float32", shape: [-1, 3] }],
    warmUp: [[2, 4]],
  });
  await place("mlp", "pictures", { image: { resize: 4, crop: 4, mean: [0.5, 0.5, 0.5], std: [1, 2, 4] } });
  await place("strided", "transposed", { maxBatchSize: 16 });
  await place("residual", "photographs", {
    inputs: [{ name: "image", dtype: "float32", shape: [-1, 3, 8, 8] }],
    image: { resize: 8, crop: 8, mean: [0, 0, 0], std: [1, 1, 1] },
  });
  await place("embedding", "tokens", { inputs: [{ name: "tokens", dtype: "int64" }] });
  for (const name of ["options", "slow", "no-forward"]) await place(name);
  await mkdir(join(folder, "empty", "1"), { recursive: true });
  ({ server, url } = await serve(folder));
  [mlp, residual] = await Promise.all([ScriptModule.load(fixture("mlp")), ScriptModule.load(fixture("residual"))]);
});
afterAll(async () => {
  mlp.dispose();
  residual.dispose();
  await cleanUp();
});

const float32 = (shape: number[], values: readonly number[]): Tensor<"float32"> => ({
  data: Float32Array.from(values),
  shape,
  dtype: "float32",
});
const four = (n: number): number[] => [n, n / 2, -n, 1];
const closeTo = (values: readonly number[]) => values.map((value) => expect.closeTo(value, 5));
const respond = (name: string, body: Uint8Array | string, contentType = "application/json") =>
  server.repository.model(name).respond({ body: Buffer.from(body), contentType });

async function scoresOf(n: number): Promise<number[]> {
  return Array.from(((await mlp.forward(float32([1, 4], four(n)))) as Tensor<"float32">).data);
}

test("inputs have the names of forward's arguments, or those of config.json", async () => {
  const { repository } = server;
  expect(repository.model("mlp").description).toMatchObject({ kind: "torchscript", inputs: [{ name: "x" }] });
  expect(repository.model("mlp-batched").description).toMatchObject({
    inputs: [{ name: "rows", dtype: "float32", shape: [-1, 4] }],
    outputs: [{ name: "scores", dtype: "float32", shape: [-1, 3] }],
  });
  expect(repository.model("photographs").description.outputs.map(({ name }) => name)).toEqual(["output0", "output1"]);
  const answer = await repository.model("mlp-batched").infer(new Map([["rows", float32([1, 4], four(3))]]));
  expect([...answer.keys()]).toEqual(["scores"]);
  expect(Array.from(answer.get("scores")!.data as Float32Array)).toEqual(closeTo(await scoresOf(3)));
});

test("requests share a pass where config.json says so, each with its own rows; a bad one fails alone", async () => {
  const model = server.repository.model("mlp-batched");
  const asked = Array.from({ length: 40 }, (_, n) => model.infer(new Map([["rows", float32([1, 4], four(n))]])));
  const bad = await model.infer(new Map([["rows", float32([1, 5], [1, 2, 3, 4, 5])]])).catch((error) => error.code);
  expect(bad).toBe("LENET5_INVALID_SHAPE");
  for (const [n, answer] of (await Promise.all(asked)).entries())
    expect(Array.from(answer.get("scores")!.data as Float32Array)).toEqual(closeTo(await scoresOf(n)));
  const text = await (await fetch(`${url}/metrics`)).text();
  const passes = /lenet5_batch_size_count\{model="mlp-batched",version="1"\} (\d+)/.exec(text)![1];
  expect(Number(passes)).toBeLessThan(20);
});

test("a module whose results are not one row an input answers nobody with a neighbour's", async () => {
  const model = server.repository.model("transposed");
  const rows = Array.from({ length: 5 }, (_, n) => float32([2, 3], [n, 1, 2, 3, 4, 5]));
  const answers = await Promise.all(rows.map((x) => model.infer(new Map([["x", x]]))));
  for (const [n, answer] of answers.entries())
    expect(answer.get("output0")).toEqual(float32([3, 2], [n, 3, 1, 4, 2, 5]));
});

test("JSON becomes tensors: nested numbers for the one input, or several by name", async () => {
  expect(await respond("mlp", JSON.stringify([four(2), four(5)]))).toEqual([
    closeTo(await scoresOf(2)),
    closeTo(await scoresOf(5)),
  ]);
  expect(await respond("tokens", '{"tokens":[1,2]}')).toHaveLength(2);
  const image = Array.from({ length: 192 }, (_, i) => (i % 7) / 7);
  const [head, pooled] = (await residual.forward(
    float32([1, 3, 8, 8], image),
    float32([1, 4], four(1)),
  )) as Tensor<"float32">[];
  const nested = [0, 1, 2].map((c) =>
    Array.from({ length: 8 }, (_, y) => image.slice(64 * c + 8 * y, 64 * c + 8 * y + 8)),
  );
  const given = JSON.stringify({ image: [nested], condition: [four(1)] });
  expect(await respond("photographs", given)).toEqual({
    output0: [closeTo(Array.from(head!.data))],
    output1: [closeTo(Array.from(pooled!.data))],
  });
});

test("an image becomes the one input as config.json says", async () => {
  const raw = { width: 7, height: 5, channels: 3 } as const;
  const png = await sharp(Buffer.from(Array.from({ length: 105 }, (_, i) => (i * 37) % 256)), { raw })
    .png()
    .toBuffer();
  const input = await imageTensor([png], { resize: 4, crop: 4, mean: [0.5, 0.5, 0.5], std: [1, 2, 4] });
  const { data, shape } = (await mlp.forward(input)) as Tensor<"float32">;
  expect(shape).toEqual([1, 3, 4, 3]);
  const answer = await respond("pictures", png, "image/png");
  expect((answer as number[][][][]).flat(3)).toEqual(closeTo(Array.from(data)));
});

test("what does not fit is refused, by name", async () => {
  const code = (work: Promise<unknown>) => work.then(() => "answered").catch((error) => error.code);
  expect(await code(respond("mlp", "[[1,2,3,4],[1,2,3]]"))).toBe("LENET5_INVALID_SHAPE");
  expect(await code(respond("mlp", '{"y":[[1,2,3,4]]}'))).toBe("LENET5_SCRIPT_ARGUMENTS");
  expect(await code(respond("mlp", "[[1,2,3,"))).toBe("LENET5_REQUEST_INVALID");
  expect(await code(respond("mlp", "text"))).toBe("LENET5_REQUEST_INVALID");
  expect(await code(respond("tokens", "[1.5]"))).toBe("LENET5_INVALID_DTYPE");
  expect(await code(respond("tokens", "[99]"))).toBe("LENET5_SCRIPT_RAISED");
  const png = await sharp({ create: { width: 9, height: 9, channels: 3, background: "red" } })
    .png()
    .toBuffer();
  expect(await code(respond("mlp", png, "image/png"))).toBe("LENET5_REQUEST_INVALID");
  expect(await respond("mlp", JSON.stringify([four(1)]))).toEqual([closeTo(await scoresOf(1))]);
});

test("a module whose forward takes other things than tensors, or that has none, is unavailable and says why", () => {
  const reason = (name: string) => server.repository.statusesOf(name)[0]!.reason;
  expect(reason("options")).toContain("inputs: Dict[str, Tensor]");
  expect(reason("slow")).toContain("rounds: int");
  expect(reason("no-forward")).toContain("LENET5_SCRIPT_METHOD_NOT_FOUND");
});
