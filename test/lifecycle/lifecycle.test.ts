// `npm run lifecycle`: the whole way, and what may go wrong on it. Whatever does, nothing is deployed and what is deployed stays.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { packageRoot } from "#package-root";
import { LeNet5 } from "../../lib/index.js";
import { freePort } from "../free-ports.js";
import { describeWithEnvironments, pythonFor } from "../python.js";
import { contents, drawDigits, folderForAll, killTraining, lifecycle, options, run, small, standIns } from "./peers.js";

const RUN = "20261129180000";
/** Where a server is asked what it has loaded. */
const INDEX = "/v2/repository/index";
/** What it answers where that is all that lies in its folder. */
const indexOf = (repository: string) =>
  JSON.stringify(
    readdirSync(join(repository, "lenet5")).map((version) => ({ name: "lenet5", version, state: "READY" })),
  );
const ADDRESS = "an address (http:// or https://, no user, no query) for --server-url but received";

describeWithEnvironments(["tensorflow"], "the whole way", () => {
  const folder = folderForAll();
  beforeAll(async () => await drawDigits(folder));

  test("trains three times, deploys to a server of its own, and makes the same again", async () => {
    const words = [...options(small(folder)), "--directory", folder, "--run", RUN];
    const script = join(packageRoot, "scripts", "lifecycle.mjs");
    const ended = await run(process.execPath, [script, ...words], {
      env: { LENET5_TENSORFLOW_PYTHON: pythonFor("tensorflow") },
    });
    expect(ended.stderr).toMatch(/^report: done in/m);
    expect(ended.status).toBe(0);
    const first = JSON.parse(ended.stdout);
    expect(first).toMatchObject({ run: join(folder, RUN), version: RUN, deployed: true });
    const { results } = first;
    expect(results.train_pytorch).toMatchObject({ system: "pytorch", seed: 42, accuracy: expect.any(Number) });
    expect(results.train_tensorflow).toMatchObject({ system: "tensorflow", seed: 42, accuracy: expect.any(Number) });
    expect(results.evaluate.accuracy).toBeGreaterThan(0.3);
    expect(results.gate).toMatchObject({ open: true, deployed: null, accuracy: results.evaluate.accuracy });
    expect(results.smoke_test).toMatchObject({ digits: 20 });
    expect(results.benchmark.requestsPerSecond).toBeGreaterThan(10);
    const { digest } = results.deploy;
    expect(results.report).toMatchObject({ version: RUN, digest, accuracy: results.evaluate.accuracy });
    expect(readFileSync(results.report.report, "utf8")).toContain(digest);
    expect(readdirSync(join(folder, RUN, "export")).sort()).toEqual(["lenet5.mar", "lenet5.onnx", "lenet5.pt"]);
    expect(readdirSync(join(folder, RUN, "logs")).sort()).toEqual(["libtorch", "pytorch", "tensorflow"]);

    const again = await lifecycle(words, standIns(folder));
    expect(again.status).toBe(0);
    expect(again.result.results.deploy).toMatchObject({ version: RUN, digest });
    expect(again.result.results.gate.deployed).toMatchObject({ version: RUN });
    expect(readdirSync(join(folder, "models", "lenet5"))).toEqual([RUN]);
  });
});

describeWithEnvironments([], "what may go wrong", () => {
  const folder = folderForAll();
  let env: Record<string, string>;
  let count = 0;

  beforeAll(async () => {
    env = standIns(folder);
    await drawDigits(folder);
  });

  /** A folder for runs, and a repository in which version 1, which has learnt nothing, is deployed. */
  async function deployed() {
    const directory = join(folder, `runs ${count++}`);
    const repository = join(directory, "models");
    mkdirSync(join(repository, "lenet5", "1"), { recursive: true });
    using untrained = new LeNet5({ seed: 1, device: "cpu" });
    await untrained.save(join(repository, "lenet5", "1", "model.pt"));
    const before = contents(repository);
    const words = [...options(small(folder)), "--directory", directory, "--run", RUN];
    return { directory, repository, words, untouched: () => expect(contents(repository)).toEqual(before) };
  }

  /** A folder with a `node` that says this in place of `lenet5 evaluate`, and otherwise is Node. */
  function withNode(evaluation: string): string {
    const programs = join(folder, `programs ${count++}`);
    mkdirSync(programs);
    const script = `#!/bin/sh\nif [ "$2" = evaluate ]; then echo '${evaluation}'; else exec '${process.execPath}' "$@"; fi\n`;
    writeFileSync(join(programs, "node"), script, { mode: 0o755 });
    return programs;
  }

  /** A server that says what the test wants. */
  async function server(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
    const listening = createServer(answer).listen(0, "127.0.0.1");
    onTestFinished(() => {
      listening.closeAllConnections();
      listening.close();
    });
    await new Promise((resolve) => listening.once("listening", resolve));
    return `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
  }

  test("a gate that is closed: status 3, and nothing is exported or deployed", async () => {
    const { words, directory, untouched } = await deployed();
    const { status, result } = await lifecycle([...words, "--min-accuracy", "1"], env);
    expect(status).toBe(3);
    expect(result).toMatchObject({ deployed: false, results: { gate: { open: false, deployed: { version: "1" } } } });
    expect(Object.keys(result.results)).not.toContain("deploy");
    expect(existsSync(join(directory, RUN, "export"))).toBe(false);
    untouched();
  });

  test("a log directory that cannot be written", async () => {
    const { words, directory, untouched } = await deployed();
    mkdirSync(join(directory, RUN));
    writeFileSync(join(directory, RUN, "logs"), "a file where the folder should be");
    const { status, result } = await lifecycle(words, env);
    expect(status).toBe(1);
    const error = { code: "LENET5_FILE_WRITE_FAILED", message: expect.stringContaining("--logdir") };
    expect(result).toMatchObject({ deployed: false, failed: { task: "train_libtorch", error: { error } } });
    untouched();
  });

  test("a training that diverges", async () => {
    const { words, untouched } = await deployed();
    const { status, result } = await lifecycle([...words, "--learning-rate", "1e30"], env);
    expect(status).toBe(1);
    const error = { message: expect.stringContaining("NaN") };
    expect(result).toMatchObject({ deployed: false, failed: { task: "train_libtorch", error: { error } } });
    untouched();
  });

  test("metrics that are NaN at the gate", async () => {
    const { words, untouched } = await deployed();
    const path = `${withNode('{"accuracy":"NaN","loss":"NaN"}')}:${process.env.PATH}`;
    const { status, result } = await lifecycle(words, { ...env, PATH: path });
    expect(status).toBe(1);
    expect(result.results.evaluate).toEqual({ accuracy: "NaN", loss: "NaN" });
    const message = expect.stringMatching(/^Expected a number from 0 to 1 for --accuracy but received "NaN"$/);
    expect(result).toMatchObject({
      deployed: false,
      failed: { task: "gate", status: 2, error: { error: { message } } },
    });
    untouched();
  });

  test("a training that is killed in the middle, and run again", async () => {
    const { words, directory, untouched } = await deployed();
    const model = join(directory, RUN, "models", "libtorch.pt");
    const isDue = () => existsSync(join(directory, RUN, "logs", "libtorch"));
    const [killed] = await Promise.all([lifecycle(words, env), killTraining(directory, isDue)]);
    expect(killed.result).toMatchObject({ deployed: false, failed: { task: "train_libtorch", status: -9 } });
    expect(existsSync(model)).toBe(false);
    untouched();
    const again = await lifecycle(words, env);
    const other = await deployed();
    const uninterrupted = await lifecycle(other.words, env);
    expect(again.status).toBe(0);
    expect(again.result.results.deploy).toMatchObject({ version: RUN, replaced: "1" });
    expect(again.result.results.deploy.digest).toBe(uninterrupted.result.results.deploy.digest);
  });

  test("a server that is not there", async () => {
    const { words, untouched } = await deployed();
    const { status, result } = await lifecycle([...words, "--server-url", `http://127.0.0.1:${await freePort()}`], env);
    expect(status).toBe(1);
    const error = { code: "LENET5_SERVER_UNREACHABLE" };
    expect(result).toMatchObject({ deployed: false, failed: { task: "deploy", error: { error } } });
    untouched();
  });

  test("a server that is not ready in time", async () => {
    const { words, repository, untouched } = await deployed();
    const url = await server(({ url }, response) => {
      response.statusCode = url!.endsWith("/ready") ? 503 : 200;
      response.end(url === INDEX ? indexOf(repository) : "{}");
    });
    const { status, result } = await lifecycle([...words, "--server-url", url, "--ready-timeout", "1"], env);
    expect(status).toBe(1);
    const error = { code: "LENET5_SERVER_UNREACHABLE", message: expect.stringContaining("ready within 1 s") };
    expect(result).toMatchObject({ deployed: false, failed: { task: "wait_until_ready", error: { error } } });
    expect(result.results.undeploy).toMatchObject({ removed: true });
    untouched();
  });

  test("a server that answers wrongly", async () => {
    const { words, repository, untouched } = await deployed();
    const url = await server(({ url }, response) => response.end(url === INDEX ? indexOf(repository) : "{}"));
    const { status, result } = await lifecycle([...words, "--server-url", url], env);
    expect(status).toBe(1);
    const error = { code: "LENET5_ANSWER_MISMATCH" };
    expect(result).toMatchObject({ deployed: false, failed: { task: "smoke_test", error: { error } } });
    expect(result.results.undeploy).toMatchObject({ removed: true });
    untouched();
  });

  test("a second run that deploys between this one's gate and its deployment", async () => {
    const { words, repository, untouched } = await deployed();
    const url = await server((_request, response) => {
      // Whoever asks this is about to deploy; the other one was quicker.
      mkdirSync(join(repository, "lenet5", "2"), { recursive: true });
      writeFileSync(join(repository, "lenet5", "2", "model.pt"), "the other run's");
      response.end("{}");
    });
    const { status, result } = await lifecycle([...words, "--server-url", url], env);
    expect(status).toBe(1);
    const error = { code: "LENET5_DEPLOYMENT_CONFLICT", message: expect.stringMatching(/received version 2$/) };
    expect(result).toMatchObject({ deployed: false, failed: { task: "deploy", error: { error } } });
    expect(Object.keys(contents(repository))).toEqual(["lenet5/1/model.pt", "lenet5/2/model.pt"]);
    expect(untouched).toThrow();
  });

  test.each([
    [{ epochs: "three" }, "a whole number from 1 to 1000000 for --epochs but received 'three'"],
    [{ epochs: "0" }, "a whole number from 1 to 1000000 for --epochs but received '0'"],
    [{ learning_rate: "nan" }, "a number above 0 for --learning-rate but received 'nan'"],
    [{ learning_rate: "0" }, "a number above 0 for --learning-rate but received '0'"],
    [{ schedule: "cosine" }, "constant or one-cycle for --schedule but received 'cosine'"],
    [{ min_accuracy: "98" }, "a number from 0 to 1 for --min-accuracy but received '98'"],
    [{ model_name: "../lenet5" }, "letters, digits, _, - and . for --model-name but received '../lenet5'"],
    [{ server_url: "localhost:8080" }, `${ADDRESS} 'localhost:8080'`],
    [{ server_url: "http://user:secret@host" }, `${ADDRESS} 'http://…@host'`],
    [{ server_url: "http://:secret@host" }, `${ADDRESS} 'http://…@host'`],
    [{ server_url: "http://host:99999/" }, `${ADDRESS} 'http://host:99999/'`],
    [{ server_url: "http://[::1" }, `${ADDRESS} 'http://[::1'`],
    [{ server_url: "http://host/?token=1" }, `${ADDRESS} 'http://host/?token=1'`],
    [{ server_url: "" }, `${ADDRESS} ''`],
    [{ model_repository: "" }, "an absolute path for --model-repository but received ''"],
    [{ model_name: "" }, "letters, digits, _, - and . for --model-name but received ''"],
    [{ run: "" }, "a whole number of at most 15 digits for --run but received ''"],
    [{ learning_rate: "1e999" }, "a number above 0 for --learning-rate but received '1e999'"],
    [{ threads: "5000" }, "a whole number from 1 to 1024 for --threads but received '5000'"],
    [{ train_count: "99999999" }, "a whole number from 10 to 10000000 for --train-count but received '99999999'"],
    [{ ready_timeout: "3601" }, "a whole number from 1 to 3600 for --ready-timeout but received '3601'"],
    [{ benchmark_seconds: "1801" }, "a whole number from 1 to 1800 for --benchmark-seconds but received '1801'"],
    [{ data: "--help" }, "a data set's name or a folder for --data but received '--help'"],
    [{ run: "first" }, "a whole number of at most 15 digits for --run but received 'first'"],
  ])("a setting that is malformed: %o", async (setting, message) => {
    const directory = join(folder, `none ${count++}`);
    const given = Object.entries(setting).map(([name, value]) => `--${name.replaceAll("_", "-")}=${value}`);
    const { status, stderr, stdout } = await lifecycle(["--directory", directory, ...given], env);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toMatch(/^Expected .+ for .+ but received .+\n$/);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("secret");
    expect(existsSync(directory)).toBe(false);
  });

  test("a program that is not there", async () => {
    const directory = join(folder, "none");
    const absent = join(folder, "absent");
    const ended = await lifecycle(["--directory", directory], { ...env, LENET5_TENSORFLOW_PYTHON: absent });
    expect(ended.status).toBe(2);
    expect(ended.stderr).toBe(
      `Expected a file for ${absent} but received none (npm run setup:python -- --purpose tensorflow)\n`,
    );
  });
});
