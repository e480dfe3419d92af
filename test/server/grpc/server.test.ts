// gRPC as part of the whole server: tokens, counters, the batcher's queue, an orderly end.
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import type { ServerOptions } from "../../../lib/server.js";
import { cleanUp, emptyRepository, placeLeNet5, serve } from "../models.js";
import { Client, imageRequest } from "./client.js";

const clients: Client[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await cleanUp();
});

async function started(options: Partial<ServerOptions> = {}) {
  const folder = await emptyRepository();
  const model = await placeLeNet5(folder);
  const { server, url } = await serve(folder, { ports: { grpc: 0 }, ...options });
  const client = new Client(server.addresses.find(({ name }) => name === "grpc")!.port);
  clients.push(client);
  return { model, server, url, client };
}
const infer = (client: Client, value = 0.5) => client.call("ModelInfer", imageRequest(value, { model_name: "digits" }));

test("answers as the model does, and counts with the rest", async () => {
  const { model, client, url } = await started();
  const values = [0, 0.25, 0.5, 0.75, 1];
  const answers = await Promise.all(values.map((value) => infer(client, value)));
  for (const [i, value] of values.entries()) {
    const expected = model.forwardSync(new Float32Array(784).fill(value)).data;
    const given = new Float32Array(Uint8Array.from(answers[i].raw_output_contents[0]).buffer);
    expect([...given].every((each, j) => Math.abs(each - expected[j]!) < 1e-5)).toBe(true);
  }
  await expect(client.call("ModelInfer", { model_name: "digits" })).rejects.toMatchObject({ code: 3 });
  const text = await (await fetch(`${url}/metrics`)).text();
  const labels = 'protocol="open-inference-grpc",model="digits",version="1"';
  expect(text).toContain(`lenet5_requests_total{${labels},status="200"} 5`);
  expect(text).toContain(`lenet5_request_errors_total{${labels},status="400"} 1`);
  model.dispose();
});

test("asks for the tokens of inference and management", async () => {
  const { client } = await started({ inferenceToken: "read", managementToken: "write", management: true });
  const asked = async (token: string) => {
    client.metadata.set("authorization", `Bearer ${token}`);
    const code = (call: Promise<unknown>) =>
      call.then(
        () => 0,
        ({ code }) => code,
      );
    return [await code(infer(client)), await code(client.call("RepositoryIndex"))];
  };
  expect([await asked("read"), await asked("write"), await asked("none")]).toEqual([
    [0, 16],
    [16, 0],
    [16, 16],
  ]);
});

test("says at once that the queue is full, answers the others, and has room again", async () => {
  const { client } = await started({ maxQueueSize: 4, maxBatchSize: 2 });
  const codes = await Promise.all(
    Array.from({ length: 400 }, () =>
      infer(client).then(
        () => 0,
        ({ code }) => code as number,
      ),
    ),
  );
  expect(new Set(codes)).toEqual(new Set([0, 14]));
  expect(codes.filter((code) => code === 0).length).toBeGreaterThanOrEqual(4);
  expect((await infer(client)).model_name).toBe("digits");
});

test("gives up with the time that the server allows", async () => {
  const { client } = await started({ maxQueueDelayMicroseconds: 5_000_000, maxBatchSize: 64 });
  const begun = performance.now();
  const late = client.call(
    "ModelInfer",
    imageRequest(1, { model_name: "digits", parameters: { timeout: { int64_param: 100_000 } } }),
  );
  await expect(late).rejects.toMatchObject({ code: 4 });
  expect(performance.now() - begun).toBeLessThan(4000);
});

test("ends with the server, and what is under way gets its answer", async () => {
  const { client, server } = await started({ maxQueueDelayMicroseconds: 300_000, maxBatchSize: 64 });
  const last = Array.from({ length: 20 }, () => infer(client));
  await new Promise((resolve) => setTimeout(resolve, 100));
  const [answers] = await Promise.all([Promise.all(last), server.close()]);
  expect(answers.map(({ model_name }) => model_name)).toEqual(Array(20).fill("digits"));
  await expect(infer(client)).rejects.toMatchObject({ code: 14 });
});

test("closes connections beyond the limit, and silent ones after a while", async () => {
  const { server, client } = await started({ maxConnections: 3, requestTimeoutMilliseconds: 200 });
  const { port } = server.addresses.find(({ name }) => name === "grpc")!;
  await infer(client);
  const sockets = Array.from({ length: 6 }, () => connect(port, "127.0.0.1").on("error", () => {}));
  const closed = sockets.map((socket) => once(socket.resume(), "close"));
  await wait(100);
  expect(sockets.filter(({ destroyed }) => destroyed).length).toBe(4);
  await infer(client);
  await Promise.all(closed);
  await infer(client);
});
