// Damaged requests, over sockets, against a server with real models: a few hundred a protocol with `npm test`, ten thousand with
// `npm run test:long`. Whatever comes, the answer is one that the protocol's contract has, never a fault of the server's own;
// nothing hangs; and the models beside the one that is asked go on giving right answers.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Random } from "../../lib/data/random.js";
import type { ModelRepository } from "../../lib/server/model-repository.js";
import { cleanUp, emptyRepository, placeLeNet5, placeModule, serve } from "../server/models.js";
import { answerOf, damaged, exchange, type RawRequest, written } from "./requests.js";

const LONG = process.env.LENET5_LONG_TESTS === "1";
const REQUESTS = LONG ? 10_000 : 300;
const SEED = 20261124;
/** Sockets at once. */
const WIDTH = 8;

let port: number;
let repository: ModelRepository;
let png: Buffer;
/** What the undamaged model gives for the PNG. */
let right: string;
beforeAll(async () => {
  const folder = await emptyRepository();
  (await placeLeNet5(folder, { name: "lenet5", seed: 1 })).dispose();
  (await placeLeNet5(folder, { name: "victim", seed: 2 })).dispose();
  (await placeLeNet5(folder, { name: "victim", version: "2", seed: 3 })).dispose();
  await placeModule(folder, "mlp");
  (await placeLeNet5(folder, { name: "broken" })).dispose();
  await writeFile(join(folder, "broken", "1", "model.safetensors"), "no model");
  const { url, server } = await serve(folder, { bodyLimit: 2 ** 18, requestTimeoutMilliseconds: 5000 });
  port = Number(new URL(url).port);
  repository = server.repository;
  const pixels = Buffer.from(Uint8Array.from({ length: 784 }, (_, i) => (i % 28 > 8 && i % 28 < 12 ? 250 : 0)));
  png = await sharp(pixels, { raw: { width: 28, height: 28, channels: 1 } })
    .png()
    .toBuffer();
  right = await asked();
});
afterAll(cleanUp);

/** The answer of the model that no damaged request is meant for. */
async function asked(): Promise<string> {
  const answer = answerOf(
    await exchange(port, written({ method: "PUT", path: "/predictions/lenet5", headers: [], body: png })),
  );
  expect(answer?.status).toBe(200);
  return answer!.body.toString();
}

interface Contract {
  readonly statuses: readonly number[];
  isError(body: unknown, status: number): boolean;
}
const isText = (value: unknown): boolean => typeof value === "string" && value !== "";
const keysOf = (value: unknown): string =>
  typeof value === "object" && value !== null ? Object.keys(value).sort().join() : "";
const errorOnly = (body: unknown): boolean => keysOf(body) === "error" && isText((body as { error: unknown }).error);

const CONTRACTS: Record<string, Contract> = {
  "open-inference": {
    statuses: [400, 404, 405, 501, 503],
    // A model that is not ready says so with 503 and no error.
    isError: (body, status) => errorOnly(body) || (status === 503 && keysOf(body) === "live,name,ready"),
  },
  torchserve: {
    statuses: [400, 404, 405, 409, 413, 503],
    isError: (body, status) => {
      const { code, type, message } = body as Record<string, unknown>;
      return (
        keysOf(body) === "code,message,type" &&
        code === status &&
        /^[A-Z]\w+Exception$/.test(String(type)) &&
        isText(message)
      );
    },
  },
  "tensorflow-serving": { statuses: [400, 404, 501, 503], isError: errorOnly },
};
/** How HTTP itself is refused, before there is a protocol: bytes that are no request, too many headers, too slow a body. */
const HTTP_STATUSES = [400, 408, 417, 431];

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const FORM = 'multipart/form-data; boundary="edge"';
const form = (name: string, content: Buffer): Buffer =>
  Buffer.concat([
    Buffer.from(
      `--edge\r\nContent-Disposition: form-data; name="${name}"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n`,
    ),
    content,
    Buffer.from("\r\n--edge--\r\n"),
  ]);

/** Requests of a protocol as its clients send them. */
function seeds(protocol: string): RawRequest[] {
  const zeros = Array(784).fill(0);
  const rows = Array.from({ length: 28 }, () => Array(28).fill(0.5));
  const get = (path: string): RawRequest => ({ method: "GET", path, headers: [], body: Buffer.alloc(0) });
  const post = (path: string, body: Buffer, ...headers: [string, string][]): RawRequest => ({
    method: "POST",
    path,
    headers,
    body,
  });
  if (protocol === "tensorflow-serving")
    return [
      post("/v1/models/victim:predict", json({ signature_name: "serving_default", instances: [[rows]] })),
      post("/v1/models/victim/versions/1:predict", json({ inputs: { input0: [[rows]] } })),
      post(
        "/v1/models/victim/labels/stable:predict",
        json({ instances: [{ b64: png.toString("base64") }, { b64: png.toString("base64") }] }),
      ),
      post("/v1/models/mlp:predict", json({ instances: [[1, 2, 3, 4]] })),
      get("/v1/models/victim"),
      get("/v1/models/victim/versions/1/metadata"),
    ];
  if (protocol === "torchserve")
    return [
      { ...post("/predictions/victim", png), method: "PUT" },
      post("/predictions/victim/2", png, ["Content-Type", "image/png"]),
      post("/predictions/victim", form("data", png), ["Content-Type", FORM]),
      post("/predictions/victim", json(zeros), ["Content-Type", "application/json"]),
      post("/predictions/mlp", json([[1, 2, 3, 4]]), ["Content-Type", "application/json"]),
      get("/models?limit=2&next_page_token=0"),
      get("/models/victim/all"),
      { ...get("/models/victim/1?min_worker=1&max_worker=1"), method: "PUT" },
      { ...get("/models/victim/1?min_worker=0&max_worker=0"), method: "PUT" },
      { ...get("/models/victim/2/set-default"), method: "PUT" },
      { ...get("/models?url=victim/1/model.safetensors&model_name=extra&batch_size=2"), method: "POST" },
      { ...get("/models/extra/1"), method: "DELETE" },
    ];
  const head = { name: "input0", shape: [1, 1, 28, 28], datatype: "FP32" };
  const binary = json({
    id: "1",
    inputs: [{ ...head, parameters: { binary_data_size: 3136 } }],
    outputs: [{ name: "label", parameters: { binary_data: true } }],
  });
  const length: [string, string] = ["Inference-Header-Content-Length", String(binary.length)];
  return [
    post(
      "/v2/models/victim/infer",
      json({ id: "1", inputs: [{ ...head, data: zeros }], outputs: [{ name: "output0" }] }),
    ),
    post("/v2/models/victim/versions/2/infer", Buffer.concat([binary, Buffer.alloc(3136)]), length),
    post("/v2/models/victim/infer", Buffer.concat([binary, Buffer.alloc(3136)]), length),
    post(
      "/v2/models/mlp/infer",
      json({ inputs: [{ name: "x", shape: [1, 4], datatype: "FP32", data: [[1, 2, 3, 4]] }] }),
    ),
    get("/v2/models/victim/versions/1"),
    get("/v2/models/victim/ready"),
    post("/v2/repository/index", json({ ready: true })),
    post("/v2/repository/models/victim/unload", json({ parameters: { unload_dependents: false } })),
    post("/v2/repository/models/victim/load", json({})),
  ];
}

/** What the page answers at its own addresses. */
const PAGE: Contract = { statuses: [404, 405], isError: errorOnly };

/** The contract of the protocol that a path belongs to; what belongs to none is answered as TorchServe does. */
function contractOf(sent: Buffer): Contract {
  const text = sent.toString("latin1", 0, 200);
  const first = /^\S+ \/([^/?# ]*)/.exec(text)?.[1];
  if (/^\S+ \/[?# ]/.test(text) && !text.startsWith("OPTIONS")) return PAGE;
  return CONTRACTS[first === "v1" ? "tensorflow-serving" : first === "v2" ? "open-inference" : "torchserve"]!;
}

/** What is wrong with an answer; undefined where nothing is. */
function wrongWith(bytes: Buffer, sent: Buffer, isHttp: boolean): string | undefined {
  const { statuses, isError } = contractOf(sent);
  const answer = answerOf(bytes);
  if (answer === undefined) return isHttp && bytes.length === 0 ? undefined : "no answer";
  const { status, head, body } = answer;
  if (status === 200) return undefined;
  if (isHttp && HTTP_STATUSES.includes(status)) return undefined;
  if (!head.includes("content-length")) return "no length";
  if (!statuses.includes(status)) return `status ${status}`;
  if (sent.toString("latin1", 0, 4) === "HEAD") return undefined;
  try {
    return isError(JSON.parse(body.toString()), status) ? undefined : "another body";
  } catch {
    return "no JSON";
  }
}

describe.each(Object.keys(CONTRACTS))("damaged requests of %s", (protocol) => {
  /** Sends requests, a few at a time, and gives those whose answers are wrong. */
  async function send(
    count: number,
    next: () => { bytes: Buffer; isHttp: boolean; isAll: boolean },
  ): Promise<string[]> {
    const wrong: string[] = [];
    const statuses = new Map<number | undefined, number>();
    let index = 0;
    const worker = async (): Promise<void> => {
      while (index < count) {
        const at = index++;
        if (at % 250 === 249) expect(await asked()).toBe(right);
        const { bytes, isHttp, isAll } = next();
        const answer = await exchange(port, bytes, isAll).catch((error: Error) => Buffer.from(error.message));
        const status = answerOf(answer)?.status;
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        const fault = wrongWith(answer, bytes, isHttp);
        if (fault !== undefined)
          wrong.push(
            `${at}: ${fault}\n${bytes.toString("latin1").slice(0, 1500)}\n→ ${answer.toString("latin1").slice(0, 600)}`,
          );
      }
    };
    await Promise.all(Array.from({ length: WIDTH }, worker));
    console.log(`${count} of ${protocol}:`, Object.fromEntries([...statuses].sort(([, a], [, b]) => b - a)));
    return wrong;
  }

  it("are answered as the contract says", { timeout: 1_800_000 }, async () => {
    const random = new Random(SEED);
    const all = seeds(protocol);
    // Whoever was asked before may have unloaded them.
    for (const name of ["victim", "mlp"]) await repository.load(name);
    for (const seed of all) {
      const answer = answerOf(await exchange(port, written(seed)));
      expect([200, 503], `${seed.method} ${seed.path}: ${answer?.body}`).toContain(answer?.status);
    }
    const wrong = await send(REQUESTS, () => {
      const sent = damaged(all[random.integer(all.length)]!, random);
      // Methods, paths and headers that HTTP itself does not have are refused below the protocol.
      const isHttp =
        !["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"].includes(sent.method) ||
        sent.headers.some(([name, value]) => name === "Connection" || (name === "Expect" && value !== ""));
      return { bytes: written(sent), isHttp, isAll: false };
    });
    expect(wrong.slice(0, 5)).toEqual([]);
    expect(await asked()).toBe(right);
  });

  it("are answered or cut off where they are no HTTP, or end too early", { timeout: 1_800_000 }, async () => {
    const random = new Random(SEED + 1);
    const all = seeds(protocol);
    const wrong = await send(Math.ceil(REQUESTS / 5), () => {
      const sent = all[random.integer(all.length)]!;
      const whole = written(sent);
      const head = whole.indexOf("\r\n\r\n");
      const at = random.integer(random.chance(0.5) ? head : whole.length);
      const bytes = Buffer.from(random.chance(0.5) ? whole.subarray(0, at) : whole);
      if (bytes.length === whole.length) bytes[random.integer(head)] = random.integer(256);
      return { bytes, isHttp: true, isAll: true };
    });
    expect(wrong.slice(0, 5)).toEqual([]);
    expect(await asked()).toBe(right);
  });
});
