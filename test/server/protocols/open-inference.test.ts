// The Open Inference Protocol over REST, against models that need no engine.
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openInference } from "../../../lib/server/protocols/open-inference.js";
import { type fakeRepository, log, serve } from "./fake-repository.js";

let app: FastifyInstance;
let url: string;
let repository: ReturnType<typeof fakeRepository>;
beforeAll(async () => {
  ({ app, url, repository } = await serve(openInference));
});
afterAll(() => app.close());

const PIXELS = Array.from({ length: 784 }, (_, index) => (index % 7) / 8);
const SUM = PIXELS.reduce((all, pixel) => all + pixel, 0);
const image = (more: object = {}) => ({
  name: "input0",
  shape: [1, 1, 28, 28],
  datatype: "FP32",
  data: PIXELS,
  ...more,
});

async function post(path: string, body: unknown, headers: Record<string, string> = {}) {
  const text = typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body);
  const response = await fetch(`${url}${path}`, { method: "POST", body: text as string, headers });
  const bytes = Buffer.from(await response.arrayBuffer());
  const json = () => JSON.parse(bytes.toString()) as Record<string, unknown>;
  return { status: response.status, headers: response.headers, bytes, json };
}
const infer = (body: unknown, model = "lenet5", headers = {}) => post(`/v2/models/${model}/infer`, body, headers);
const binary = (json: object, ...tensors: Uint8Array[]) => {
  const head = Buffer.from(JSON.stringify(json));
  return {
    body: Buffer.concat([head, ...tensors]),
    headers: { "Inference-Header-Content-Length": String(head.length) },
  };
};

describe("what the server says of itself and its models", () => {
  it("has a name, a version and extensions", async () => {
    for (const path of ["/v2", "/v2/"])
      expect(await (await fetch(url + path)).json()).toEqual({
        name: "lenet5-libtorch",
        version: expect.stringMatching(/^\d+\.\d+\.\d+/),
        extensions: ["binary_tensor_data", "model_repository"],
      });
  });

  it("is live at once and ready when the repository is", async () => {
    const health = async (kind: string) => {
      const response = await fetch(`${url}/v2/health/${kind}`);
      return [response.status, await response.json()];
    };
    expect(await health("live")).toEqual([200, { live: true, ready: true }]);
    expect(await health("ready")).toEqual([200, { live: true, ready: true }]);
    repository.ready = false;
    expect(await health("live")).toEqual([200, { live: true, ready: false }]);
    expect(await health("ready")).toEqual([503, { live: true, ready: false }]);
    repository.ready = true;
  });

  it("describes a model, and one of its versions", async () => {
    const lenet5 = {
      name: "lenet5",
      versions: ["1", "2"],
      platform: "pytorch_torchscript",
      inputs: [{ name: "input0", datatype: "FP32", shape: [-1, 1, 28, 28] }],
      outputs: [{ name: "output0", datatype: "FP32", shape: [-1, 10] }],
    };
    expect(await (await fetch(`${url}/v2/models/lenet5`)).json()).toEqual(lenet5);
    expect(await (await fetch(`${url}/v2/models/lenet5/versions/2`)).json()).toEqual(lenet5);
    expect(await (await fetch(`${url}/v2/models/echo`)).json()).toMatchObject({
      inputs: [{ name: "input0", datatype: "", shape: [-1] }],
    });
  });

  it.each([
    ["lenet5", 200],
    ["lenet5/versions/2", 200],
    ["lenet5/versions/3", 404],
    ["broken", 503],
    ["none", 404],
  ])("says of %s whether it is ready", async (model, status) => {
    const response = await fetch(`${url}/v2/models/${model}/ready`);
    expect(response.status).toBe(status);
    const answer = await response.json();
    expect(answer).toEqual(
      status === 404 ? { error: expect.any(String) } : { name: model.split("/")[0], live: true, ready: status === 200 },
    );
  });
});

describe("inference in JSON", () => {
  it.each([
    ["flat", PIXELS],
    ["nested", [[Array.from({ length: 28 }, (_, row) => PIXELS.slice(row * 28, row * 28 + 28))]]],
  ])("takes %s data", async (_, data) => {
    const { status, json } = await infer({ id: "42", inputs: [image({ data })], outputs: [{ name: "output0" }] });
    expect(json()).toEqual({
      model_name: "lenet5",
      model_version: "2",
      id: "42",
      outputs: [
        {
          name: "output0",
          shape: [1, 10],
          datatype: "FP32",
          data: Array.from({ length: 10 }, (_, i) => Math.fround(SUM * i)),
        },
      ],
    });
    expect(status).toBe(200);
  });

  it("answers with the version asked for, and without an id where none was given", async () => {
    const { json } = await post("/v2/models/lenet5/versions/1/infer", {
      inputs: [image()],
      parameters: { unknown: 1 },
    });
    expect(json()).toMatchObject({ model_version: "1" });
    expect(json()).not.toHaveProperty("id");
  });

  it("gives the outputs asked for, in that order", async () => {
    const inputs = [0, 1].map((i) => ({ name: `input${i}`, shape: [1], datatype: "INT32", data: [i] }));
    const { json } = await infer({ inputs, outputs: [{ name: "output1" }, { name: "output0" }] }, "pair");
    expect(json()).toMatchObject({
      outputs: [
        { name: "output1", data: [1] },
        { name: "output0", data: [0] },
      ],
    });
  });

  it.each([
    ["BOOL", "[true,false]", "[true,false]"],
    ["UINT8", "[0,255]", "[0,255]"],
    ["UINT16", "[0,65535]", "[0,65535]"],
    ["UINT32", "[0,4294967295]", "[0,4294967295]"],
    ["INT8", "[-128,127]", "[-128,127]"],
    ["INT16", "[-32768,32767]", "[-32768,32767]"],
    ["INT32", "[-2147483648,2147483647]", "[-2147483648,2147483647]"],
    ["INT64", "[-9007199254740991,9007199254740991]", "[-9007199254740991,9007199254740991]"],
    ["FP32", "[0.5,NaN]", "[0.5,NaN]"],
    ["FP64", "[-Infinity,1e300]", "[-Infinity,1e+300]"],
    ["FP64", "[null,Infinity]", "[NaN,Infinity]"],
  ])("carries %s %s", async (datatype, data, answered) => {
    const text = `{"id":"\\"NaN","inputs":[{"name":"input0","shape":[2],"datatype":"${datatype}","data":${data}}]}`;
    const { status, bytes } = await infer(text, "echo");
    const want = `{"model_name":"echo","model_version":"1","id":"\\"NaN","outputs":[{"name":"output0","shape":[2],"datatype":"${datatype}","data":${answered}}]}`;
    expect(bytes.toString()).toBe(want);
    expect(status).toBe(200);
  });

  it("writes 64-bit integers exactly", async () => {
    const { body, headers } = binary(
      { inputs: [{ name: "input0", shape: [2], datatype: "INT64", parameters: { binary_data_size: 16 } }] },
      new Uint8Array(BigInt64Array.of(2n ** 63n - 1n, -(2n ** 53n) - 1n).buffer),
    );
    expect((await infer(body, "echo", headers)).bytes.toString()).toContain(
      '"data":[9223372036854775807,-9007199254740993]',
    );
  });

  it("takes scalars and tensors without elements", async () => {
    const echo = async (shape: number[], data: unknown[]) =>
      (await infer({ inputs: [{ name: "input0", shape, datatype: "FP32", data }] }, "echo")).json().outputs;
    expect(await echo([], [5])).toMatchObject([{ shape: [], data: [5] }]);
    expect(await echo([0, 3], [])).toMatchObject([{ shape: [0, 3], data: [] }]);
    expect(await echo([2, 0], [[], []])).toMatchObject([{ shape: [2, 0], data: [] }]);
  });
});

describe("binary tensors", () => {
  const raw = new Uint8Array(Float32Array.from(PIXELS).buffer);
  const size = { parameters: { binary_data_size: 3136 } };

  it("are taken and given", async () => {
    const json = { id: "7", inputs: [{ ...image(size), data: undefined }], parameters: { binary_data_output: true } };
    const { body, headers } = binary(json, raw);
    const answer = await infer(body, "lenet5", headers);
    expect(answer.status).toBe(200);
    const length = Number(answer.headers.get("inference-header-content-length"));
    expect(JSON.parse(answer.bytes.subarray(0, length).toString())).toEqual({
      model_name: "lenet5",
      model_version: "2",
      id: "7",
      outputs: [{ name: "output0", shape: [1, 10], datatype: "FP32", parameters: { binary_data_size: 40 } }],
    });
    const numbers = new Float32Array(new Uint8Array(answer.bytes.subarray(length)).buffer);
    expect([...numbers]).toEqual(Array.from({ length: 10 }, (_, i) => Math.fround(SUM * i)));
  });

  it("come again and again with the same JSON, and each has its own answer", async () => {
    const json = { inputs: [{ name: "input0", shape: [2], datatype: "INT16", parameters: { binary_data_size: 4 } }] };
    for (const numbers of [
      [1, 2],
      [3, 4],
      [5, 6],
    ]) {
      const { body, headers } = binary(json, new Uint8Array(Int16Array.from(numbers).buffer));
      expect((await infer(body, "echo", headers)).json()).toMatchObject({ outputs: [{ shape: [2], data: numbers }] });
    }
  });

  it("may be asked for output by output", async () => {
    const inputs = [0, 1].map((i) => ({ name: `input${i}`, shape: [1], datatype: "INT16", data: [i + 5] }));
    const outputs = [{ name: "output0", parameters: { binary_data: false } }, { name: "output1" }];
    const answer = await infer({ inputs, outputs, parameters: { binary_data_output: true } }, "pair");
    const length = Number(answer.headers.get("inference-header-content-length"));
    expect(JSON.parse(answer.bytes.subarray(0, length).toString()).outputs).toEqual([
      { name: "output0", shape: [1], datatype: "INT16", data: [5] },
      { name: "output1", shape: [1], datatype: "INT16", parameters: { binary_data_size: 2 } },
    ]);
    expect(answer.bytes.readInt16LE(length)).toBe(6);
  });

  it.each(["FP16", "BF16"])("are the only form of %s", async (datatype) => {
    const input = { name: "input0", shape: [3], datatype };
    expect((await infer({ inputs: [{ ...input, data: [1, 2, 3] }] }, "echo")).status).toBe(400);
    const bits = Buffer.from("003c00400042", "hex");
    const inputs = [{ ...input, parameters: { binary_data_size: 6 } }];
    const json = binary({ inputs }, bits);
    expect((await infer(json.body, "echo", json.headers)).status).toBe(400);
    const both = binary({ inputs, parameters: { binary_data_output: true } }, bits);
    const answer = await infer(both.body, "echo", both.headers);
    expect(answer.status).toBe(200);
    expect(answer.bytes.subarray(-6).equals(bits)).toBe(true);
  });

  const lie = (parameters: object, more: object = {}) => ({
    inputs: [{ ...image(), data: undefined, parameters, ...more }],
  });
  it.each<[string, object, Uint8Array, Record<string, string>]>([
    ["a size beyond the bytes", lie({ binary_data_size: 4000 }), raw, {}],
    ["a size below the shape", lie({ binary_data_size: 3132 }), raw, {}],
    ["bytes that no tensor asks for", lie({ binary_data_size: 3136 }), new Uint8Array(3140), {}],
    ["a negative size", lie({ binary_data_size: -4 }), raw, {}],
    ["a size of 2^60", lie({ binary_data_size: 2 ** 60 }), raw, {}],
    ["a shape of 2^52", lie({ binary_data_size: 3136 }, { shape: [2 ** 26, 2 ** 26] }), raw, {}],
    ["a shape beyond 2^53", lie({ binary_data_size: 3136 }, { shape: [2 ** 30, 2 ** 30] }), raw, {}],
    ["data as well", lie({ binary_data_size: 3136 }, { data: PIXELS }), raw, {}],
    ["a header beyond the body", lie({ binary_data_size: 3136 }), raw, { "Inference-Header-Content-Length": "999999" }],
    ["a header within the JSON", lie({ binary_data_size: 3136 }), raw, { "Inference-Header-Content-Length": "10" }],
    ["a header that is no number", lie({ binary_data_size: 3136 }), raw, { "Inference-Header-Content-Length": "1e2" }],
    ["a negative header", lie({ binary_data_size: 3136 }), raw, { "Inference-Header-Content-Length": "-1" }],
  ])("are refused for %s", async (_, json, tensor, more) => {
    const { body, headers } = binary(json, tensor);
    const answer = await infer(body, "lenet5", { ...headers, ...more });
    expect(answer.json()).toEqual({ error: expect.stringMatching(/^Expected/) });
    expect(answer.status).toBe(400);
  });

  it("are refused for a BOOL that is neither 0 nor 1", async () => {
    const { body, headers } = binary(
      { inputs: [{ name: "input0", shape: [1], datatype: "BOOL", parameters: { binary_data_size: 1 } }] },
      Uint8Array.of(2),
    );
    expect((await infer(body, "echo", headers)).status).toBe(400);
  });
});

describe("bad requests", () => {
  const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);
  const one = (more: object) => ({ inputs: [{ name: "input0", shape: [1], datatype: "FP32", data: [1], ...more }] });
  it.each<[string, unknown, number?]>([
    ["nothing", ""],
    ["malformed JSON", "{"],
    ["bytes that are no UTF-8", Uint8Array.of(0x7b, 0xff, 0x7d)],
    ["a PNG", Uint8Array.of(0x89, 0x50, 0x4e, 0x47)],
    ["null", "null"],
    ["a number", "1"],
    ["an array", "[]"],
    ["no inputs", "{}"],
    ["inputs under __proto__", '{"__proto__":{"inputs":[]}}'],
    ["an empty list of inputs", { inputs: [] }],
    ["an input of null", { inputs: [null] }],
    ["an input without a name", { inputs: [{ shape: [1], datatype: "FP32", data: [1] }] }],
    ["an input without a shape", { inputs: [{ name: "input0", datatype: "FP32", data: [1] }] }],
    ["an input without data", one({ data: undefined })],
    ["data of null", one({ data: null })],
    ["data of a string", one({ data: "1" })],
    ["data of strings", one({ data: ["1"] })],
    ["too few elements", one({ shape: [2] })],
    ["too many elements", one({ data: [1, 2] })],
    ["elements in an array too many", one({ data: [[1]] })],
    ["ragged arrays", one({ shape: [2, 2], data: [[1, 2], [3]] })],
    [
      "arrays of another shape",
      one({
        shape: [2, 3],
        data: [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
      }),
    ],
    ["arrays 2,000 deep", one({ data: nested(2000) })],
    ["65 dimensions", one({ shape: Array(65).fill(1) })],
    ["a negative size", one({ shape: [-1] })],
    ["a size that is no integer", one({ shape: [1.5] })],
    ["a shape of 2^50 elements", one({ shape: [2 ** 25, 2 ** 25] })],
    ["a shape of 2^50 elements, nested", one({ shape: [1, 2 ** 50], data: [[1]] })],
    ["an unknown datatype", one({ datatype: "FP8" })],
    ["a datatype that every object has", one({ datatype: "constructor" })],
    ["BYTES", one({ datatype: "BYTES", data: ["a"] }), 501],
    ["UINT64", one({ datatype: "UINT64" }), 501],
    ["shared memory", one({ parameters: { shared_memory_region: "x" } }), 501],
    ["a fraction for INT32", one({ datatype: "INT32", data: [1.5] })],
    ["256 for UINT8", one({ datatype: "UINT8", data: [256] })],
    [
      "an INT64 that JSON cannot hold",
      '{"inputs":[{"name":"input0","shape":[1],"datatype":"INT64","data":[9007199254740993]}]}',
    ],
    ["2 for BOOL", one({ datatype: "BOOL", data: [2] })],
    ["an input twice", { inputs: [one({}).inputs[0], one({}).inputs[0]] }],
    ["an unknown output", { ...one({}), outputs: [{ name: "nothing" }] }],
    ["an output twice", { ...one({}), outputs: [{ name: "output0" }, { name: "output0" }] }],
    ["an output that every object has", { ...one({}), outputs: [{ name: "__proto__" }] }],
    ["a classification", { ...one({}), outputs: [{ name: "output0", parameters: { classification: 3 } }] }, 501],
    ["outputs of null", { ...one({}), outputs: [null] }],
    ["2,000 inputs", { inputs: Array(2000).fill(one({}).inputs[0]) }],
    ["an id of an object", { ...one({}), id: {} }],
    ["an id of a number", { ...one({}), id: 1 }],
    ["inputs that are no list", { inputs: one({}).inputs[0] }],
    ["a shape that is no list", one({ shape: 1 })],
    ["a shape of words", one({ shape: ["1"] })],
    ["a shape of null", one({ shape: [null] })],
    ["a name of null", one({ name: null })],
    ["a size of null", one({ data: undefined, parameters: { binary_data_size: null } })],
    ["a size of a word", one({ data: undefined, parameters: { binary_data_size: "4" } })],
    ["yes for true", { ...one({}), parameters: { binary_data_output: "true" } }],
  ])("%s", async (_, body, status = 400) => {
    const answer = await infer(body, "echo");
    expect(answer.json()).toEqual({ error: expect.stringMatching(/./) });
    expect(answer.status).toBe(status);
  });

  it.each([
    ["an unknown input", { name: "input1" }],
    ["another shape", { shape: [1, 784] }],
    ["another datatype", { datatype: "FP64" }],
  ])("%s for LeNet-5", async (_, more) => {
    const answer = await infer({ inputs: [image(more)] });
    expect(answer.json()).toEqual({ error: expect.stringMatching(/^Expected/) });
    expect(answer.status).toBe(400);
  });

  it.each([
    ["GET", "/v2/nothing", 404],
    ["GET", "/v2/models/none", 404],
    ["GET", "/v2/models/lenet5/versions/9", 404],
    ["POST", "/v2/models/none/infer", 404],
    ["POST", "/v2/models/lenet5/versions/none/infer", 404],
    ["POST", "/v2/models/..%2f..%2fetc%2fpasswd/infer", 404],
    ["POST", "/v2/models/__proto__/infer", 404],
    ["POST", `/v2/models/${"a".repeat(99)}/infer`, 404],
    ["POST", `/v2/models/${"a".repeat(999)}/infer`, 400],
    ["POST", "/v2/models/%zz/infer", 400],
    ["GET", "/v2/models/%ff", 400],
    ["POST", "/v2/models/broken/infer", 503],
    ["POST", "/v2/models/full/infer", 503],
    ["POST", "/v2/models/late/infer", 503],
    ["POST", "/v2/models/bug/infer", 500],
    ["GET", "/v2/models/lenet5/infer", 405],
    ["DELETE", "/v2/models/lenet5", 405],
    ["PATCH", "/v2/health/live", 405],
  ])("%s %s", async (method, path, status) => {
    const body =
      method === "POST"
        ? JSON.stringify({ inputs: [{ name: "input0", shape: [1], datatype: "FP32", data: [1] }] })
        : null;
    const response = await fetch(url + path, { method, body });
    expect(response.status).toBe(status);
    const { error } = (await response.json()) as { error: string };
    expect(error).not.toContain("secret");
    expect(response.headers.has("retry-after")).toBe(status === 503);
    expect(response.headers.has("allow")).toBe(status === 405);
  });

  it("a body over the limit", async () => {
    const answer = await infer(Buffer.alloc(2 ** 20 + 1, " "));
    expect(answer.json()).toEqual({ error: expect.any(String) });
    expect(answer.status).toBe(400);
  });
});

describe("the repository", () => {
  it("tells what there is", async () => {
    const all = (await (await post("/v2/repository/index", "")).json()) as unknown as { name: string }[];
    expect(all).toContainEqual({ name: "lenet5", version: "2", state: "READY", reason: "" });
    expect(all).toContainEqual({ name: "broken", version: "1", state: "UNAVAILABLE", reason: "not loaded" });
    const ready = (await (await post("/v2/repository/index", { ready: true })).json()) as unknown as { name: string }[];
    expect(ready.map(({ name }) => name)).not.toContain("broken");
  });

  it("loads and unloads", async () => {
    expect((await post("/v2/repository/models/pair/unload", "")).status).toBe(200);
    expect((await fetch(`${url}/v2/models/pair/ready`)).status).toBe(503);
    expect((await post("/v2/repository/models/pair/load", "")).status).toBe(200);
    expect((await fetch(`${url}/v2/models/pair/ready`)).status).toBe(200);
    expect((await post("/v2/repository/models/none/load", "")).status).toBe(404);
    expect((await post("/v2/repository/models/pair/load", { parameters: { config: "{}" } })).status).toBe(501);
  });

  it("is not there without management", async () => {
    const other = await serve(openInference, { management: false });
    try {
      const response = await fetch(`${other.url}/v2/repository/index`, { method: "POST" });
      expect(response.status).toBe(404);
      expect(await response.json()).toEqual({ error: expect.any(String) });
      expect(((await (await fetch(`${other.url}/v2`)).json()) as { extensions: string[] }).extensions).toEqual([
        "binary_tensor_data",
      ]);
    } finally {
      await other.app.close();
    }
  });
});

it("lives and is ready whatever else the address of the probe says", async () => {
  const other = await serve(openInference);
  const statusOf = async (path: string) => (await fetch(`${other.url}/v2/health/${path}`)).status;
  try {
    other.repository.ready = false;
    for (const path of ["live", "live?verbose=1", "%6Cive", "live?"])
      expect([path, await statusOf(path)]).toEqual([path, 200]);
    for (const path of ["ready", "ready?live", "ready?as=live"])
      expect([path, await statusOf(path)]).toEqual([path, 503]);
  } finally {
    await other.app.close();
  }
});

it("asks for the token, but not for whether it lives", async () => {
  const other = await serve(openInference, { token: "secret" });
  try {
    expect((await fetch(`${other.url}/v2/health/ready`)).status).toBe(200);
    for (const path of ["/v2", "/v2/models/lenet5", "/v2/models/lenet5/infer", "/v2/repository/index"]) {
      const response = await fetch(other.url + path, { method: path.endsWith("5") || path === "/v2" ? "GET" : "POST" });
      expect(response.status).toBe(401);
      expect(await response.json()).toEqual({ error: expect.any(String) });
    }
    expect((await fetch(`${other.url}/v2`, { headers: { authorization: "Bearer secret" } })).status).toBe(200);
  } finally {
    await other.app.close();
  }
});

it("takes a request whose client has gone out of the queue", async () => {
  const { waiting, aborted } = log;
  const gone = new AbortController();
  const body = JSON.stringify({ inputs: [{ name: "input0", shape: [1], datatype: "FP32", data: [1] }] });
  const request = fetch(`${url}/v2/models/slow/infer`, { method: "POST", body, signal: gone.signal }).catch(
    () => "gone",
  );
  await expect.poll(() => log.waiting).toBe(waiting + 1);
  gone.abort();
  expect(await request).toBe("gone");
  await expect.poll(() => log.aborted).toBe(aborted + 1);
});

it("counts requests by model, and those for unknown models without one", async () => {
  log.outcomes.length = 0;
  await infer({ inputs: [image()] });
  await infer({ inputs: [image()] }, "none");
  await expect
    .poll(() => log.outcomes)
    .toMatchObject([
      { protocol: "open-inference", model: "lenet5", version: "2", status: 200 },
      { protocol: "open-inference", model: undefined, version: undefined, status: 404 },
    ]);
  expect(log.outcomes[0]!.seconds).toBeGreaterThan(0);
});
