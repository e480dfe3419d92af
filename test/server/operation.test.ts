// What whoever runs the server relies on: probes, counters, tokens, limits, logs, and an orderly end.
import { once } from "node:events";
import { Agent, request as ask } from "node:http";
import { connect, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, test } from "vitest";
import { createServer } from "../../lib/server.js";
import { Client } from "./grpc/client.js";
import { cleanUp, emptyRepository, placeLeNet5, placeModule, serve } from "./models.js";

afterEach(cleanUp);

const digit = new Uint8Array(784).fill(200);
const predict = (url: string, init: RequestInit = {}) =>
  fetch(`${url}/predictions/digits`, { method: "POST", body: digit, ...init });

async function withDigits(options = {}) {
  const folder = await emptyRepository();
  const model = await placeLeNet5(folder);
  return { folder, model, ...(await serve(folder, options)) };
}

describe("probes and counters", () => {
  test("alive, ready, and what has been counted", async () => {
    const { url } = await withDigits();
    expect((await predict(url)).status).toBe(200);
    expect((await predict(url, { body: "no image" })).status).toBe(400);
    expect((await fetch(`${url}/predictions/nobody`, { method: "POST", body: digit })).status).toBe(404);
    expect(await (await fetch(`${url}/livez`)).json()).toEqual({ live: true });
    const ready = await fetch(`${url}/readyz`);
    expect([ready.status, await ready.json()]).toEqual([
      200,
      { ready: true, models: [{ name: "digits", version: "1", state: "ready" }] },
    ]);
    const asked = async (query: string) => (await fetch(`${url}/readyz?${query}`)).status;
    expect(await Promise.all(["model=digits", "model=digits&model=digits", "all"].map(asked))).toEqual([200, 200, 200]);
    expect(await Promise.all(["model=b", "model=digits&model=b", "model="].map(asked))).toEqual([503, 503, 503]);
    const metrics = await fetch(`${url}/metrics`);
    expect(metrics.headers.get("content-type")).toContain("text/plain");
    const text = await metrics.text();
    const labels = 'protocol="torchserve",model="digits",version="1"';
    expect(text).toContain(`lenet5_requests_total{${labels},status="200"} 1`);
    expect(text).toContain(`lenet5_request_errors_total{${labels},status="400"} 1`);
    expect(text).toContain('lenet5_requests_total{protocol="torchserve",model="",version="",status="404"} 1');
    expect(text).toContain('lenet5_batch_size_count{model="digits",version="1"} 1');
    expect(text).toContain('lenet5_queue_seconds_count{model="digits",version="1"} 1');
    expect(text).toContain('lenet5_compute_seconds_count{model="digits",version="1"} 1');
    expect(text).toMatch(/lenet5_event_loop_delay_seconds\{quantile="0.99"\} [0-9.e-]+/);
    expect(text).toContain("lenet5_models_ready 1");
    expect(text).toMatch(/ts_inference_requests_total\{model_name="digits",model_version="1",hostname="[^"]+"\} 2/);
    expect(text).toMatch(/ts_queue_latency_microseconds\{model_name="digits"/);
    expect(text).toMatch(/ts_inference_latency_microseconds\{model_name="digits"/);
  });

  test("two servers in one process count apart", async () => {
    const one = await withDigits();
    const other = await withDigits();
    await predict(one.url);
    expect(await (await fetch(`${other.url}/metrics`)).text()).not.toContain("lenet5_requests_total{");
  });

  test("a protocol has a port of its own where one is asked for, and answers there alone", async () => {
    const { server } = await withDigits({
      protocols: ["tensorflow-serving"],
      ports: { torchserve: 0, "torchserve-management": 0, metrics: 0, grpc: 0 },
    });
    const at = Object.fromEntries(server.addresses.map(({ name, url }) => [name, url]));
    expect(Object.keys(at).sort()).toEqual(["grpc", "main", "metrics", "torchserve", "torchserve-management"]);
    const statusOf = async (path: string) => (await fetch(path)).status;
    expect((await predict(at.torchserve!)).status).toBe(200);
    expect((await predict(at.main!)).status).toBe(404);
    expect(await statusOf(`${at.torchserve}/models`)).toBe(404);
    expect(await statusOf(`${at["torchserve-management"]}/models`)).toBe(200);
    // As TorchServe's own: the management port has nothing of the inference API.
    expect((await predict(at["torchserve-management"]!)).status).toBe(404);
    expect(await statusOf(`${at["torchserve-management"]}/ping`)).toBe(404);
    expect(await statusOf(`${at.torchserve}/ping`)).toBe(200);
    const pathsOf = async (port: string) => {
      const answer = await fetch(`${port}/`, { method: "OPTIONS" });
      return answer.ok ? Object.keys(((await answer.json()) as { paths: object }).paths) : answer.status;
    };
    expect(await pathsOf(at.torchserve!)).toEqual([
      "/ping",
      "/predictions/{model_name}",
      "/predictions/{model_name}/{model_version}",
    ]);
    expect(await pathsOf(at["torchserve-management"]!)).toContain("/models/{model_name}/{model_version}/set-default");
    expect(await pathsOf(at.main!)).toBe(404);
    const whole = await withDigits();
    expect(await pathsOf(whole.url)).toHaveLength(7);
    expect((await fetch(`${whole.url}/`)).headers.get("content-type")).toContain("text/html");
    expect(await statusOf(`${at.main}/v1/models/digits`)).toBe(200);
    expect(await statusOf(`${at.torchserve}/v1/models/digits`)).toBe(404);
    expect(await statusOf(`${at.metrics}/metrics`)).toBe(200);
    expect(await statusOf(`${at.torchserve}/metrics`)).toBe(404);
  });
});

describe("tokens", () => {
  const tokens = { inferenceToken: "infer-secret", managementToken: "manage-secret" };
  const bearing = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

  test("inference and management ask for theirs, and probes for none", async () => {
    const { url } = await withDigits(tokens);
    for (const init of [
      {},
      bearing("manage-secret"),
      bearing("infer-secre"),
      { headers: { authorization: "infer-secret" } },
    ]) {
      const refused = await predict(url, init);
      expect(refused.status).toBe(401);
      expect(refused.headers.get("www-authenticate")).toBe("Bearer");
    }
    expect((await predict(url, bearing("infer-secret"))).status).toBe(200);
    const index = { method: "POST", ...bearing("infer-secret") };
    expect((await fetch(`${url}/v2/repository/index`, index)).status).toBe(401);
    expect((await fetch(`${url}/v2/repository/index`, { method: "POST", ...bearing("manage-secret") })).status).toBe(
      200,
    );
    expect((await fetch(`${url}/models`, bearing("manage-secret"))).status).toBe(200);
    for (const path of ["livez", "readyz", "v2/health/ready", "ping"])
      expect((await fetch(`${url}/${path}`)).status).toBe(200);
  });

  test("a bad one is refused without being shown", () => {
    const make = () => createServer({ modelRepository: ".", inferenceToken: "two words" });
    expect(make).toThrowError("inferenceToken");
    expect(make).not.toThrowError("two words");
  });
});

describe("management", () => {
  test("without a token is not for pages of other sites", async () => {
    const { url } = await withDigits();
    const { port } = new URL(url);
    const post = (path: string, site?: string, named: Record<string, string> = {}) => {
      const host = "127.0.0.1";
      const headers = { ...(site === undefined ? {} : { "sec-fetch-site": site }), ...named };
      return new Promise<number>((resolve, reject) => {
        const request = ask({ host, port, path, method: "POST", headers }, (answer) => {
          answer.resume();
          resolve(answer.statusCode!);
        });
        request.on("error", reject).end();
      });
    };
    const paths = ["/v2/repository/models/digits/unload", "/models?url=x.mar"];
    for (const path of paths)
      for (const site of ["cross-site", "same-site"]) expect([path, await post(path, site)]).toEqual([path, 401]);
    expect((await predict(url)).status).toBe(200);
    for (const site of ["same-origin", "none", undefined]) expect(await post(paths[0]!, site)).toBe(200);
    // A browser that does not know Sec-Fetch-Site, and a name that its owner has led here, for which browsers do not send it.
    for (const [origin, host] of [
      ["http://evil.example", `127.0.0.1:${port}`],
      [`http://evil.example:${port}`, `evil.example:${port}`],
      [`http://127.0.0.1:1`, `127.0.0.1:${port}`],
      ["null", `127.0.0.1:${port}`],
    ] as const)
      expect([origin, await post(paths[0]!, undefined, { origin, host })]).toEqual([origin, 401]);
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`])
      expect(await post(paths[0]!, "same-origin", { origin: `http://${host}`, host })).toBe(200);
  });

  test("is off where it was not asked for and others can reach the server", async () => {
    const open = await withDigits({ host: "0.0.0.0" });
    const port = open.server.addresses[0]!.port;
    const status = async (path: string, method = "GET") =>
      (await fetch(`http://127.0.0.1:${port}${path}`, { method })).status;
    expect(await status("/v2/repository/models/digits/unload", "POST")).toBe(404);
    expect(await status("/models")).toBe(404);
    expect((await predict(`http://127.0.0.1:${port}`)).status).toBe(200);
    const asked = await withDigits({ host: "0.0.0.0", management: true });
    const { port: other } = asked.server.addresses[0]!;
    expect((await fetch(`http://127.0.0.1:${other}/models`)).status).toBe(200);
    const { url } = await withDigits({ management: false });
    expect((await fetch(`${url}/models`)).status).toBe(404);
  });
});

/** What an answer says of its connection. */
function predictOn(agent: Agent, url: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const { port } = new URL(url);
    const options = { agent, host: "127.0.0.1", port, path: "/predictions/digits", method: "POST" };
    const request = ask(options, (answer) => {
      answer.resume().on("end", () => {
        if (answer.statusCode === 200) resolve(answer.headers.connection);
        else reject(new Error(String(answer.statusCode)));
      });
    });
    request.on("error", reject).end(digit);
  });
}

/** What a server says to bytes that come as they are, until it closes the connection. */
async function raw(url: string, ...pieces: string[]): Promise<string> {
  const { port } = new URL(url);
  const socket: Socket = connect(Number(port), "127.0.0.1");
  let answer = "";
  socket.setEncoding("latin1").on("data", (text: string) => {
    answer += text;
  });
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.on("close", resolve));
  for (const piece of pieces) {
    socket.write(piece);
    await wait(20);
  }
  await closed;
  return answer;
}

describe("limits", () => {
  test("a body beyond the limit, by its header and by its bytes", async () => {
    const { url } = await withDigits({ bodyLimit: 1000 });
    expect((await predict(url, { body: new Uint8Array(1001) })).status).toBe(413);
    const chunk = `${(400).toString(16)}\r\n${"x".repeat(400)}\r\n`;
    const head = "POST /predictions/digits HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    expect(await raw(url, head, chunk, chunk, chunk)).toMatch(/^HTTP\/1.1 413/);
    expect((await predict(url)).status).toBe(200);
  });

  test("a body or a header that does not come to an end ends with 408", async () => {
    const { url } = await withDigits({ requestTimeoutMilliseconds: 200 });
    const head = "POST /predictions/digits HTTP/1.1\r\nHost: a\r\n";
    const answers = await Promise.all([
      raw(url, `${head}Content-Length: 784\r\n\r\nabc`),
      raw(url, head, "X-A: b\r\n"),
    ]);
    for (const answer of answers) expect(answer).toMatch(/^HTTP\/1.1 408/);
    expect((await predict(url)).status).toBe(200);
  });

  test("a flood of headers, and a URL without end", async () => {
    const { url } = await withDigits();
    const flood = Array.from({ length: 2000 }, (_, i) => `X-${i}: ${i}\r\n`).join("");
    expect(await raw(url, `GET /livez HTTP/1.1\r\nHost: a\r\n${flood}\r\n`)).toMatch(/^HTTP\/1.1 431/);
    expect(await raw(url, `GET /${"x".repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`)).toMatch(/^HTTP\/1.1 4/);
    expect(await raw(url, "no HTTP at all\r\n\r\n")).toMatch(/^HTTP\/1.1 400/);
    expect((await predict(url)).status).toBe(200);
  });

  test("a token is found behind any number of other headers", async () => {
    const { url } = await withDigits({ inferenceToken: "secret" });
    const many = Array.from({ length: 1200 }, (_, i) => `X${i}: 1\r\n`).join("");
    const ask = (token: string) =>
      raw(
        url,
        `GET /v2/models/digits HTTP/1.1\r\nHost: a\r\n${many}Authorization: Bearer ${token}\r\nConnection: close\r\n\r\n`,
      );
    expect(await ask("secret")).toMatch(/^HTTP\/1.1 200/);
    expect(await ask("other")).toMatch(/^HTTP\/1.1 401/);
  });

  test("connections beyond the limit are closed, and the others serve", async () => {
    const { url } = await withDigits({ maxConnections: 3 });
    const { port } = new URL(url);
    const sockets = Array.from({ length: 3 }, () => connect(Number(port), "127.0.0.1").on("error", () => {}));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    await expect(raw(url, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")).resolves.toBe("");
    for (const socket of sockets) socket.destroy();
    await wait(50);
    expect((await predict(url)).status).toBe(200);
  });

  test("a client that does not take its answers is let go of; one that waits, or asks now and then, is not", async () => {
    const { url, folder } = await withDigits({
      requestTimeoutMilliseconds: 500,
      maxQueueDelayMicroseconds: 3_500_000,
      pollMilliseconds: 20,
    });
    await placeModule(folder, "values");
    while ((await fetch(`${url}/v2/models/values/ready`)).status !== 200) await wait(20);
    const { port } = new URL(url);
    const silent = connect(Number(port), "127.0.0.1").on("error", () => {});
    // Five times as many bytes in the answer as in the tensor: more than the system takes for a client.
    const values = new Float32Array(1_500_000).fill(0.1);
    const parameters = { binary_data_size: values.byteLength };
    const head = JSON.stringify({ inputs: [{ name: "x", shape: [values.length], datatype: "FP32", parameters }] });
    const lengths = `Content-Length: ${head.length + values.byteLength}\r\nInference-Header-Content-Length: ${head.length}`;
    silent.pause().write(`POST /v2/models/values/infer HTTP/1.1\r\nHost: a\r\n${lengths}\r\n\r\n${head}`);
    silent.write(new Uint8Array(values.buffer));
    const start = performance.now();
    const late = predict(url);
    const kept = connect(Number(port), "127.0.0.1");
    const live = async (): Promise<string> => {
      kept.write("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
      return String(await once(kept, "data"));
    };
    expect(await live()).toMatch(/^HTTP\/1.1 200/);
    await wait(3000);
    expect(await live()).toMatch(/^HTTP\/1.1 200/);
    expect((await late).status).toBe(200);
    expect(performance.now() - start).toBeGreaterThan(3400);
    await wait(2500);
    // What the system had taken is read; then the connection is at its end, before that of the answer.
    let read = "";
    silent.setEncoding("latin1").on("data", (text: string) => {
      read += text;
    });
    const end = await Promise.race([once(silent.resume(), "close"), wait(3000, "open")]);
    expect(read).toMatch(/^HTTP\/1.1 200/);
    expect(read.length).toBeLessThan(values.length * 19);
    expect(end).not.toBe("open");
    kept.destroy();
  });

  test("a picture that would have to be drawn is refused", async () => {
    const { url } = await withDigits();
    const filter = '<filter id="f"><feGaussianBlur stdDeviation="5000"/></filter>';
    const drawn = `<rect width="28" height="28" filter="url(#f)"/>`.repeat(5000);
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="28" height="28">${filter}${drawn}</svg>`;
    const packed = gzipSync(svg);
    const start = performance.now();
    for (const body of [svg, packed, ` ${"<!-- -->".repeat(40)}${svg}`, svg.slice(0, 780).padEnd(784)]) {
      const answer = await predict(url, { body });
      expect([answer.status, ((await answer.json()) as { message: string }).message]).toEqual([
        400,
        expect.stringContaining("image of pixels"),
      ]);
    }
    const instances = [{ b64: packed.toString("base64") }];
    const answer = await fetch(`${url}/v1/models/digits:predict`, {
      method: "POST",
      body: JSON.stringify({ instances }),
    });
    expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining("image of pixels")]);
    expect(performance.now() - start).toBeLessThan(500);
  });

  test("a full queue answers 503 with Retry-After, and serves again at once", async () => {
    const { url } = await withDigits({ maxQueueSize: 2, maxQueueDelayMicroseconds: 200_000 });
    const answers = await Promise.all(Array.from({ length: 12 }, () => predict(url)));
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses.slice(0, 2)).toEqual([200, 200]);
    expect(new Set(statuses)).toEqual(new Set([200, 503]));
    const refused = answers.find(({ status }) => status === 503)!;
    expect(refused.headers.get("retry-after")).toBe("1");
    expect((await predict(url)).status).toBe(200);
  });

  test("a request that is not answered in time gets a timeout, and one whose client goes leaves the queue", async () => {
    const late = await withDigits({ timeoutMilliseconds: 30, maxQueueDelayMicroseconds: 10_000_000 });
    const inputs = [{ name: "input0", shape: [1, 784], datatype: "UINT8", data: Array.from(digit) }];
    const answer = await fetch(`${late.url}/v2/models/digits/infer`, {
      method: "POST",
      body: JSON.stringify({ inputs }),
    });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(late.server.repository.statusesOf("digits")[0]!.queued).toBe(0);
    const patient = await withDigits({ maxQueueDelayMicroseconds: 30_000_000 });
    const request = ask(`${patient.url}/predictions/digits`, { method: "POST" }).on("error", () => {});
    request.end(digit);
    const queued = () => patient.server.repository.statusesOf("digits")[0]!.queued;
    while (queued() === 0) await wait(5);
    request.destroy();
    while (queued() > 0) await wait(5);
    const counted = await (await fetch(`${patient.url}/metrics`)).text();
    expect(counted).toMatch(/lenet5_requests_total\{protocol="torchserve",model="digits",version="1",status="499"\} 1/);
  });
});

describe("tensors without elements and without rows", () => {
  async function identity() {
    const folder = await emptyRepository();
    await placeModule(folder, "values");
    const { url } = await serve(folder);
    const infer = (shape: number[], data: number[]) => {
      const inputs = [{ name: "x", shape, datatype: "FP32", data }];
      return fetch(`${url}/v2/models/values/infer`, { method: "POST", body: JSON.stringify({ inputs }) });
    };
    return { url, infer };
  }

  test("none whose other sizes a module could make memory of", async () => {
    const { infer } = await identity();
    expect((await infer([0, 3, 224, 224], [])).status).toBe(200);
    const answer = await infer([2 ** 30, 0], []);
    expect([answer.status, await answer.json()]).toEqual([
      400,
      { error: "Expected sizes beside the 0 of at most 16777216 together for x.shape but received [1073741824, 0]" },
    ]);
  });

  test("what is no number is written as TorchServe's Python writes it", async () => {
    const { url } = await identity();
    const ask = async (body: string) => (await fetch(`${url}/predictions/values`, { method: "POST", body })).text();
    expect(await ask("[[1.5,NaN],[-Infinity,Infinity]]")).toBe("[[1.5,NaN],[-Infinity,Infinity]]");
    expect(await ask("[[1.5,-2]]")).toBe("[[1.5,-2]]");
  });

  test("a scalar counts as a whole batch, not as all rows that there could be", async () => {
    const { url, infer } = await identity();
    for (let i = 0; i < 3; i++) expect((await infer([], [i])).status).toBe(200);
    const text = await (await fetch(`${url}/metrics`)).text();
    expect(text).toContain('lenet5_batch_size_sum{model="values",version="1"} 3');
  });
});

describe("the end", () => {
  test("what is under way is answered, and nothing new is taken", async () => {
    const { url, server } = await withDigits({ maxQueueDelayMicroseconds: 150_000 });
    const under = predict(url);
    await wait(50);
    const closed = server.close();
    expect((await under).status).toBe(200);
    await closed;
    await expect(predict(url)).rejects.toThrow();
    await server.close();
  });

  test("before it takes nothing new it says that it is going, and answers whoever asks all the same", async () => {
    const { url, server } = await withDigits({
      ...{ ports: { grpc: 0, metrics: 0 }, shutdownDelayMilliseconds: 800, maxQueueDelayMicroseconds: 100_000 },
    });
    const at = Object.fromEntries(server.addresses.map(({ name, url, port }) => [name, { url, port }]));
    const client = new Client(at.grpc!.port);
    const health = async (): Promise<string> => (await client.call("Check")).status;
    const kept = await fetch(`${url}/readyz`);
    expect([kept.status, kept.headers.get("connection"), await health()]).toEqual([200, "keep-alive", "SERVING"]);
    await kept.text();
    const under = predict(url);
    await wait(50);
    let isClosed = false;
    const closed = server.close().then(() => {
      isClosed = true;
    });
    // What was under way, what comes on a kept connection, and what comes on a new one; on each port.
    const answers = [under, predict(url), predict(url), fetch(`${at.metrics!.url}/livez`), fetch(`${url}/livez`)];
    for (const answer of await Promise.all(answers))
      expect([answer.status, answer.headers.get("connection")]).toEqual([200, "close"]);
    for (const path of [`${url}/readyz`, `${at.metrics!.url}/readyz`, `${url}/v2/health/ready`]) {
      const answer = await fetch(path);
      expect([path, answer.status, await answer.json()]).toMatchObject([path, 503, { ready: false }]);
    }
    expect(await health()).toBe("NOT_SERVING");
    expect((await client.call("ServerReady")).ready).toBe(false);
    const reply = await client.call("ModelInfer", {
      model_name: "digits",
      inputs: [{ name: "input0", datatype: "FP32", shape: [1, 784] }],
      raw_input_contents: [Buffer.alloc(3136)],
    });
    expect(reply.model_name).toBe("digits");
    expect(isClosed).toBe(false);
    await closed;
    client.close();
    await expect(predict(url)).rejects.toThrow();
  });

  test("no request is lost on a connection that is kept, whenever the server closes", async () => {
    // Each client asks again as soon as it has its answer, until it is told that the connection ends: then it would take another.
    const { url, server } = await withDigits({ shutdownDelayMilliseconds: 500 });
    const clients = Array.from({ length: 16 }, async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      for (let answered = 0; ; answered++) {
        const answer = await predictOn(agent, url).catch((error) => `${error} after ${answered} answers`);
        if (answer === "keep-alive") continue;
        agent.destroy();
        return answer;
      }
    });
    await wait(300);
    await server.close();
    expect(new Set(await Promise.all(clients))).toEqual(new Set(["close"]));
  });

  test("a server that was not ready yet, or has no model, does not keep anybody waiting", async () => {
    const server = createServer({
      ...{ modelRepository: await emptyRepository(), port: 0, logLevel: "silent" },
      shutdownDelayMilliseconds: 60_000,
    });
    await server.listen();
    const start = performance.now();
    await server.close();
    expect(performance.now() - start).toBeLessThan(5000);
  });

  test("what is not answered within the limit is cut off", async () => {
    const { url, server } = await withDigits({ maxQueueDelayMicroseconds: 30_000_000, drainMilliseconds: 100 });
    const under = predict(url).catch(() => "cut off");
    await wait(50);
    await server.close();
    expect(await under).toBe("cut off");
  });

  test("a second listen gives the addresses of the first, and a closed server is not opened again", async () => {
    const { server, url } = await withDigits();
    expect((await server.listen()).map((address) => address.url)).toEqual([url]);
    expect((await predict(url)).status).toBe(200);
    await server.close();
    const closed = createServer({ modelRepository: await emptyRepository(), port: 0, logLevel: "silent" });
    await closed.close();
    await expect(closed.listen()).rejects.toMatchObject({ code: "LENET5_DISPOSED" });
    expect(closed.addresses).toEqual([]);
  });

  test.each([0, 1, 5, 20, 50])("a server that is closed %i ms after listen leaves no port open", async (after) => {
    const folder = await emptyRepository();
    await placeLeNet5(folder);
    const ports = { grpc: 0, torchserve: 0, "tensorflow-serving": 0 };
    const server = createServer({ modelRepository: folder, port: 0, ports, logLevel: "silent" });
    const listening = server.listen().catch((error) => error.code);
    if (after > 0) await wait(after);
    await server.close();
    expect(await listening).toSatisfy((end: unknown) => end === "LENET5_DISPOSED" || Array.isArray(end));
    for (const { host, port } of server.addresses) {
      const socket = connect(port, host);
      await expect(once(socket, "connect")).rejects.toThrow("ECONNREFUSED");
    }
    expect(server.repository.statuses().filter(({ state }) => state === "ready")).toEqual([]);
    expect(server.repository.ready).toBe(false);
  });

  test("a port that is in use is named", async () => {
    const { server, folder } = await withDigits();
    const { port } = server.addresses[0]!;
    await expect(serve(folder, { port })).rejects.toMatchObject({
      code: "LENET5_LISTEN_FAILED",
      message: `Expected a free address for 127.0.0.1:${port} but received one that is in use`,
    });
  });
});

describe("options", () => {
  test.each([
    [{}, "modelRepository"],
    [{ modelRepository: ".", prot: 1 }, 'did you mean "port"'],
    [{ modelRepository: ".", port: -1 }, "port"],
    [{ modelRepository: ".", protocols: ["http"] }, "open-inference"],
    [{ modelRepository: ".", ports: { grcp: 1 } }, 'did you mean "grpc"'],
    [{ modelRepository: ".", maxBatchSize: 0 }, "maxBatchSize"],
    [{ modelRepository: ".", shutdownDelayMilliseconds: -1 }, "shutdownDelayMilliseconds"],
    [{ modelRepository: ".", logLevel: "loud" }, "logLevel"],
    [{ modelRepository: ".", management: "yes" }, "management"],
  ])("%j", (options, words) => {
    expect(() => createServer(options as never)).toThrowError(words);
  });
});
