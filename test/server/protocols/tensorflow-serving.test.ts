// TensorFlow Serving's REST API, against models that need no engine.
import type { FastifyInstance } from "fastify";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tensorFlowServing } from "../../../lib/server/protocols/tensorflow-serving.js";
import { log, serve } from "./fake-repository.js";

let app: FastifyInstance;
let url: string;
let png: string;
beforeAll(async () => {
  ({ app, url } = await serve(tensorFlowServing));
  const pixels = Buffer.alloc(784);
  pixels[400] = 255;
  png = (
    await sharp(pixels, { raw: { width: 28, height: 28, channels: 1 } })
      .png()
      .toBuffer()
  ).toString("base64");
});
afterAll(() => app.close());

async function call(method: string, path: string, body?: unknown) {
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const response = await fetch(url + path, { method, body: text ?? null });
  const answer = await response.text();
  return { status: response.status, headers: response.headers, text: answer, json: JSON.parse(answer) as unknown };
}
const predict = (body: unknown, model = "lenet5") => call("POST", `/v1/models/${model}:predict`, body);

/** A row with so many lit pixels, and what the model makes of it. */
const row = (lit: number) => [
  Array.from({ length: 28 }, (_, y) => Array.from({ length: 28 }, (_, x) => (y * 28 + x < lit ? 1 : 0))),
];
const answer = (lit: number) => Array.from({ length: 10 }, (_, i) => lit * i);

describe("predict", () => {
  it.each(["lenet5", "lenet5/versions/1", "lenet5/labels/stable"])(
    "answers rows of %s with plain values",
    async (model) => {
      const { status, json } = await predict({ signature_name: "serving_default", instances: [row(3), row(5)] }, model);
      expect(json).toEqual({ predictions: [answer(3), answer(5)] });
      expect(status).toBe(200);
    },
  );

  it("answers rows that name their input, and columns", async () => {
    expect((await predict({ instances: [{ input0: row(3) }] })).json).toEqual({ predictions: [answer(3)] });
    expect((await predict({ inputs: [row(3)] })).json).toEqual({ outputs: [answer(3)] });
    expect((await predict({ inputs: { input0: [row(3)] } })).json).toEqual({ outputs: [answer(3)] });
  });

  it("takes images as base64", async () => {
    const image = { b64: png };
    expect((await predict({ instances: [image, image] })).json).toEqual({ predictions: [answer(1), answer(1)] });
    expect((await predict({ instances: [{ input0: image }] })).json).toEqual({ predictions: [answer(1)] });
    expect((await predict({ inputs: { input0: image } })).json).toEqual({ outputs: [answer(1)] });
    expect((await predict({ inputs: [image] })).json).toEqual({ outputs: [answer(1)] });
  });

  it("answers with objects where a model has several outputs", async () => {
    const instances = [
      { input0: [1, 2], input1: true },
      { input0: [3, 4], input1: false },
    ];
    expect((await predict({ instances }, "pair")).json).toEqual({
      predictions: [
        { output0: [1, 2], output1: true },
        { output0: [3, 4], output1: false },
      ],
    });
    expect((await predict({ inputs: { input0: [[1]], input1: 2 } }, "pair")).json).toEqual({
      outputs: { output0: [[1]], output1: 2 },
    });
  });

  it("carries scalars, and what is no number", async () => {
    expect((await predict('{"instances":[1.5, 2]}', "echo")).json).toEqual({ predictions: [1.5, 2] });
    const response = await fetch(`${url}/v1/models/echo:predict`, {
      method: "POST",
      body: '{"instances":[[NaN],[-Infinity]]}',
    });
    expect(await response.text()).toBe('{"predictions":[[NaN],[-Infinity]]}');
  });

  it("counts", async () => {
    log.outcomes.length = 0;
    await call("GET", "/v1/models/lenet5");
    await predict({ instances: [row(1)] });
    await expect
      .poll(() => log.outcomes)
      .toMatchObject([{ protocol: "tensorflow-serving", model: "lenet5", version: "2", status: 200 }]);
  });
});

describe("status and metadata", () => {
  const ok = { error_code: "OK", error_message: "" };
  it("has the state of each version", async () => {
    expect((await call("GET", "/v1/models/lenet5")).json).toEqual({
      model_version_status: ["1", "2"].map((version) => ({ version, state: "AVAILABLE", status: ok })),
    });
    expect((await call("GET", "/v1/models/lenet5/versions/1")).json).toMatchObject({
      model_version_status: [{ version: "1" }],
    });
    expect((await call("GET", "/v1/models/lenet5/labels/stable")).json).toMatchObject({
      model_version_status: [{}, {}],
    });
    expect((await call("GET", "/v1/models/broken")).json).toEqual({
      model_version_status: [
        { version: "1", state: "END", status: { error_code: "UNAVAILABLE", error_message: "not loaded" } },
      ],
    });
  });

  it("has the signature", async () => {
    const shape = (...sizes: number[]) => ({
      dim: sizes.map((size) => ({ size: String(size), name: "" })),
      unknown_rank: false,
    });
    for (const path of ["/v1/models/lenet5/metadata", "/v1/models/lenet5/versions/2/metadata"])
      expect((await call("GET", path)).json).toEqual({
        model_spec: { name: "lenet5", signature_name: "", version: "2" },
        metadata: {
          signature_def: {
            signature_def: {
              serving_default: {
                inputs: { input0: { dtype: "DT_FLOAT", tensor_shape: shape(-1, 1, 28, 28), name: "input0:0" } },
                outputs: { output0: { dtype: "DT_FLOAT", tensor_shape: shape(-1, 10), name: "output0:0" } },
                method_name: "tensorflow/serving/predict",
                defaults: {},
              },
            },
          },
        },
      });
    expect((await call("GET", "/v1/models/echo/metadata")).text).toContain(
      '"dtype":"DT_INVALID","tensor_shape":{"dim":[],"unknown_rank":true}',
    );
  });
});

describe("bad requests", () => {
  const deep = (depth: number): unknown => (depth === 0 ? 1 : [deep(depth - 1)]);
  it.each<[string, unknown, string, number?]>([
    ["nothing", "", "echo"],
    ["malformed JSON", '{"instances":[1', "echo"],
    ["an array", "[]", "echo"],
    ["neither instances nor inputs", "{}", "echo"],
    ["both", { instances: [1], inputs: [1] }, "echo"],
    ["instances under __proto__", '{"__proto__":{"instances":[1]}}', "echo"],
    ["no instance", { instances: [] }, "echo"],
    ["instances of an object", { instances: { input0: [1] } }, "echo"],
    ["instances of null", { instances: null }, "echo"],
    ["an instance of null", { instances: [null] }, "lenet5"],
    ["an instance of a string", { instances: ["a"] }, "echo"],
    ["ragged rows", { instances: [[1, 2], [3]] }, "echo"],
    ["rows named and not", { instances: [{ input0: 1 }, 2] }, "echo"],
    ["rows with other names", { instances: [{ input0: 1 }, { input1: 2 }] }, "pair"],
    ["rows without names for two inputs", { instances: [1] }, "pair"],
    ["an unknown input", { instances: [{ nothing: 1 }] }, "echo"],
    ["an input __proto__", '{"instances":[{"__proto__":1}]}', "echo"],
    ["another signature", { signature_name: "other", instances: [1] }, "echo"],
    ["another shape", { instances: [[1, 2]] }, "lenet5"],
    ["arrays 100 deep", { instances: deep(100) }, "echo"],
    ["arrays 5,000 deep", `{"instances":${"[".repeat(5000)}${"]".repeat(5000)}}`, "echo"],
    ["brackets by the hundred thousand", "[".repeat(500_000), "echo"],
    ["objects by the hundred thousand", `{"":`.repeat(100_000), "echo"],
    ["a signature of a number", { signature_name: 1, instances: [1] }, "echo"],
    ["base64 that is none", { instances: [{ b64: "*" }] }, "lenet5"],
    ["base64 of no image", { instances: [{ b64: "aGVsbG8=" }] }, "lenet5"],
    ["base64 of nothing", { instances: [{ b64: "" }] }, "lenet5"],
    ["base64 among numbers", { instances: [{ b64: "aGVsbG8=" }, 1] }, "lenet5"],
    ["2,000 images", { instances: Array(2000).fill({ b64: "aGVsbG8=" }) }, "lenet5"],
    ["base64 for a module", { instances: [{ b64: "aGVsbG8=" }] }, "echo", 501],
    ["a full queue", { instances: [1] }, "full", 503],
    ["no answer in time", { instances: [1] }, "late", 504],
    ["a fault of ours", { instances: [1] }, "bug", 500],
    ["a model that is not ready", { instances: [1] }, "broken", 503],
    ["an unknown model", { instances: [1] }, "none", 404],
    ["an unknown version", { instances: [1] }, "lenet5/versions/9", 404],
    ["an unknown label", { instances: [1] }, "lenet5/labels/canary", 404],
    ["a path out of the repository", { instances: [1] }, "..%2f..%2fetc", 404],
    ["a name that every object has", { instances: [1] }, "__proto__", 404],
  ])("%s", async (_, body, model, status = 400) => {
    const { json, text, headers, ...answer } = await predict(body, model);
    expect(json).toEqual({ error: expect.stringMatching(/./) });
    expect(text).not.toContain("secret");
    expect(answer.status).toBe(status);
    expect(headers.has("retry-after")).toBe(status === 503);
  });

  it.each([
    ["POST", "/v1/models/lenet5:classify", 501],
    ["POST", "/v1/models/lenet5:regress", 501],
    ["POST", "/v1/models/lenet5:delete", 400],
    ["POST", "/v1/models/lenet5", 400],
    ["POST", "/v1/models/:predict", 400],
    ["DELETE", "/v1/models/lenet5", 400],
    ["PUT", "/v1/models/lenet5:predict", 400],
    ["GET", "/v1/models/none", 404],
    ["GET", "/v1/models/lenet5/versions/9", 404],
    ["GET", "/v1/models/lenet5/labels/canary", 404],
    ["GET", "/v1/models/none/metadata", 404],
    ["GET", "/v1/models/broken/metadata", 503],
    ["GET", "/v1/nothing", 404],
    ["GET", "/v1/models/%zz", 400],
  ])("%s %s", async (method, path, status) => {
    const answer = await call(method, path, method === "POST" ? { instances: [1] } : undefined);
    expect(answer.json).toEqual({ error: expect.stringMatching(/./) });
    expect(answer.status).toBe(status);
  });

  it("deep nesting without JSON.parse having to find out, and brackets in texts and wide arrays that are none", async () => {
    const start = performance.now();
    for (let i = 0; i < 4; i++)
      expect((await predict("[".repeat(2 ** 20 - 1))).json).toMatchObject({ error: /levels/ });
    // JSON.parse takes some 70 ms for one of them.
    expect(performance.now() - start).toBeLessThan(200);
    const wide = { instances: Array(20_000).fill([1]), note: `\\"${"[{".repeat(10_000)}` };
    expect((await predict(wide, "echo")).status).toBe(200);
  });

  it("an input that there is not, before anything is made of its rows", async () => {
    const { status, json } = await predict({ instances: [{ nothing: 1 }, { other: 2 }] }, "echo");
    expect([status, json]).toEqual([400, { error: expect.stringContaining("one of input0 for inputs") }]);
  });

  it("a body over the limit", async () => {
    expect(await predict(" ".repeat(2 ** 20 + 1))).toMatchObject({ status: 400, json: { error: expect.any(String) } });
  });
});
