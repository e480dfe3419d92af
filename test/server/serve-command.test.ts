// `lenet5 serve`, as a shell runs it.
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { lastJson, lenet5 } from "../cli/lenet5.js";
import { cleanUp, emptyRepository, placeLeNet5 } from "./models.js";
import { serveProcess } from "./serve-process.js";

afterEach(cleanUp);

const predict = (url: string, headers = {}) =>
  fetch(`${url}/predictions/digits`, { method: "POST", body: new Uint8Array(784), headers });

test("tells what it loaded and where it listens, serves, and ends with 0 at SIGTERM", async () => {
  const folder = await emptyRepository();
  await placeLeNet5(folder);
  await mkdir(join(folder, "broken", "1"), { recursive: true });
  await writeFile(join(folder, "broken", "1", "model.safetensors"), "nothing");
  const { child, url, ended, output, errors } = await serveProcess(
    "--model-repository",
    folder,
    "--port",
    "0",
    "--grpc-port",
    "0",
  );
  const lines = output().trimEnd().split("\n");
  expect(lines[0]).toMatch(
    /^Cannot load broken 1 from broken\/1\/model.safetensors: Expected .* \(LENET5_MODEL_CORRUPT\)$/,
  );
  expect(lines[1]).toBe("Loaded digits 1 from digits/1/model.safetensors");
  expect(lines[2]).toMatch(/^Ready at http:\/\/127\.0\.0\.1:\d+, grpc:\/\/127\.0\.0\.1:\d+ \(grpc\)$/);
  expect((await predict(url)).status).toBe(200);
  child.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
  // What could not be loaded is in the log, a line of JSON.
  const [entry] = errors().split("\n");
  expect(JSON.parse(entry!)).toMatchObject({ level: 40, msg: expect.stringContaining("Cannot load broken 1") });
});

test("answers what is under way at SIGTERM before it ends, and a second signal ends it at once", async () => {
  const folder = await emptyRepository();
  await placeLeNet5(folder);
  const slow = ["--model-repository", folder, "--port", "0", "--max-queue-delay"];
  const patient = await serveProcess(...slow, "300000");
  const answer = predict(patient.url);
  await new Promise((resolve) => setTimeout(resolve, 100));
  patient.child.kill("SIGTERM");
  expect((await answer).status).toBe(200);
  expect(await patient.ended).toEqual([0, null]);
  const hurried = await serveProcess(...slow, "30000000");
  const lost = predict(hurried.url).catch(() => "lost");
  await new Promise((resolve) => setTimeout(resolve, 100));
  hurried.child.kill("SIGTERM");
  while (!hurried.errors().includes("Stopping")) await new Promise((resolve) => setTimeout(resolve, 10));
  hurried.child.kill("SIGTERM");
  expect(await hurried.ended).toEqual([143, null]);
  expect(await lost).toBe("lost");
});

test("goes on for --shutdown-delay after SIGTERM, not ready; a second signal ends it at once", async () => {
  const folder = await emptyRepository();
  await placeLeNet5(folder);
  const words = ["--model-repository", folder, "--port", "0", "--shutdown-delay"];
  const patient = await serveProcess(...words, "700");
  const start = performance.now();
  patient.child.kill("SIGTERM");
  while ((await fetch(`${patient.url}/readyz`)).status === 200) await new Promise((resolve) => setTimeout(resolve, 10));
  expect((await predict(patient.url)).status).toBe(200);
  expect(await patient.ended).toEqual([0, null]);
  expect(performance.now() - start).toBeGreaterThan(600);
  const hurried = await serveProcess(...words, "60000");
  hurried.child.kill("SIGTERM");
  while (!hurried.errors().includes("Taking requests for 60000 ms more. Stopping "))
    await new Promise((resolve) => setTimeout(resolve, 10));
  hurried.child.kill("SIGTERM");
  expect(await hurried.ended).toEqual([143, null]);
});

test("takes tokens from files, never shows them, and logs requests with their ids where it is asked to", async () => {
  const folder = await emptyRepository();
  await placeLeNet5(folder);
  const token = join(folder, "token");
  await writeFile(token, "a-secret-token\n");
  const words = ["--model-repository", folder, "--port", "0", "--log-level", "debug"];
  const { child, url, ended, output, errors } = await serveProcess(...words, "--inference-token-file", token);
  expect((await predict(url)).status).toBe(401);
  expect((await predict(url, { authorization: "Bearer a-secret-token", "x-request-id": "number-42" })).status).toBe(
    200,
  );
  child.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
  expect(errors()).toContain('"reqId":"number-42"');
  expect(output() + errors()).not.toContain("a-secret-token");
});

test("refuses a token that came out empty rather than serve without one", async () => {
  const folder = await emptyRepository();
  await placeLeNet5(folder);
  const empty = join(folder, "token");
  await writeFile(empty, "\n");
  const words = ["serve", "--json", "--port", "0", "--model-repository", folder];
  const runs = await Promise.all([
    lenet5([...words, "--inference-token-file", empty]),
    lenet5([...words, "--management-token-file", empty]),
    lenet5(words, { env: { LENET5_INFERENCE_TOKEN: "" } }),
    lenet5(words, { env: { LENET5_MANAGEMENT_TOKEN: "" } }),
  ]);
  for (const run of runs) expect([run.status, lastJson(run).error.code]).toEqual([1, "LENET5_INVALID_OPTION"]);
});

test("says what is wrong: no folder, an empty one, a port in use, an option", async () => {
  const folder = await emptyRepository();
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as { port: number };
  onTestFinished(() => {
    taken.close();
  });
  const serve = (...words: string[]) => lenet5(["serve", "--json", ...words]);
  const runs = await Promise.all([
    serve("--model-repository", join(folder, "nowhere"), "--port", "0"),
    serve("--model-repository", folder, "--port", "0"),
    serve("--model-repository", folder, "--port", String(port)),
    serve("--model-repository", folder, "--port", "70000"),
  ]);
  expect(runs.map(({ status }) => status)).toEqual([1, 1, 1, 2]);
  expect(runs.map((run) => lastJson(run).error.code)).toEqual([
    "LENET5_DATA_NOT_FOUND",
    "LENET5_MODEL_NOT_FOUND",
    "LENET5_LISTEN_FAILED",
    "LENET5_INVALID_OPTION",
  ]);
  expect(runs[1]!.stderr).toContain(join(folder, "<name>", "<version>", "model.pt"));
  expect(runs[2]!.stderr).toContain(`127.0.0.1:${port}`);
});
