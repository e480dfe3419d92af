import { once } from "node:events";
import http2 from "node:http2";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { LeNet5Error } from "../../../lib/errors.js";
import { datatypeOf } from "../../../lib/server/datatypes.js";
import { fakeModel } from "../fake-models.js";
import { Client, imageRequest, onlyWith, type Served, serve } from "../grpc/client.js";

const CODE = {
  cancelled: 1,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
};

const open: Served[] = [];
afterEach(async () => {
  for (const { client, server } of open.splice(0)) {
    client.close();
    await server.close(1000);
  }
});
async function served(...args: Parameters<typeof serve>): Promise<Served> {
  const all = await serve(...args);
  open.push(all);
  return all;
}

const floats = (bytes: Buffer): number[] => [...new Float32Array(Uint8Array.from(bytes).buffer)];
const echoed = (datatype: string, shape: number[], fields: object): object => ({
  model_name: "echo",
  id: "7",
  inputs: [{ name: "input", datatype, shape, ...fields }],
});

describe("the server and its models", () => {
  it("are live, ready and described", async () => {
    const { client, repository } = await served();
    expect(await client.call("ServerLive")).toEqual({ live: true });
    expect(await client.call("ServerReady")).toEqual({ ready: true });
    expect(await client.call("ServerMetadata")).toMatchObject({
      name: "lenet5-libtorch",
      extensions: ["model_repository"],
    });
    expect(await client.call("ModelMetadata", { name: "sums" })).toEqual({
      name: "sums",
      versions: ["1", "2"],
      platform: "pytorch_torchscript",
      inputs: [{ name: "input0", datatype: "FP32", shape: [-1, 1, 28, 28] }],
      outputs: [{ name: "output0", datatype: "FP32", shape: [-1, 2] }],
    });
    expect((await client.call("ModelMetadata", { name: "echo" })).inputs).toEqual([
      { name: "input", datatype: "", shape: [-1] },
    ]);
    const ready = async (name: string, version = ""): Promise<boolean> =>
      (await client.call("ModelReady", { name, version })).ready;
    expect([await ready("sums"), await ready("sums", "2"), await ready("sums", "3"), await ready("nobody")]).toEqual([
      true,
      true,
      false,
      false,
    ]);
    repository.ready = false;
    expect(await client.call("ServerReady")).toEqual({ ready: false });
    expect(await client.call("ServerLive")).toEqual({ live: true });
  });

  it("tell of their health, once and as it changes", async () => {
    const { client, repository, server } = await served();
    expect(await client.call("Check")).toEqual({ status: "SERVING" });
    expect(await client.call("Check", { service: "inference.GRPCInferenceService" })).toEqual({ status: "SERVING" });
    await expect(client.call("Check", { service: "other" })).rejects.toMatchObject({ code: CODE.notFound });
    const told: string[] = [];
    const watch = client.health.Watch({ service: "" });
    watch.on("data", ({ status }: { status: string }) => told.push(status));
    const unknown = client.health.Watch({ service: "other" });
    const [first] = await once(unknown, "data");
    expect(first).toEqual({ status: "SERVICE_UNKNOWN" });
    unknown.on("error", () => {}).cancel();
    repository.ready = false;
    await expect.poll(() => told).toEqual(["SERVING", "NOT_SERVING"]);
    repository.ready = true;
    await expect.poll(() => told).toEqual(["SERVING", "NOT_SERVING", "SERVING"]);
    const ended = once(watch, "end");
    await server.close(1000);
    await ended;
    expect(told.at(-1)).toBe("NOT_SERVING");
  });

  it("are listed, loaded and unloaded where management is on", async () => {
    const { client, repository } = await served();
    await client.call("RepositoryModelUnload", {
      model_name: "echo",
      parameters: { unload_dependents: { bool_param: false } },
    });
    expect(await client.call("RepositoryIndex")).toEqual({
      models: [
        { name: "sums", version: "1", state: "READY", reason: "" },
        { name: "sums", version: "2", state: "READY", reason: "" },
        { name: "echo", version: "1", state: "UNAVAILABLE", reason: "unloaded" },
      ],
    });
    expect((await client.call("RepositoryIndex", { ready: true })).models).toHaveLength(2);
    await expect(client.call("ModelInfer", echoed("BOOL", [0], {}))).rejects.toMatchObject({ code: CODE.unavailable });
    await client.call("RepositoryModelLoad", { model_name: "echo" });
    expect(repository.loaded).toEqual(["echo"]);
    await client.call("ModelInfer", echoed("BOOL", [0], {}));
    await expect(client.call("RepositoryModelLoad", { model_name: "nobody" })).rejects.toMatchObject({
      code: CODE.notFound,
    });
    const override = { model_name: "echo", parameters: { config: { string_param: "{}" } } };
    await expect(client.call("RepositoryModelLoad", override)).rejects.toMatchObject({ code: CODE.unimplemented });
  });

  it("are left alone where it is off", async () => {
    const { client } = await served({ management: false });
    expect((await client.call("ServerMetadata")).extensions).toEqual([]);
    for (const name of ["RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"])
      await expect(client.call(name)).rejects.toMatchObject({ code: CODE.unimplemented });
  });
});

describe("an inference", () => {
  it("takes and gives raw contents", async () => {
    const { client, metrics } = await served();
    const reply = await client.call("ModelInfer", imageRequest(0.5, { id: "42", outputs: [{ name: "output0" }] }));
    expect(reply).toMatchObject({ model_name: "sums", model_version: "2", id: "42" });
    expect(reply.outputs).toEqual([
      expect.objectContaining({ name: "output0", datatype: "FP32", shape: [1, 2], contents: null }),
    ]);
    expect(reply.raw_output_contents.map(floats)).toEqual([[392, -392]]);
    const first = await client.call("ModelInfer", imageRequest(1, { model_version: "1" }));
    expect(first.model_version).toBe("1");
    const seen = metrics.outcomes.map(({ protocol, model, version, status }) => [protocol, model, version, status]);
    expect(seen).toEqual([
      ["open-inference-grpc", "sums", "2", 200],
      ["open-inference-grpc", "sums", "1", 200],
    ]);
  });

  it.each([
    ["BOOL", "bool_contents", [true, false, true]],
    ["INT8", "int_contents", [-128, 0, 127]],
    ["INT16", "int_contents", [-32768, 0, 32767]],
    ["INT32", "int_contents", [-2147483648, -1, 2147483647]],
    ["INT64", "int64_contents", [-9007199254740991, -1, 9007199254740991]],
    ["UINT8", "uint_contents", [0, 128, 255]],
    ["UINT16", "uint_contents", [0, 300, 65535]],
    ["UINT32", "uint_contents", [0, 1, 4294967295]],
    ["FP32", "fp32_contents", [0.5, -1.25, 2 ** 100]],
    ["FP64", "fp64_contents", [0.1, -1.25, 1e300]],
  ])("takes and gives %s in its typed contents", async (datatype, field, values) => {
    const { client } = await served();
    const reply = await client.call("ModelInfer", echoed(datatype, [1, 3], { contents: { [field]: values } }));
    expect(reply.raw_output_contents).toEqual([]);
    expect(reply.outputs[0]).toMatchObject({ name: "echo", datatype, shape: [1, 3] });
    expect(reply.outputs[0].contents[field]).toEqual(values);
    expect(reply.id).toBe("7");
  });

  it.each(["FP16", "BF16"])("takes and gives %s raw", async (datatype) => {
    const { client } = await served();
    const raw = Buffer.from([1, 2, 3, 4]);
    const reply = await client.call("ModelInfer", { ...echoed(datatype, [2], {}), raw_input_contents: [raw] });
    expect(reply.raw_output_contents).toEqual([raw]);
    await expect(client.call("ModelInfer", echoed(datatype, [2], {}))).rejects.toMatchObject({
      code: CODE.invalidArgument,
    });
  });

  it("takes elements that are not packed, and contents in several parts", async () => {
    const { client } = await served();
    const part = (...bytes: number[]): number[] => [0x2a, bytes.length, ...bytes];
    // contents { int_contents: 1 } contents { int_contents: [2] }, for shape [2]
    const input = [
      0x0a,
      5,
      ...Buffer.from("input"),
      0x12,
      5,
      ...Buffer.from("INT32"),
      0x18,
      2,
      ...part(0x10, 1),
      ...part(0x12, 1, 2),
    ];
    const bytes = Buffer.from([0x0a, 4, ...Buffer.from("echo"), 0x2a, input.length, ...input]);
    expect((await client.callRaw("ModelInfer", bytes)).includes(Buffer.from([0x12, 2, 1, 2]))).toBe(true);
  });

  it("reaches many at once, each with its own answer", async () => {
    const { client } = await served();
    const answers = await Promise.all(
      Array.from(
        { length: 300 },
        async (_, i) => floats((await client.call("ModelInfer", imageRequest(i))).raw_output_contents[0])[0],
      ),
    );
    expect(answers).toEqual(Array.from({ length: 300 }, (_, i) => 784 * i));
  });

  it("may be compressed", async () => {
    const { server } = await served();
    const client = new Client(server.port, { "grpc.default_compression_algorithm": 2 });
    const reply = await client.call("ModelInfer", imageRequest(1));
    client.close();
    expect(floats(reply.raw_output_contents[0])).toEqual([784, -784]);
  });
});

describe("a module that does not declare its outputs", () => {
  it("has those of its answer", async () => {
    const { client, repository } = await served();
    const data = Float32Array.of(1);
    const infer = async () => new Map([["found", { data, shape: [1], dtype: "float32" as const }]]);
    repository.models.push(fakeModel({ name: "silent" }, infer));
    const ask = (...names: string[]) =>
      client.call("ModelInfer", { model_name: "silent", outputs: names.map((name) => ({ name })) });
    expect((await ask()).outputs).toHaveLength(1);
    expect((await ask("found")).outputs).toHaveLength(1);
    await expect(ask("x")).rejects.toMatchObject({
      code: CODE.invalidArgument,
      details: expect.stringContaining("found"),
    });
  });
});

describe("bad input", () => {
  const image = { name: "input0", datatype: "FP32", shape: [1, 1, 28, 28] };
  const zeros = Buffer.alloc(3136);
  const rows: [string, object, number, RegExp?][] = [
    ["a model that there is not", imageRequest(1, { model_name: "nobody" }), CODE.notFound],
    ["a model called __proto__", imageRequest(1, { model_name: "__proto__" }), CODE.notFound],
    ["a path for a model", imageRequest(1, { model_name: "../../etc/passwd" }), CODE.notFound],
    ["no model", imageRequest(1, { model_name: "" }), CODE.notFound],
    ["a version that there is not", imageRequest(1, { model_version: "9" }), CODE.notFound],
    ["half a surrogate in a name", imageRequest(1, { model_name: "\ud800" }), CODE.notFound],
    [
      "an endless name that may not be cut anywhere",
      imageRequest(1, { model_name: `x${"😀".repeat(1000)}` }),
      CODE.notFound,
    ],
    ["an endless name", imageRequest(1, { model_name: "x".repeat(100_000) }), CODE.notFound],
    ["no inputs", { model_name: "sums" }, CODE.invalidArgument],
    ["an input of another name", imageRequest(1, { inputs: [{ ...image, name: "x" }] }), CODE.invalidArgument],
    [
      "an input twice",
      imageRequest(1, { inputs: [image, image], raw_input_contents: [zeros, zeros] }),
      CODE.invalidArgument,
    ],
    ["the wrong shape", imageRequest(1, { inputs: [{ ...image, shape: [1, 784] }] }), CODE.invalidArgument],
    ["a shape that lies", imageRequest(1, { inputs: [{ ...image, shape: [2, 1, 28, 28] }] }), CODE.invalidArgument],
    ["a negative size", imageRequest(1, { inputs: [{ ...image, shape: [-1, 1, 28, 28] }] }), CODE.invalidArgument],
    ["sizes beyond 2^53", imageRequest(1, { inputs: [{ ...image, shape: [2 ** 40, 2 ** 40] }] }), CODE.invalidArgument],
    [
      "sixty-five dimensions",
      imageRequest(1, { inputs: [{ ...image, shape: Array(65).fill(1) }] }),
      CODE.invalidArgument,
      /at most 64 dimensions/,
    ],
    ["the wrong datatype", imageRequest(1, { inputs: [{ ...image, datatype: "INT32" }] }), CODE.invalidArgument],
    ["no datatype", imageRequest(1, { inputs: [{ ...image, datatype: "" }] }), CODE.invalidArgument],
    [
      "a datatype of JavaScript's own",
      imageRequest(1, { inputs: [{ ...image, datatype: "constructor" }] }),
      CODE.invalidArgument,
    ],
    ["BYTES", imageRequest(1, { inputs: [{ ...image, datatype: "BYTES" }] }), CODE.unimplemented],
    ["UINT64", imageRequest(1, { inputs: [{ ...image, datatype: "UINT64" }] }), CODE.unimplemented],
    ["too few bytes", imageRequest(1, { raw_input_contents: [zeros.subarray(1)] }), CODE.invalidArgument],
    ["raw contents of no input", imageRequest(1, { raw_input_contents: [zeros, zeros] }), CODE.invalidArgument],
    [
      "raw contents and typed ones",
      imageRequest(1, { inputs: [{ ...image, contents: { fp32_contents: [1] } }] }),
      CODE.invalidArgument,
    ],
    ["typed contents of another type", echoed("FP32", [1], { contents: { int_contents: [1] } }), CODE.invalidArgument],
    ["too few elements", echoed("FP32", [2], { contents: { fp32_contents: [1] } }), CODE.invalidArgument],
    ["too many elements", echoed("FP32", [2], { contents: { fp32_contents: [1, 2, 3] } }), CODE.invalidArgument],
    [
      "a billion elements declared",
      echoed("FP64", [1e9], { contents: { fp64_contents: [1] } }),
      CODE.invalidArgument,
      /1000000000 elements.*fewer/,
    ],
    ["an INT8 of 128", echoed("INT8", [1], { contents: { int_contents: [128] } }), CODE.invalidArgument],
    ["a UINT8 of 256", echoed("UINT8", [1], { contents: { uint_contents: [256] } }), CODE.invalidArgument],
    ["a raw BOOL of 2", { ...echoed("BOOL", [1], {}), raw_input_contents: [Buffer.from([2])] }, CODE.invalidArgument],
    ["an output that there is not", imageRequest(1, { outputs: [{ name: "x" }] }), CODE.invalidArgument],
    ["an output twice", imageRequest(1, { outputs: [{ name: "output0" }, { name: "output0" }] }), CODE.invalidArgument],
    [
      "shared memory",
      imageRequest(1, { inputs: [{ ...image, parameters: { shared_memory_region: { string_param: "x" } } }] }),
      CODE.unimplemented,
    ],
    [
      "a classification",
      imageRequest(1, { outputs: [{ name: "output0", parameters: { classification: { int64_param: 3 } } }] }),
      CODE.unimplemented,
    ],
    ["too many inputs", imageRequest(1, { inputs: Array(5000).fill({}) }), CODE.invalidArgument, /at most 4096/],
    [
      "too many raw contents",
      imageRequest(1, { raw_input_contents: Array(5000).fill(Buffer.alloc(0)) }),
      CODE.invalidArgument,
      /at most 4096/,
    ],
    [
      "a message over the limit",
      imageRequest(1, { raw_input_contents: [Buffer.alloc(2 * 1024 * 1024)] }),
      CODE.resourceExhausted,
    ],
  ];

  it.each(rows)("%s", async (_, request, code, words = /./) => {
    const { client, metrics, faults } = await served();
    const error = await client.call("ModelInfer", request).then(
      () => undefined,
      (reason) => reason,
    );
    expect(error).toMatchObject({ code, details: expect.stringMatching(/.{10}/) });
    expect(error.details).toMatch(words);
    expect(error.details.length).toBeLessThan(1100);
    if (code !== CODE.resourceExhausted) expect(metrics.outcomes).toHaveLength(1);
    expect(faults).toEqual([]);
    // The others are answered as before.
    expect(floats((await client.call("ModelInfer", imageRequest(1))).raw_output_contents[0])).toEqual([784, -784]);
  });

  it.each([
    ["text", Buffer.from("GET / HTTP/1.1")],
    ["a field without a number", Buffer.from([0, 0])],
    ["a length beyond the end", Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x07])],
    ["an endless varint", Buffer.alloc(64, 0xff)],
    ["groups in groups", Buffer.alloc(100_000, 0x83)],
    ["a name that goes on beyond its input", Buffer.from([0x2a, 3, 0x0a, 5, ...Buffer.from("input")])],
    ["a shape beyond its end", Buffer.from([0x2a, 3, 0x1a, 0x7f, 1])],
  ])("bytes that are no message: %s", async (_, bytes) => {
    const { client, faults } = await served();
    for (const name of ["ModelInfer", "ModelMetadata", "RepositoryModelLoad"]) {
      const { code } = await client.callRaw(name, bytes).then(
        () => ({ code: 0 }),
        (error) => error,
      );
      // The others pass over fields that they do not know, and then miss the name.
      const expected = name === "ModelInfer" ? [CODE.invalidArgument] : [CODE.invalidArgument, CODE.notFound];
      expect(expected, `${name} ends with ${code}`).toContain(code);
    }
    expect(faults).toEqual([]);
  });

  it("a message that unpacks to more than the limit", async () => {
    const { server } = await served();
    const session = http2.connect(`http://127.0.0.1:${server.port}`);
    const stream = session.request({
      ":method": "POST",
      ":path": "/inference.GRPCInferenceService/ModelInfer",
      "content-type": "application/grpc",
      te: "trailers",
      "grpc-encoding": "gzip",
    });
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    const head = Buffer.alloc(5);
    head.writeUInt8(1, 0);
    head.writeUInt32BE(bomb.length, 1);
    stream.end(Buffer.concat([head, bomb]));
    const [headers] = await once(stream, "response");
    session.close();
    expect(headers["grpc-status"]).toBe(String(CODE.resourceExhausted));
  });

  it("what is no HTTP/2", async () => {
    const { server, client } = await served();
    for (const bytes of [
      "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
      "\0".repeat(100_000),
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff",
    ]) {
      const socket = connect(server.port, "127.0.0.1").on("error", () => {});
      socket.end(bytes, "latin1");
      socket.resume();
      await once(socket, "close");
    }
    expect(await client.call("ServerLive")).toEqual({ live: true });
  });

  it("a call that this server does not have", async () => {
    const { client } = await served();
    await expect(client.callRaw("ModelStatistics", Buffer.alloc(0))).rejects.toMatchObject({
      code: CODE.unimplemented,
    });
    const stream = client.inference.ModelStreamInfer();
    const [error] = await once(stream, "error");
    expect(error.code).toBe(CODE.unimplemented);
  });

  it("an error that is our own fault, of which nothing goes out", async () => {
    const { client, repository, faults, metrics } = await served();
    const broken = fakeModel({ name: "broken", outputs: [] }, async () => {
      throw new TypeError("a secret of the inside");
    });
    repository.models.push(broken);
    const error = await client.call("ModelInfer", { model_name: "broken" }).then(
      () => undefined,
      (reason) => reason,
    );
    expect(error).toMatchObject({ code: CODE.internal, details: "Internal server error" });
    expect(faults).toEqual([expect.any(TypeError)]);
    expect(metrics.outcomes.at(-1)).toMatchObject({ model: "broken", status: 500 });
  });
});

describe("limits", () => {
  /** A model that answers when it is told, or is aborted. */
  function slow(): {
    model: ReturnType<typeof fakeModel>;
    signals: AbortSignal[];
    timeouts: (number | undefined)[];
    go: () => void;
  } {
    let go = (): void => {};
    const gone = new Promise<void>((resolve) => {
      go = resolve;
    });
    const signals: AbortSignal[] = [];
    const timeouts: (number | undefined)[] = [];
    const model = fakeModel({ name: "slow" }, async (_, { signal, timeoutMilliseconds }) => {
      signals.push(signal!);
      timeouts.push(timeoutMilliseconds);
      const aborted = once(signal!, "abort").then(() => {
        throw new LeNet5Error("ABORTED", "The client has gone");
      });
      await Promise.race([gone, aborted]);
      return new Map();
    });
    return { model, signals, timeouts, go };
  }

  it("a deadline and a client that goes abort the request", async () => {
    const { client, repository } = await served();
    const { model, signals } = slow();
    repository.models.push(model);
    const late = client.call("ModelInfer", { model_name: "slow" }, { deadline: Date.now() + 300 });
    await expect(late).rejects.toMatchObject({ code: CODE.deadlineExceeded });
    await expect.poll(() => signals[0]?.aborted).toBe(true);
    const call = client.inference.ModelInfer({ model_name: "slow" }, () => {});
    await expect.poll(() => signals.length).toBe(2);
    expect(signals[1]!.aborted).toBe(false);
    call.cancel();
    await expect.poll(() => signals[1]!.aborted).toBe(true);
  });

  it("hands Triton's timeout on, in milliseconds", async () => {
    const { client, repository } = await served();
    const { model, timeouts, go } = slow();
    repository.models.push(model);
    go();
    await client.call("ModelInfer", { model_name: "slow", parameters: { timeout: { int64_param: 2500 } } });
    await client.call("ModelInfer", { model_name: "slow" });
    expect(timeouts).toEqual([2.5, undefined]);
  });

  it.each([
    ["QUEUE_FULL", CODE.unavailable],
    ["MODEL_UNAVAILABLE", CODE.unavailable],
    ["REQUEST_TIMED_OUT", CODE.deadlineExceeded],
    ["OUT_OF_MEMORY", CODE.resourceExhausted],
    ["SCRIPT_RAISED", CODE.invalidArgument],
    ["NATIVE_FAILURE", CODE.internal],
  ] as const)("says %s in gRPC's words", async (name, code) => {
    const { client, repository } = await served();
    const model = fakeModel({ name: "failing" }, async () => {
      throw new LeNet5Error(name, `The model ended with ${name}`);
    });
    repository.models.push(model);
    await expect(client.call("ModelInfer", { model_name: "failing" })).rejects.toMatchObject({
      code,
      details: `The model ended with ${name}`,
    });
  });

  it("asks for the token, except where probes ask", async () => {
    const { client, metrics } = await served({ authorize: onlyWith("secret") });
    for (const name of [
      "ModelInfer",
      "ModelMetadata",
      "ModelReady",
      "ServerMetadata",
      "RepositoryIndex",
      "RepositoryModelUnload",
    ])
      await expect(client.call(name)).rejects.toMatchObject({ code: CODE.unauthenticated });
    expect(await client.call("ServerLive")).toEqual({ live: true });
    expect(await client.call("ServerReady")).toEqual({ ready: true });
    expect(await client.call("Check")).toEqual({ status: "SERVING" });
    client.metadata.set("authorization", "Bearer wrong");
    await expect(client.call("ModelInfer", imageRequest(1))).rejects.toMatchObject({ code: CODE.unauthenticated });
    client.metadata.set("authorization", "Bearer secret");
    expect((await client.call("ModelInfer", imageRequest(1))).model_name).toBe("sums");
    expect(metrics.outcomes.map(({ status }) => status)).toEqual([200]);
  });

  it("tells inference's token from management's", async () => {
    const kinds: string[] = [];
    const { client } = await served({ authorize: (_, kind) => kinds.push(kind) });
    await client.call("ModelInfer", imageRequest(1));
    await client.call("RepositoryIndex");
    expect(kinds).toEqual(["inference", "management"]);
  });

  it("gives up on a message that does not come", async () => {
    const { server, client } = await served({}, { requestTimeoutMilliseconds: 200 });
    const session = http2.connect(`http://127.0.0.1:${server.port}`);
    const stream = session.request({
      ":method": "POST",
      ":path": "/inference.GRPCInferenceService/ModelInfer",
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.write(Buffer.from([0, 0, 0, 1, 0, 1]));
    const [headers] = await once(stream, "response");
    expect(headers["grpc-status"]).toBe(String(CODE.deadlineExceeded));
    session.destroy();
    expect(await client.call("ServerLive")).toEqual({ live: true });
  });

  it("closes connections that nobody holds any more, and keeps those that are idle", async () => {
    const { server, client } = await served({}, { requestTimeoutMilliseconds: 200 });
    expect(await client.call("ServerLive")).toEqual({ live: true });
    const channel = client.inference.getChannel();
    for (const bytes of ["", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x04\x08"]) {
      const silent = connect(server.port, "127.0.0.1").on("error", () => {});
      silent.write(bytes, "latin1");
      silent.resume();
      await new Promise((resolve) => silent.once("close", resolve));
    }
    expect(channel.getConnectivityState(false)).toBe(2);
    expect(await client.call("ServerLive")).toEqual({ live: true });
  });

  it("answers what it has before it closes, and takes nothing new", async () => {
    const { client, repository, server } = await served();
    const { model, signals, go } = slow();
    repository.models.push(model);
    const last = client.call("ModelInfer", { model_name: "slow" });
    await expect.poll(() => signals.length).toBe(1);
    const closed = server.close(10_000);
    const fresh = new Client(server.port);
    await expect(fresh.call("ServerLive", {}, { deadline: Date.now() + 2000 })).rejects.toMatchObject({
      code: expect.any(Number),
    });
    fresh.close();
    go();
    expect((await last).model_name).toBe("slow");
    await closed;
  });

  it("cuts off what is not answered within the drain's time", async () => {
    const { client, repository, server } = await served();
    const { model, signals } = slow();
    repository.models.push(model);
    const lost = client.call("ModelInfer", { model_name: "slow" });
    lost.catch(() => {});
    await expect.poll(() => signals.length).toBe(1);
    await server.close(200);
    await expect(lost).rejects.toMatchObject({ code: expect.any(Number) });
    await expect.poll(() => signals[0]!.aborted).toBe(true);
  });

  it("says which address is taken", async () => {
    const { server } = await served();
    await expect(serve({}, { port: server.port })).rejects.toMatchObject({
      code: "LENET5_LISTEN_FAILED",
      message: expect.stringContaining(String(server.port)),
    });
  });
});

it("has no datatype for complex numbers, and says so", () => {
  expect(() => datatypeOf("complex64")).toThrow(/complex64/);
});
