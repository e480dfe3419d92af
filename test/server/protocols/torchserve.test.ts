// TorchServe's inference and management API, against models that need no engine.
import { connect } from "node:net";
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { torchServe } from "../../../lib/server/protocols/torchserve.js";
import { type fakeRepository, log, serve } from "./fake-repository.js";

let app: FastifyInstance;
let url: string;
let port: number;
let repository: ReturnType<typeof fakeRepository>;
beforeAll(async () => {
  ({ app, url, port, repository } = await serve(torchServe));
});
afterAll(() => app.close());

async function call(
  method: string,
  path: string,
  body?: string | Uint8Array | FormData,
  headers: Record<string, string> = {},
) {
  const response = await fetch(url + path, { method, body: (body ?? null) as string, headers });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: JSON.parse(text) as unknown };
}

/** Sends bytes as they are and gives all that comes back. */
async function raw(bytes: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.end(bytes);
  let answer = "";
  for await (const chunk of socket) answer += chunk;
  return answer;
}

const IMAGE = Uint8Array.of(0x89, 1, 2, 3);
const SEEN = { bytes: 4, sum: 143 };

it("pings", async () => {
  expect(await call("GET", "/ping")).toMatchObject({ status: 200, json: { status: "Healthy" } });
  repository.ready = false;
  expect(await call("GET", "/ping")).toMatchObject({ status: 500, json: { status: "Unhealthy" } });
  repository.ready = true;
});

describe("predictions", () => {
  it.each([
    ["POST", "/predictions/lenet5"],
    ["PUT", "/predictions/lenet5"],
    ["POST", "/predictions/lenet5/1"],
  ])("take a body by %s %s", async (method, path) => {
    const answer = await call(method, path, IMAGE, { "content-type": "Image/PNG; q=1" });
    expect(answer).toMatchObject({ status: 200, json: { ...SEEN, contentType: "image/png" } });
    expect(answer.headers.get("content-type")).toBe("application/json; charset=utf-8");
  });

  it("take a body without a type, and one that comes in chunks", async () => {
    expect(
      await raw("PUT /predictions/lenet5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab"),
    ).toContain('{"bytes":2,"sum":195,"contentType":""}');
    const chunked =
      "PUT /predictions/lenet5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n";
    expect(await raw(chunked)).toContain('{"bytes":2,"sum":195,"contentType":""}');
  });

  it.each(["data", "body"])("take a file as the multipart field %s", async (name) => {
    const form = new FormData();
    form.set(name, new File([IMAGE], "digit.png", { type: "image/png" }));
    expect(await call("POST", "/predictions/lenet5", form)).toMatchObject({
      status: 200,
      json: { ...SEEN, contentType: "image/png" },
    });
  });

  it.each([
    ["JSON", "application/json", "[1, 2]"],
    ["a JSON object", "application/json; charset=utf-8", '{"pixels":[1]}'],
    ["pixels", "text/plain", "\xff\x80\0\xfe"],
  ])("take a multipart field of %s that is no file as its bytes", async (_, type, bytes) => {
    const head = `--x\r\nContent-Disposition: form-data; name="data"\r\nContent-Type: ${type}\r\n\r\n`;
    const body = Buffer.from(`${head}${bytes}\r\n--x--\r\n`, "latin1");
    const sum = Buffer.from(bytes, "latin1").reduce((total, byte) => total + byte, 0);
    const answer = await call("POST", "/predictions/lenet5", body, {
      "content-type": "multipart/form-data; boundary=x",
    });
    expect(answer).toMatchObject({ status: 200, json: { bytes: bytes.length, sum } });
  });

  it("take a multipart field that is no file", async () => {
    const form = new FormData();
    form.set("data", "[1]");
    expect(await call("POST", "/predictions/lenet5", form)).toMatchObject({ status: 200, json: { bytes: 3 } });
  });

  it("count", async () => {
    log.outcomes.length = 0;
    await call("POST", "/predictions/lenet5/1", IMAGE);
    await expect
      .poll(() => log.outcomes)
      .toMatchObject([{ protocol: "torchserve", model: "lenet5", version: "1", status: 200 }]);
  });
});

describe("bad requests", () => {
  it.each([
    ["POST", "/predictions/none", 404, "ModelNotFoundException", "Model not found: none"],
    [
      "POST",
      "/predictions/lenet5/9",
      404,
      "ModelVersionNotFoundException",
      "Model version: 9 does not exist for model: lenet5",
    ],
    ["POST", "/predictions/none/9", 404, "ModelNotFoundException", "Model not found: none"],
    ["POST", "/predictions/..%2f..%2fetc%2fpasswd", 404, "ModelNotFoundException", "Model not found: ../../etc/passwd"],
    ["POST", "/predictions/__proto__", 404, "ModelNotFoundException", "Model not found: __proto__"],
    ["POST", `/predictions/${"a".repeat(999)}`, 400, "BadRequestException", undefined],
    ["POST", "/predictions/%zz", 400, "BadRequestException", undefined],
    ["POST", "/predictions", 404, "ResourceNotFoundException", undefined],
    ["POST", "/predictions/a/b/c", 404, "ResourceNotFoundException", undefined],
    ["POST", "/predictions/broken", 503, "ServiceUnavailableException", undefined],
    ["DELETE", "/predictions/lenet5", 405, "MethodNotAllowedException", undefined],
    ["POST", "/ping", 405, "MethodNotAllowedException", undefined],
    ["GET", "/models/none", 404, "ModelNotFoundException", "Model not found: none"],
    ["GET", "/models/lenet5/9", 404, "ModelVersionNotFoundException", undefined],
    ["PUT", "/models/none", 404, "ModelNotFoundException", undefined],
    ["DELETE", "/models/none/1", 404, "ModelNotFoundException", undefined],
    ["DELETE", "/models/lenet5/9", 404, "ModelVersionNotFoundException", undefined],
    ["PUT", "/models/lenet5/9/set-default", 404, "ModelVersionNotFoundException", undefined],
    ["PUT", "/models/broken/1/set-default", 503, "ServiceUnavailableException", undefined],
    ["PUT", "/models/lenet5?min_worker=x", 400, "BadRequestException", undefined],
    ["PUT", "/models/lenet5?min_worker=3&max_worker=2", 400, "BadRequestException", undefined],
    ["PUT", "/models/lenet5?min_worker=-1", 400, "BadRequestException", undefined],
    ["GET", "/models?limit=0", 400, "BadRequestException", undefined],
    ["POST", "/models", 400, "BadRequestException", undefined],
    ["POST", "/models?url=..%2f..%2fetc%2fpasswd", 400, "BadRequestException", undefined],
    ["POST", "/models?url=a.mar&model_name=lenet5", 409, "ConflictStatusException", undefined],
    ["PATCH", "/models/lenet5", 405, "MethodNotAllowedException", undefined],
    ["GET", "/models/lenet5/1/set-default", 405, "MethodNotAllowedException", undefined],
  ])("%s %s", async (method, path, code, type, message) => {
    const answer = await call(method, path);
    expect(answer.json).toEqual({ code, type, message: message ?? expect.stringMatching(/./) });
    expect(answer.status).toBe(code);
    expect(answer.headers.has("retry-after")).toBe(code === 503);
  });

  it("an empty body", async () => {
    expect(await call("POST", "/predictions/lenet5")).toMatchObject({
      status: 400,
      json: { type: "BadRequestException" },
    });
  });

  it("a body over the limit, with its length and without", async () => {
    const whole = await call("POST", "/predictions/lenet5", new Uint8Array(2 ** 20 + 1));
    expect(whole).toMatchObject({ status: 413, json: { code: 413, type: "TooLongFrameException" } });
    const form = new FormData();
    form.set("data", new File([new Uint8Array(2 ** 20 + 1)], "digit.png"));
    expect(await call("POST", "/predictions/lenet5", form)).toMatchObject({ status: 413, json: { code: 413 } });
    const field = new FormData();
    field.set("data", "a".repeat(2 ** 20 + 1));
    expect(await call("POST", "/predictions/lenet5", field)).toMatchObject({ status: 413, json: { code: 413 } });
  });

  const part = '--x\r\nContent-Disposition: form-data; name="data"; filename="a"\r\n\r\nabc';
  it.each([
    ["that ends in a part", "multipart/form-data; boundary=x", part],
    ["that ends in a header", "multipart/form-data; boundary=x", part.slice(0, 30)],
    ["without a boundary", "multipart/form-data", part],
    ["with another boundary", "multipart/form-data; boundary=y", `${part}\r\n--x--\r\n`],
    ["without a field", "multipart/form-data; boundary=x", "--x--\r\n"],
    [
      "with another field",
      "multipart/form-data; boundary=x",
      `${part.replace("data;", "x;").replace('"data"', '"other"')}\r\n--x--\r\n`,
    ],
    ["with __proto__", "multipart/form-data; boundary=x", `${part.replace('"data"', '"__proto__"')}\r\n--x--\r\n`],
    ["that is empty", "multipart/form-data; boundary=x", ""],
    [
      "with a thousand headers",
      "multipart/form-data; boundary=x",
      `${part.replace("\r\n\r\n", `\r\n${"a: b\r\n".repeat(1000)}\r\n`)}\r\n--x--`,
    ],
  ])("multipart %s", async (_, contentType, body) => {
    const answer = await call("POST", "/predictions/lenet5", body, { "content-type": contentType });
    expect([200, 400]).toContain(answer.status);
    if (!_.includes("headers"))
      expect(answer.json).toEqual({ code: 400, type: "BadRequestException", message: expect.stringMatching(/./) });
  });

  it("a multipart connection cut in the middle leaves the server answering", async () => {
    const head =
      "POST /predictions/lenet5 HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n";
    expect(await raw(head + part)).toMatch(/^(HTTP\/1.1 400|$)/);
    expect(await call("POST", "/predictions/lenet5", IMAGE)).toMatchObject({ status: 200 });
  });

  it("many fields", async () => {
    const form = new FormData();
    for (let i = 0; i < 50; i++) form.append("data", new File([IMAGE], "a"));
    const answer = await call("POST", "/predictions/lenet5", form);
    expect(answer.json).toMatchObject({ code: 413 });
  });
});

describe("management", () => {
  it("lists models a page at a time", async () => {
    const all = (await call("GET", "/models")).json as { models: { modelName: string; modelUrl: string }[] };
    expect(all.models).toContainEqual({ modelName: "lenet5", modelUrl: "lenet5/2/model.pt" });
    expect(all).not.toHaveProperty("nextPageToken");
    const page = (await call("GET", "/models?limit=2&next_page_token=1")).json;
    expect(page).toEqual({ models: all.models.slice(1, 3), nextPageToken: "3" });
  });

  it("describes the default version, one or all", async () => {
    const [one] = (await call("GET", "/models/lenet5")).json as object[];
    expect(one).toEqual({
      modelName: "lenet5",
      modelVersion: "2",
      modelUrl: "lenet5/2/model.pt",
      runtime: "node",
      minWorkers: 1,
      maxWorkers: 1,
      batchSize: 32,
      maxBatchDelay: 1,
      workers: [
        {
          id: expect.any(String),
          startTime: "1970-01-01T00:00:00.000Z",
          status: "READY",
          gpu: false,
          memoryUsage: expect.any(Number),
        },
      ],
      jobQueueStatus: { remainingCapacity: 97, pendingRequests: 3 },
    });
    expect((await call("GET", "/models/lenet5/1")).json).toMatchObject([{ modelVersion: "1" }]);
    expect((await call("GET", "/models/lenet5/all")).json).toMatchObject([
      { modelVersion: "1" },
      { modelVersion: "2" },
    ]);
    expect((await call("GET", "/models/broken")).json).toMatchObject([{ minWorkers: 0, workers: [] }]);
  });

  it("makes a version the default", async () => {
    expect(await call("PUT", "/models/lenet5/1/set-default")).toMatchObject({ status: 200 });
    expect((await call("GET", "/models/lenet5")).json).toMatchObject([{ modelVersion: "1" }]);
    await call("PUT", "/models/lenet5/2/set-default");
  });

  it("registers a file, with the limits of its batches", async () => {
    const answer = await call(
      "POST",
      "/models?url=lenet5.mar&model_name=new&batch_size=8&max_batch_delay=5&initial_workers=1&synchronous=true",
    );
    expect(answer).toMatchObject({
      status: 200,
      json: { status: 'Model "new" Version: 1 registered with 1 initial workers' },
    });
    expect(log.calls.at(-1)).toBe('register lenet5.mar new 1 {"maxBatchSize":8,"maxQueueDelayMicroseconds":5000}');
    expect(await call("POST", "/predictions/new", IMAGE)).toMatchObject({ status: 200 });
  });

  it("unloads where no worker is wanted and where a model is unregistered, and loads where one is", async () => {
    expect(await call("PUT", "/models/pair?max_worker=0&min_worker=0")).toMatchObject({ status: 200 });
    expect(log.calls.at(-1)).toBe("unload pair 1");
    expect(await call("POST", "/predictions/pair", IMAGE)).toMatchObject({ status: 503 });
    expect(await call("PUT", "/models/pair?min_worker=2&synchronous=true")).toMatchObject({ status: 200 });
    expect(log.calls.at(-1)).toBe("load pair 1");
    expect(await call("POST", "/predictions/pair", IMAGE)).toMatchObject({ status: 200 });
    expect(await call("DELETE", "/models/pair/1")).toMatchObject({
      status: 200,
      json: { status: 'Model "pair" unregistered' },
    });
    expect(log.calls.at(-1)).toBe("unregister pair 1");
    expect(await call("POST", "/predictions/pair/1", IMAGE)).toMatchObject({ status: 404 });
  });

  it.each([
    ["PUT", "/models/lenet5?min_worker=one"],
    ["PUT", "/models/lenet5?min_worker=1.5"],
    ["PUT", "/models/lenet5?min_worker=1&min_worker=2"],
    ["PUT", "/models/lenet5?synchronous=perhaps"],
    ["POST", "/models?url=lenet5.mar&batch_size=0"],
    ["POST", "/models?url=lenet5.mar&batch_size=1e3"],
    ["POST", "/models?url="],
    ["GET", "/models?limit=-1"],
  ])("refuses %s %s", async (method, path) => {
    expect(await call(method, path)).toMatchObject({ status: 400, json: { code: 400, type: "BadRequestException" } });
  });

  it("is not there unless it is asked for", async () => {
    const other = await serve(torchServe, { management: false });
    try {
      const response = await fetch(`${other.url}/models`);
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ code: 404, type: "ResourceNotFoundException" });
    } finally {
      await other.app.close();
    }
  });
});
