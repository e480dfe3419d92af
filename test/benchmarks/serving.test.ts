// The harness of the serving suite: ApacheBench's figures are read rightly, and wrong answers are told from right ones.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, onTestFinished, test } from "vitest";
import { benchmarkModule, sampleResult } from "./modules.js";

const { parsePercentiles, parseReport } = await benchmarkModule("runner/serving/apache-bench.mjs");
const { binaryRequest, emptied, pngRequest } = await benchmarkModule("runner/serving/requests.mjs");
const { window } = await benchmarkModule("runner/suites/serving.mjs");
const { compare } = await benchmarkModule("runner/targets.mjs");
const { problems } = await benchmarkModule("report/result-file.mjs");

const folder = mkdtempSync(join(tmpdir(), "lenet5-serving-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const REPORT = `
Concurrency Level:      32
Time taken for tests:   3.000 seconds
Complete requests:      12000
Failed requests:        20
   (Connect: 0, Receive: 0, Length: 20, Exceptions: 0)
Non-2xx responses:      40
Keep-Alive requests:    11900
Total transferred:      4000000 bytes
Total body sent:        6000000
HTML transferred:       2400000 bytes
Requests per second:    4000.00 [#/sec] (mean)
`;

test("what failed or has another status is taken off", () => {
  expect(parseReport(REPORT)).toMatchObject({ complete: 12_000, good: 11_940, kept: 11_900, bodyBytes: 200 });
  expect(parseReport(REPORT).requestsPerSecond).toBeCloseTo(3980);
  expect(parseReport(REPORT.replace(/Non-2xx.*\n/, "")).good).toBe(11_980);
  expect(() => parseReport("apr_socket_recv: Connection refused")).toThrow(/Complete requests/);
  expect(parsePercentiles("Percentage served,Time in ms\n0,0.1\n50,1.25\n99,7.5\n")).toEqual({
    p50Ms: 1.25,
    p99Ms: 7.5,
  });
});

test("a right answer names the digit with ten probabilities", () => {
  const request = pngRequest(Buffer.of(), 7);
  const probabilities = Array.from({ length: 10 }, (_, i) => (i === 7 ? 0.91 : 0.01));
  const answer = (value: object, status = 200) => ({ status, bytes: Buffer.from(JSON.stringify(value)) });
  expect(request.isRight(answer({ label: "7", probabilities }))).toBe(true);
  expect(request.isRight(answer({ label: "7", probabilities }, 500))).toBe(false);
  expect(request.isRight(answer({ label: "1", probabilities }))).toBe(false);
  expect(request.isRight(answer({ label: "7", probabilities: probabilities.toReversed() }))).toBe(false);
  expect(request.isRight(answer({ label: "7", probabilities: probabilities.map((p) => p * 2) }))).toBe(false);
});

test("a binary tensor is asked for and read as the protocol has it", () => {
  const request = binaryRequest(new Array(784).fill(0), 3);
  const length = Number(request.headers["inference-header-content-length"]);
  expect(JSON.parse(request.body.subarray(0, length)).inputs[0].parameters.binary_data_size).toBe(3136);
  expect(request.body.length).toBe(length + 3136);
  const json = JSON.stringify({ outputs: [{ name: "output0", shape: [1, 10] }] });
  const logs = Float32Array.from({ length: 10 }, (_, i) => Math.log(i === 3 ? 0.91 : 0.01));
  const bytes = Buffer.concat([Buffer.from(json), Buffer.from(logs.buffer)]);
  const headers = new Headers({ "inference-header-content-length": String(json.length) });
  expect(request.isRight({ status: 200, headers, bytes })).toBe(true);
  expect(request.isRight({ status: 200, headers, bytes: bytes.subarray(0, -4) })).toBe(false);
  expect(binaryRequest(new Array(784).fill(0), 4).isRight({ status: 200, headers, bytes })).toBe(false);
});

describe.skipIf(spawnSync("ab", ["-V"]).status !== 0 && process.env.CI !== "true")("a window of load", () => {
  async function listening(answer: (count: number) => { status?: number; body: string }): Promise<string> {
    let count = 0;
    const server: Server = createServer((request, response) => {
      request.resume().on("end", () => {
        const { status = 200, body } = answer(count++);
        response.writeHead(status, { "content-length": body.length }).end(body);
      });
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  const request = emptied(pngRequest(Buffer.from("a body"), 7));

  it("counts right answers on kept connections", async () => {
    const url = await listening(() => ({ body: "{}" }));
    const figures = await window({ url }, request, 4, 1, folder);
    expect(figures.wrong).toBe(0);
    expect(figures.kept).toBeGreaterThan(figures.complete / 2);
    expect(figures.complete).toBeGreaterThan(10);
    expect(figures.requestsPerSecond).toBeGreaterThan(0);
    expect(figures.p99Ms).toBeGreaterThanOrEqual(figures.p50Ms);
  });

  it("finds answers of another status, and other bodies of the status 200", async () => {
    const busy = await listening((count) => (count % 3 === 1 ? { status: 503, body: "{}" } : { body: "{}" }));
    const refused = await window({ url: busy }, request, 4, 1, folder);
    expect(refused.wrong).toBeGreaterThanOrEqual(refused.otherStatuses);
    expect(refused.otherStatuses).toBeGreaterThan(0);
    const apology = await listening((count) => ({ body: count % 2 === 0 ? "{}" : "{ an apology }" }));
    const other = await window({ url: apology }, request, 4, 1, folder);
    expect(other.wrong).toBeGreaterThan(0);
  });
});

const row = (system: string, what: string, requestsPerSecond: number, p99Ms: number, correct = true) => ({
  ...{ suite: "serving", system, what, concurrency: 32, requestsPerSecond, p50Ms: 1, p99Ms, correct },
  rounds: { requestsPerSecond: [requestsPerSecond, requestsPerSecond] },
});

test("the promises are held against the result, and wrong answers reach nothing", () => {
  const result = sampleResult();
  result.results = [
    row("lenet5-serve", "PNG digit", 9000, 9),
    row("lenet5-serve", "v2 binary tensor", 7000, 9),
    row("fastify-empty", "PNG digit", 14_000, 5),
    row("fastify-empty", "v2 binary tensor", 14_000, 5),
    row("torchserve", "PNG digit", 500, 100),
  ];
  expect(problems(result)).toEqual([]);
  const reached = () => compare(result).map(({ reached }: { reached: boolean | null }) => reached);
  expect(reached()).toEqual([true, true, false, true]);
  result.results[0] = row("lenet5-serve", "PNG digit", 9000, 9, false);
  expect(reached()).toEqual([false, false, false, null]);
  result.results.pop();
  expect(reached()).toEqual([null, false, false, null]);
});
