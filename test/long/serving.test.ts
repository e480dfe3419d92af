// The server under load, while its models change, beyond what it can take, and after it was killed.
import { Agent, type OutgoingHttpHeaders, request } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import sharp from "sharp";
import { afterEach, expect, test } from "vitest";
import type { LeNet5 } from "../../lib/index.js";
import { Client } from "../server/grpc/client.js";
import { cleanUp, emptyRepository, placeLeNet5, placeModule } from "../server/models.js";
import { serveProcess } from "../server/serve-process.js";

afterEach(cleanUp);

const REQUESTS = Number(process.env.LENET5_SERVING_REQUESTS ?? 200_000);
const IMAGES = 64;

/** Images that no two of which have the same answer. */
const images = Array.from({ length: IMAGES }, (_, n) =>
  Uint8Array.from({ length: 784 }, (_, i) =>
    ((i % 28) * (n % 8) + Math.floor(i / 28) * (n >> 3)) % 29 > 14 ? 255 : 0,
  ),
);

interface Answer {
  readonly status: number;
  readonly body: Buffer;
  readonly retryAfter: string | undefined;
}

function ask(
  url: string,
  path: string,
  body: Uint8Array,
  agent: Agent,
  headers: OutgoingHttpHeaders = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const sizes = { "content-length": body.length, ...headers };
    const sent = request(
      { hostname, port, path, method: "POST", agent, headers: sizes, timeout: 60_000 },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () =>
          resolve({
            status: response.statusCode!,
            body: Buffer.concat(chunks),
            retryAfter: response.headers["retry-after"],
          }),
        );
        response.on("error", reject);
      },
    );
    sent.on("timeout", () => sent.destroy(new Error("no answer within a minute")));
    sent.on("error", reject);
    sent.end(body);
  });
}

const floats = (bytes: Buffer): number[] => Array.from(new Float32Array(new Uint8Array(bytes).buffer));

/** Each protocol's way to ask for an image's log-probabilities. */
async function askers(url: string, grpcPort: number, agent: Agent) {
  const pngs = await Promise.all(
    images.map((pixels) =>
      sharp(pixels, { raw: { width: 28, height: 28, channels: 1 } })
        .png()
        .toBuffer(),
    ),
  );
  const unit = images.map((pixels) => Float32Array.from(pixels, (value) => value / 255));
  const client = new Client(grpcPort);
  const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
  const checked = ({ status, body }: Answer): Buffer => {
    if (status !== 200) throw new Error(`${status} ${body.toString("utf8", 0, 200)}`);
    return body;
  };
  const head = json({
    inputs: [{ name: "input0", shape: [1, 1, 28, 28], datatype: "FP32", parameters: { binary_data_size: 3136 } }],
    outputs: [{ name: "output0", parameters: { binary_data: true } }],
  });
  const bodies = unit.map((pixels) => ({
    openInference: json({ inputs: [{ name: "input0", shape: [1, 784], datatype: "FP32", data: Array.from(pixels) }] }),
    tensorFlow: json({
      instances: [[Array.from({ length: 28 }, (_, y) => Array.from(pixels.subarray(28 * y, 28 * y + 28)))]],
    }),
    binary: Buffer.concat([head, Buffer.from(pixels.buffer)]),
  }));
  const infer = "/v2/models/digits/infer";
  const ways: ((n: number) => Promise<number[]>)[] = [
    async (n) => {
      const body = checked(await ask(url, "/predictions/digits", pngs[n]!, agent));
      return (JSON.parse(body.toString()) as { probabilities: number[] }).probabilities.map(Math.log);
    },
    async (n) => {
      const body = checked(await ask(url, infer, bodies[n]!.openInference, agent));
      return (JSON.parse(body.toString()) as { outputs: { data: number[] }[] }).outputs[0]!.data;
    },
    async (n) => {
      const headers = { "inference-header-content-length": head.length };
      return floats(checked(await ask(url, infer, bodies[n]!.binary, agent, headers)).subarray(-40));
    },
    async (n) => {
      const body = checked(await ask(url, "/v1/models/digits:predict", bodies[n]!.tensorFlow, agent));
      return (JSON.parse(body.toString()) as { predictions: number[][] }).predictions[0]!;
    },
    async (n) => {
      const reply = await client.call("ModelInfer", {
        model_name: "digits",
        inputs: [{ name: "input0", datatype: "FP32", shape: [1, 1, 28, 28] }],
        raw_input_contents: [Buffer.from(unit[n]!.buffer)],
      });
      return floats(reply.raw_output_contents[0]);
    },
  ];
  return { ways, close: () => client.close() };
}

const rowsOf = (model: LeNet5): Float32Array[] => images.map((pixels) => model.forwardSync(pixels).data);

/** The kernels round a batch's sums in another order than those of one image; a probability loses more than its logarithm. */
const isLike = (answer: readonly number[], row: Float32Array): boolean =>
  answer.length === 10 && row.every((value, i) => Math.abs(value - answer[i]!) < 5e-6);

async function residentBytes(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^process_resident_memory_bytes (\d+)/m.exec(text)![1]);
}

test(`${REQUESTS} requests over mixed protocols, while models are loaded anew every second`, async () => {
  const folder = await emptyRepository();
  const models = [await placeLeNet5(folder, { seed: 11 })];
  const { url, grpcPort, child, ended, errors } = await serveProcess(
    ...["--model-repository", folder, "--port", "0", "--grpc-port", "0", "--poll-interval", "100"],
  );
  const agent = new Agent({ keepAlive: true, maxSockets: 48 });
  const { ways, close } = await askers(url, grpcPort!, agent);
  models.push(await placeLeNet5(folder, { seed: 12 }));
  const rows = models.map(rowsOf);
  for (const row of rows.flat()) {
    const others = rows.flat().filter((other) => other !== row);
    expect(others.some((other) => isLike(Array.from(other), row))).toBe(false);
  }
  let asked = 0;
  let reloads = 0;
  const seen = [0, 0];
  const wrong: string[] = [];
  const work = async (): Promise<void> => {
    while (asked < REQUESTS && wrong.length < 10) {
      const n = (asked * 7) % IMAGES;
      const way = asked++ % ways.length;
      try {
        const answer = await ways[way]!(n);
        const by = rows.findIndex((each) => isLike(answer, each[n]!));
        if (by < 0) wrong.push(`protocol ${way}, image ${n}: ${answer.join(" ")}`);
        else seen[by]! += 1;
      } catch (error) {
        wrong.push(`protocol ${way}, image ${n}: ${error}`);
      }
    }
  };
  let isOver = false;
  const reload = async (): Promise<void> => {
    while (!isOver) {
      await placeLeNet5(folder, { seed: 11 + (reloads % 2) });
      reloads += 1;
      await wait(1000);
    }
  };
  const memory: number[] = [];
  const watch = async (): Promise<void> => {
    while (!isOver) {
      await wait(1000);
      memory.push((await residentBytes(url)) / 2 ** 20);
    }
  };
  const beside = [reload(), watch()];
  await Promise.all(Array.from({ length: 48 }, work));
  isOver = true;
  await Promise.all(beside);
  close();
  agent.destroy();
  expect(wrong).toEqual([]);
  expect(seen[0]! + seen[1]!).toBe(REQUESTS);
  // Both have answered, one after the other, many times.
  expect(Math.min(...seen)).toBeGreaterThan(REQUESTS / 10);
  expect(reloads).toBeGreaterThan(5);
  const third = Math.floor(memory.length / 3);
  const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [before, after] = [mean(memory.slice(third, 2 * third)), mean(memory.slice(2 * third))];
  console.log(`${reloads} loads; resident memory in MiB: ${memory.map(Math.round).join(" ")}`);
  expect(after - before).toBeLessThan(Math.max(24, before / 8));
  child.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
  expect(errors()).not.toContain('"level":50');
});

test("500 connections against a queue of 100: 200 or 503, none hangs, and then it serves at once", async () => {
  const folder = await emptyRepository();
  await placeLeNet5(folder);
  await placeModule(folder, "mlp");
  const { url } = await serveProcess(
    ...["--model-repository", folder, "--port", "0", "--max-queue-size", "100", "--max-batch-size", "8"],
  );
  const agent = new Agent({ keepAlive: true, maxSockets: 500 });
  const rows = Buffer.from(JSON.stringify([[1, 2, 3, 4]]));
  let served = 0;
  let refused = 0;
  const work = async (_: unknown, connection: number): Promise<void> => {
    for (let i = 0; i < 40; i++) {
      const isDigit = connection % 2 === 0;
      const path = isDigit ? "/predictions/digits" : "/predictions/mlp";
      const { status, retryAfter } = await ask(url, path, isDigit ? images[i]! : rows, agent);
      if (status === 200) served += 1;
      else {
        expect([status, retryAfter]).toEqual([503, "1"]);
        refused += 1;
      }
    }
  };
  await Promise.all(Array.from({ length: 500 }, work));
  expect(served + refused).toBe(20_000);
  expect(served).toBeGreaterThan(0);
  expect(refused).toBeGreaterThan(0);
  const start = performance.now();
  for (const path of ["/predictions/digits", "/predictions/mlp"]) {
    const { status } = await ask(url, path, path.endsWith("mlp") ? rows : images[1]!, agent);
    expect(status).toBe(200);
  }
  expect(performance.now() - start).toBeLessThan(2000);
  agent.destroy();
});

test("killed in the middle and started again, it serves with no manual step", async () => {
  const folder = await emptyRepository();
  const model = await placeLeNet5(folder);
  const expected = model.predictSync(images[9]!).labels[0];
  let port = "0";
  for (let life = 0; life < 5; life++) {
    const { child, url, ended } = await serveProcess("--model-repository", folder, "--port", port);
    port = new URL(url).port;
    const agent = new Agent({ keepAlive: true, maxSockets: 16 });
    const first = await ask(url, "/predictions/digits", images[9]!, agent);
    expect(JSON.parse(first.body.toString()).label).toBe(String(expected));
    let answered = 0;
    const work = async (): Promise<void> => {
      for (;;) {
        const answer = await ask(url, "/predictions/digits", images[9]!, agent).catch(() => undefined);
        if (answer === undefined) return;
        expect(answer.status).toBe(200);
        answered += 1;
        if (answered === 300) child.kill("SIGKILL");
      }
    };
    await Promise.all(Array.from({ length: 16 }, work));
    expect(answered).toBeGreaterThanOrEqual(300);
    expect((await ended)[1]).toBe("SIGKILL");
    agent.destroy();
  }
});
