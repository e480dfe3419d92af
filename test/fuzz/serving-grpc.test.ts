// Damaged calls of gRPC against a server with real models: messages that are damaged, messages that lie, and damaged bytes on an
// HTTP/2 connection. A few hundred with `npm test`, ten thousand with `npm run test:long`. Whatever comes, the status is one
// that the protocol has for it, never a fault of the server's own; nothing hangs; the other models go on giving right answers.
import { once } from "node:events";
import { connect, createServer as createProxy } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Random } from "../../lib/data/random.js";
import { mutate } from "../mutate.mjs";
import { Client, imageRequest } from "../server/grpc/client.js";
import { cleanUp, emptyRepository, placeLeNet5, placeModule, serve } from "../server/models.js";

const LONG = process.env.LENET5_LONG_TESTS === "1";
const CALLS = LONG ? 10_000 : 400;
const CONNECTIONS = LONG ? 2000 : 60;
const SEED = 20261125;
/** Calls at once. */
const WIDTH = 8;
/** Status codes that a damaged call may end with: what is no message, what there is not, what is not supported, what is not ready. */
const OK = 0;
const EXPECTED = [OK, 3, 5, 8, 10, 12, 14];

let port: number;
let client: Client;
let right: Buffer;
beforeAll(async () => {
  const folder = await emptyRepository();
  (await placeLeNet5(folder, { name: "lenet5", seed: 1 })).dispose();
  (await placeLeNet5(folder, { name: "victim", seed: 2 })).dispose();
  await placeModule(folder, "mlp");
  const { server } = await serve(folder, { ports: { grpc: 0 }, bodyLimit: 2 ** 18, requestTimeoutMilliseconds: 5000 });
  port = server.addresses.find(({ name }) => name === "grpc")!.port;
  client = new Client(port);
  right = await asked();
});
afterAll(async () => {
  client.close();
  await cleanUp();
});

/** The answer of the model that no damaged call is meant for. */
async function asked(): Promise<Buffer> {
  const { raw_output_contents } = await client.call("ModelInfer", imageRequest(0.3, { model_name: "lenet5" }));
  return Buffer.concat(raw_output_contents);
}

type Method = string;
/** A call as a client would make it. */
function sound(random: Random): [Method, object] {
  const values = Array.from({ length: 784 }, () => random.uniform());
  const image = { name: "input0", datatype: "FP32", shape: [1, 1, 28, 28] };
  const victim = { model_name: "victim", id: "1" };
  const calls: [Method, object][] = [
    ["ModelInfer", imageRequest(random.uniform(), { ...victim, outputs: [{ name: "output0" }] })],
    ["ModelInfer", { ...victim, inputs: [{ ...image, contents: { fp32_contents: values } }] }],
    ["ModelInfer", { ...victim, inputs: [{ ...image, shape: [0, 1, 28, 28] }] }],
    ["ModelInfer", { model_name: "mlp", inputs: [{ ...image, shape: [1, 784], contents: { fp32_contents: values } }] }],
    ["ModelMetadata", { name: "victim", version: "1" }],
    ["ModelReady", { name: "victim" }],
    ["RepositoryIndex", { ready: true }],
    ["RepositoryModelLoad", { model_name: "victim" }],
    ["RepositoryModelUnload", { model_name: "victim" }],
  ];
  // Calls that change the model are rarer, so that most of the others find it.
  return calls[random.chance(0.97) ? random.integer(7) : 7 + random.integer(2)]!;
}

const SIZES = [0, 1, -1, 2, 27, 28, 784, 3136, 65_535, 2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER];
const DATATYPES = ["FP32", "FP64", "FP16", "BF16", "INT8", "INT64", "UINT8", "UINT64", "BOOL", "BYTES", "", "toString"];
const FIELDS = ["bool", "int", "int64", "uint", "uint64", "fp32", "fp64"].map((name) => `${name}_contents`);

/** A whole message that says one thing and holds another. */
function lying(random: Random): [Method, object] {
  const one = <T>(list: readonly T[]): T => list[random.integer(list.length)]!;
  const many = <T>(most: number, make: () => T): T[] => Array.from({ length: random.integer(most) }, make);
  const input = (): object => ({
    name: one(["input0", "input0", "input", "", "__proto__"]),
    datatype: one(DATATYPES),
    shape: random.chance(0.5) ? [1, 1, 28, 28] : many(6, () => one(SIZES)),
    parameters: random.chance(0.1) ? { shared_memory_region: { string_param: "x" } } : {},
    ...(random.chance(0.5) && { contents: { [one(FIELDS)]: many(1000, () => random.integer(2)) } }),
  });
  return [
    "ModelInfer",
    {
      model_name: one(["victim", "victim", "mlp", "nobody", "", "../lenet5", "__proto__"]),
      model_version: one(["", "", "1", "2", "-1", "latest"]),
      inputs: many(4, input),
      outputs: many(3, () => ({ name: one(["output0", "label", "x"]) })),
      raw_input_contents: many(4, () => Buffer.alloc(one([0, 1, 784, 3136, 3137, 6272]))),
      parameters: random.chance(0.2) ? { timeout: { int64_param: one([-1, 0, 1, 2 ** 40]) } } : {},
    },
  ];
}

const serialize = (method: Method, message: object): Buffer =>
  client.inference[method].requestSerialize(message) as Buffer;

describe("damaged calls of gRPC", () => {
  it(`are answered: ${CALLS} messages`, { timeout: LONG ? 1_200_000 : 120_000 }, async () => {
    const random = new Random(SEED);
    const codes = new Map<number, number>();
    let left = CALLS;
    const work = async (): Promise<void> => {
      while (left-- > 0) {
        const [method, message] = random.chance(0.3) ? lying(random) : sound(random);
        const whole = serialize(method, message);
        const bytes = random.chance(0.85) ? mutate(whole, random) : whole;
        const { code, details } = await client.callRaw(method, bytes).then(
          () => ({ code: OK, details: "" }),
          (error: { code: number; details: string }) => error,
        );
        codes.set(code, (codes.get(code) ?? 0) + 1);
        if (EXPECTED.includes(code) && (code === OK || details.length > 10)) continue;
        throw new Error(`${method} ended with ${code} "${details}":\n${bytes.toString("hex").slice(0, 4000)}`);
      }
    };
    await Promise.all(Array.from({ length: WIDTH }, work));
    // Neither is everything refused nor does everything pass.
    expect(codes.get(OK)).toBeGreaterThan(CALLS / 20);
    expect(codes.get(3)).toBeGreaterThan(CALLS / 10);
    expect(await asked()).toEqual(right);
  });

  it(`do no harm as bytes on a connection: ${CONNECTIONS}`, { timeout: LONG ? 1_200_000 : 120_000 }, async () => {
    const recorded = await record();
    const random = new Random(SEED + 1);
    let left = CONNECTIONS;
    const work = async (): Promise<void> => {
      while (left-- > 0) {
        const socket = connect(port, "127.0.0.1").on("error", () => {});
        const closed = new Promise((resolve) => socket.once("close", resolve));
        socket.resume();
        socket.end(random.chance(0.95) ? mutate(recorded, random) : noise(random));
        // Some damage leaves the server waiting for the rest; a test of its own shows that it does not wait for ever.
        const timer = setTimeout(() => socket.destroy(), 500);
        await closed;
        clearTimeout(timer);
      }
    };
    await Promise.all(Array.from({ length: WIDTH }, work));
    expect(await asked()).toEqual(right);
  });
});

function noise(random: Random): Buffer {
  return Buffer.from(Array.from({ length: 1 + random.integer(2000) }, () => random.integer(256)));
}

/** The bytes of a whole connection with a call in it. */
async function record(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const proxy = createProxy((socket) => {
    const server = connect(port, "127.0.0.1");
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.pipe(server).pipe(socket);
    for (const each of [socket, server]) each.on("error", () => {});
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const through = new Client((proxy.address() as { port: number }).port);
  await through.call("ModelInfer", imageRequest(0.3, { model_name: "lenet5" }));
  through.close();
  proxy.close();
  const bytes = Buffer.concat(chunks);
  expect(bytes.toString("latin1")).toMatch(/^PRI \* HTTP\/2\.0/);
  return bytes;
}
