// From a trained model to one that answers: `lenet5 data export`, `gate`, `deploy`, `wait`, `smoke-test`, `undeploy`, `report`, on a
// real `lenet5 serve`.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createSocketServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import lockfile from "proper-lockfile";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { exportModelArchive, idx, LeNet5 } from "../../lib/index.js";
import { serveProcess } from "../server/serve-process.js";
import { lastJson, lenet5, line, temporaryFolder } from "./lenet5.js";

let folder: string;
let data: string;
/** Two models that answer differently: one that has learnt, and one that has not. */
let good: string;
let bad: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "lenet5-deployment-"));
  data = join(folder, "digits");
  good = join(folder, "good.pt");
  bad = join(folder, "bad.pt");
  await lenet5(line`data synthesise --count 3000 --test-count 300 --seed 3 --output ${data}`);
  await lenet5(line`train --data ${data} --epochs 2 --seed 1 --output ${good}`);
  using untrained = new LeNet5({ seed: 1, device: "cpu" });
  await untrained.save(bad);
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A server of an empty repository, and what commands say to both. */
async function emptyServer(...words: string[]) {
  const repository = temporaryFolder();
  const server = await serveProcess("--model-repository", repository, "--port", "0", "--allow-empty", ...words);
  return { repository, server, deployed: line`--model-repository ${repository} --url ${server.url}` };
}

/** The versions that answer, the newest last. */
async function versions(url: string): Promise<string[]> {
  const response = await fetch(`${url}/v2/models/lenet5`);
  return response.ok ? ((await response.json()) as { versions: string[] }).versions : [];
}

function unusedAddress(): Promise<string> {
  return new Promise((resolve) => {
    const server = createSocketServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(`http://127.0.0.1:${port}`));
    });
  });
}

describe("data export", () => {
  test("writes the first images of each set, the same bytes every time", async () => {
    const output = join(temporaryFolder(), "small");
    const words = line`data export --data ${data} --train-count 100 --test-count 20 --output ${output} --json`;
    const first = lastJson(await lenet5(words));
    expect(first).toMatchObject({ output, train: 100, test: 20, digest: expect.stringMatching(/^[0-9a-f]{64}$/) });
    const [images] = first.files as string[];
    const before = readFileSync(images!);
    expect(lastJson(await lenet5(words))).toEqual(first);
    expect(readFileSync(images!)).toEqual(before);
    const all = await idx.read(join(data, "train-images-idx3-ubyte.gz"));
    expect((await idx.read(images!)).data).toEqual(all.data.slice(0, 100 * 784));
  });

  test("writes all where there are fewer", async () => {
    const output = join(temporaryFolder(), "all");
    const run = await lenet5(line`data export --data ${data} --test-count 1000 --output ${output} --json`);
    expect(lastJson(run)).toMatchObject({ train: 3000, test: 300 });
  });
});

describe("gate", () => {
  const gate = (repository: string, ...more: string[]) =>
    lenet5(line`gate --loss 0.1 --min-accuracy 0.9 --data ${data} --model-repository ${repository} ${more} --json`);

  test("is open for an accurate model where nothing is deployed", async () => {
    const run = await gate(temporaryFolder(), "--accuracy", "0.9");
    expect(run.status).toBe(0);
    expect(lastJson(run)).toEqual({
      ...{ open: true, reason: "", accuracy: 0.9, loss: 0.1, minAccuracy: 0.9, deployed: null, replaces: "none" },
    });
  });

  test("is closed below the threshold", async () => {
    const run = await gate(temporaryFolder(), "--accuracy", "0.8999");
    expect(run.status).toBe(3);
    expect(lastJson(run)).toMatchObject({ open: false, reason: "an accuracy of 89.99 %, below 90.00 %" });
  });

  test.each(["model.pt", "model.mar"])("compares with the newest version, in %s, on the same images", async (file) => {
    const repository = temporaryFolder();
    for (const [version, path] of [
      ["9", bad],
      ["10", good],
    ] as const) {
      mkdirSync(join(repository, "lenet5", version), { recursive: true });
      const target = join(repository, "lenet5", version, file);
      using model = await LeNet5.load(path, { device: "cpu" });
      if (file === "model.pt") copyFileSync(path, target);
      else await exportModelArchive(model, target, { modelName: "lenet5", version });
    }
    const evaluated = lastJson(await lenet5(line`evaluate --model ${good} --data ${data} --json`)) as {
      accuracy: number;
    };
    expect(evaluated.accuracy).toBeGreaterThan(0.9);
    const equal = await gate(repository, "--accuracy", String(evaluated.accuracy));
    expect(equal.status).toBe(0);
    expect(lastJson(equal)).toMatchObject({
      deployed: { version: "10", accuracy: evaluated.accuracy },
      replaces: "10",
    });
    const worse = await gate(repository, "--accuracy", String(evaluated.accuracy - 0.001));
    expect(worse.status).toBe(3);
    expect(lastJson(worse).reason).toMatch(/^an accuracy of [\d.]+ %, below the [\d.]+ % of version 10$/);
  });

  test.each([
    ["is damaged", ["model.pt"], "LENET5_MODEL_CORRUPT"],
    ["has two model files", ["model.mar", "model.pt"], "LENET5_MODEL_CORRUPT"],
  ])("says what to do where the deployed version %s", async (_, files, expectedCode) => {
    const repository = temporaryFolder();
    mkdirSync(join(repository, "lenet5", "9"), { recursive: true });
    const [first] = files;
    // Of two files, the one that would be taken first is a good model: it may be what is served, or may not.
    if (files.length > 1) {
      using model = await LeNet5.load(good, { device: "cpu" });
      await exportModelArchive(model, join(repository, "lenet5", "9", first!), { modelName: "lenet5", version: "9" });
    }
    writeFileSync(join(repository, "lenet5", "9", "model.pt"), readFileSync(good).subarray(0, 1000));
    const run = await gate(repository, "--accuracy", "1");
    expect(run.status).toBe(1);
    const { code, message } = lastJson(run).error;
    expect(code).toBe(expectedCode);
    expect(message).toMatch(
      / \(it is the deployed version 9: mend lenet5\/9, or take it out of the folder of models\)$/,
    );
    if (files.length > 1) expect(message).toContain("Expected one model file for lenet5/9 but received model.");
  });

  test.each(["accuracy", "loss"])("refuses a NaN for --%s", async (name) => {
    // What evaluate prints of a model that diverged: JSON has no NaN.
    const run = await gate(temporaryFolder(), "--accuracy", "0.99", `--${name}`, "NaN");
    expect(run.status).toBe(2);
    expect(lastJson(run).error.message).toMatch(new RegExp(`^Expected a number .* for --${name} but received "NaN"$`));
  });
});

describe("deploy", () => {
  test("puts versions beside one another; the newest answers, and a second call changes nothing", async () => {
    const { repository, server, deployed } = await emptyServer();
    const first = line`deploy --model ${bad} ${deployed} --model-version 7 --replaces none --json`;
    const run = await lenet5(first);
    expect(run.stderr).toBe("");
    const file = join(repository, "lenet5", "7", "model.pt");
    expect(lastJson(run)).toMatchObject({ name: "lenet5", version: "7", file, replaced: "none" });
    expect(await lenet5(first)).toMatchObject({ status: 0, stdout: run.stdout });
    await lenet5(line`deploy --model ${good} ${deployed} --model-version 8 --replaces 7`);
    expect(await versions(server.url)).toEqual(["7", "8"]);
    expect(readFileSync(join(repository, "lenet5", "8", "model.pt"))).toEqual(readFileSync(good));
    expect(readdirSync(repository)).toEqual(["lenet5"]);

    const tested = await lenet5(
      line`smoke-test --model ${good} --data ${data} --url ${server.url} --model-version 8 --json`,
    );
    expect(tested.stderr).toBe("");
    const protocols = ["open-inference", "tensorflow-serving", "torchserve"];
    expect(lastJson(tested)).toMatchObject({ version: "8", digits: 20, protocols });
    expect(lastJson(tested).right).toBeGreaterThan(15);
    const other = await lenet5(
      line`smoke-test --model ${good} --data ${data} --url ${server.url} --model-version 7 --json`,
    );
    expect(other.status).toBe(1);
    expect(lastJson(other).error).toMatchObject({ code: "LENET5_ANSWER_MISMATCH" });

    // The one that answered before answers again at once, without a look at the folder.
    const words = line`undeploy ${deployed} --model-version 8 --json`;
    expect(lastJson(await lenet5([...words, "--model", bad]))).toMatchObject({ removed: false });
    expect(lastJson(await lenet5([...words, "--model", good]))).toMatchObject({ removed: true });
    expect(await versions(server.url)).toEqual(["7"]);
    expect(readdirSync(join(repository, "lenet5"))).toEqual(["7"]);
    expect(lastJson(await lenet5([...words, "--model", good]))).toMatchObject({ removed: false });
  });

  test("refuses to deploy over what the model was not compared with", async () => {
    const { repository, server, deployed } = await emptyServer();
    await lenet5(line`deploy --model ${good} ${deployed} --model-version 7`);
    const refused = async (...words: string[]) => {
      const run = await lenet5(line`deploy --model ${bad} ${deployed} ${words} --json`);
      expect(run.status).toBe(1);
      const { code, message } = lastJson(run).error;
      expect(code).toBe("LENET5_DEPLOYMENT_CONFLICT");
      return message;
    };
    expect(await refused("--model-version", "8", "--replaces", "none")).toMatch(
      /^Expected nothing to be deployed, as when .* for lenet5 but received version 7$/,
    );
    expect(await refused("--model-version", "8", "--replaces", "6")).toMatch(/^Expected version 6 to be deployed/);
    expect(await refused("--model-version", "7")).toMatch(/received one in lenet5\/7\/model.pt$/);
    expect(await refused("--model-version", "6")).toMatch(/received 6 beside 7$/);
    expect(await versions(server.url)).toEqual(["7"]);
    expect(readdirSync(join(repository, "lenet5"))).toEqual(["7"]);
  });

  test("of two at once, one deploys", async () => {
    const { repository, server, deployed } = await emptyServer();
    const runs = await Promise.all(
      ["7", "8"].map((version) =>
        lenet5(line`deploy --model ${good} ${deployed} --model-version ${version} --replaces none --json`),
      ),
    );
    expect(runs.map(({ status }) => status).sort()).toEqual([0, 1]);
    const { code } = lastJson(runs.find(({ status }) => status === 1)!).error;
    expect(code).toBe("LENET5_DEPLOYMENT_CONFLICT");
    expect(await versions(server.url)).toHaveLength(1);
    expect(readdirSync(join(repository, "lenet5"))).toHaveLength(1);
  });

  test("waits for another writer, as undeploy does, and sweeps away what a killed one left", async () => {
    const { repository, deployed } = await emptyServer();
    const left = join(repository, "lenet5", ".6-0123abcd");
    const others = join(repository, "lenet5", ".git");
    for (const folder of [left, others]) {
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, "model.pt"), "a model");
    }
    const release = await lockfile.lock(join(repository, ".lenet5"), { realpath: false });
    let ended = 0;
    const words = line`--model ${good} ${deployed} --model-version 7 --json`;
    const waiting = ["deploy", "undeploy"].map((command) =>
      lenet5([command, ...words]).finally(() => {
        ended += 1;
      }),
    );
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(ended).toBe(0);
    expect(existsSync(left)).toBe(true);
    await release();
    for (const run of await Promise.all(waiting)) {
      expect(run).toMatchObject({ status: 0, stderr: "Waiting for another writer of lenet5\n" });
    }
    expect(existsSync(left)).toBe(false);
    expect(existsSync(others)).toBe(true);
  });

  test("puts nothing where the server serves another folder, whose versions of the model do not count", async () => {
    const { server, deployed } = await emptyServer();
    await lenet5(line`deploy --model ${good} ${deployed} --model-version 7`);
    const repository = temporaryFolder();
    const run = await lenet5(
      line`deploy --model ${good} --model-repository ${repository} --url ${server.url} --model-version 8 --json`,
    );
    expect(run.status).toBe(1);
    expect(lastJson(run).error).toMatchObject({
      code: "LENET5_SERVER_REFUSED",
      message: expect.stringMatching(/^Expected lenet5 8 to be loaded by http.*does it serve this folder of models\?$/),
    });
    expect(readdirSync(join(repository, "lenet5"))).toEqual([]);
    expect(await versions(server.url)).toEqual(["7"]);
  });

  test("overwrites nothing that config.json leaves out, puts nothing there, and undeploy takes it away", async () => {
    const { repository, server, deployed } = await emptyServer();
    await lenet5(line`deploy --model ${good} ${deployed} --model-version 7`);
    writeFileSync(join(repository, "lenet5", "config.json"), '{"versions":[7]}');
    mkdirSync(join(repository, "lenet5", "9"));
    const file = join(repository, "lenet5", "9", "model.pt");
    copyFileSync(bad, file);
    const refused = async (version: string) => {
      const run = await lenet5(line`deploy --model ${good} ${deployed} --model-version ${version} --json`);
      expect(run.status).toBe(1);
      expect(lastJson(run).error.code).toBe("LENET5_DEPLOYMENT_CONFLICT");
      return lastJson(run).error.message;
    };
    expect(await refused("9")).toMatch(/^Expected no other model in version 9 .* received one in lenet5\/9\/model.pt$/);
    expect(readFileSync(file)).toEqual(readFileSync(bad));
    expect(await refused("8")).toBe(
      "Expected a version that lenet5/config.json does not leave out for lenet5 but received 8",
    );
    expect(readdirSync(join(repository, "lenet5"))).toEqual(["7", "9", "config.json"]);
    const undeploy = line`undeploy --model ${bad} ${deployed} --model-version 9 --json`;
    expect(lastJson(await lenet5(undeploy))).toMatchObject({ removed: true });
    expect(existsSync(file)).toBe(false);
    // Of the newest alone, what is served before the new one is what it replaces, and also when it is deployed again.
    writeFileSync(join(repository, "lenet5", "config.json"), '{"versions":{"latest":1}}');
    const newest = line`deploy --model ${bad} ${deployed} --model-version 8 --replaces 7 --json`;
    expect(lastJson(await lenet5(newest))).toMatchObject({ version: "8", replaced: "7" });
    expect(lastJson(await lenet5(newest))).toMatchObject({ version: "8", replaced: "7" });
    expect(await versions(server.url)).toContain("8");
  });

  test("neither replaces nor takes away one of two model files", async () => {
    const { repository, deployed } = await emptyServer();
    mkdirSync(join(repository, "lenet5", "7"), { recursive: true });
    const files = ["model.pt", "model.safetensors"].map((name) => join(repository, "lenet5", "7", name));
    for (const file of files) copyFileSync(good, file);
    for (const command of ["deploy", "undeploy"]) {
      const run = await lenet5(line`${command} --model ${good} ${deployed} --model-version 7 --json`);
      expect(lastJson(run).error).toMatchObject({
        code: "LENET5_DEPLOYMENT_CONFLICT",
        message: "Expected one model file in version 7 for lenet5 but received model.pt and model.safetensors",
      });
    }
    expect(files.every((file) => existsSync(file))).toBe(true);
  });

  test("leaves nothing where the server cannot load it, and what answered before answers", async () => {
    const { repository, server, deployed } = await emptyServer();
    await lenet5(line`deploy --model ${good} ${deployed} --model-version 7`);
    const damaged = join(temporaryFolder(), "damaged.pt");
    writeFileSync(damaged, readFileSync(good).subarray(0, 1000));
    const run = await lenet5(line`deploy --model ${damaged} ${deployed} --model-version 8 --json`);
    expect(lastJson(run).error).toMatchObject({ code: "LENET5_SERVER_REFUSED" });
    expect(readdirSync(join(repository, "lenet5"))).toEqual(["7"]);
    expect(await versions(server.url)).toEqual(["7"]);
  });

  test("minds no other version that is damaged", async () => {
    const { repository, server, deployed } = await emptyServer();
    mkdirSync(join(repository, "lenet5", "6"), { recursive: true });
    writeFileSync(join(repository, "lenet5", "6", "model.pt"), "no model");
    expect(await lenet5(line`deploy --model ${good} ${deployed} --model-version 7`)).toMatchObject({ status: 0 });
    expect(await versions(server.url)).toContain("7");
  });

  test("puts nothing where no server answers", async () => {
    const repository = temporaryFolder();
    const url = await unusedAddress();
    const run = await lenet5(
      line`deploy --model ${good} --model-repository ${repository} --url ${url} --model-version 1 --json`,
    );
    expect(run.status).toBe(1);
    expect(lastJson(run).error).toMatchObject({
      code: "LENET5_SERVER_UNREACHABLE",
      message: expect.stringMatching(/^Expected a server for http:.* but received connect ECONNREFUSED/),
    });
    expect(existsSync(join(repository, "lenet5"))).toBe(false);
  });

  test("asks with the tokens of the server", async () => {
    const token = join(temporaryFolder(), "token");
    writeFileSync(token, "a-secret\n");
    const { deployed } = await emptyServer("--management-token-file", token);
    const words = line`deploy --model ${good} ${deployed} --model-version 7 --json`;
    const refused = lastJson(await lenet5(words)).error;
    expect(refused.code).toBe("LENET5_SERVER_REFUSED");
    expect(refused.message).toContain("received 401: Expected the token for management");
    expect(await lenet5([...words, "--management-token-file", token])).toMatchObject({ status: 0 });
  });
});

describe("undeploy", () => {
  test("has the server let go of what an earlier call took out of the folder alone", async () => {
    const { repository, server, deployed } = await emptyServer("--poll-interval", "0");
    for (const [version, model] of [
      ["7", bad],
      ["8", good],
    ] as const) {
      await lenet5(line`deploy --model ${model} ${deployed} --model-version ${version}`);
    }
    const words = line`undeploy --model ${good} ${deployed} --model-version 8 --json`;
    // A call that was killed before it came to the server.
    rmSync(join(repository, "lenet5", "8"), { recursive: true });
    expect(await versions(server.url)).toEqual(["7", "8"]);
    const gone = { name: "lenet5", version: "8", removed: false, unregistered: true };
    expect(lastJson(await lenet5(words))).toEqual(gone);
    expect(await versions(server.url)).toEqual(["7"]);
    expect(lastJson(await lenet5(words))).toEqual(gone);
    // What is another model's stays in both.
    const others = line`undeploy --model ${good} ${deployed} --model-version 7 --json`;
    expect(lastJson(await lenet5(others))).toMatchObject({ removed: false, unregistered: false });
    expect(await versions(server.url)).toEqual(["7"]);
  });

  test("does not mind a server that is away, but one that does not answer", async () => {
    const repository = temporaryFolder();
    const undeploy = (url: string) => {
      mkdirSync(join(repository, "lenet5", "7"), { recursive: true });
      copyFileSync(good, join(repository, "lenet5", "7", "model.pt"));
      return lenet5(
        line`undeploy --model ${good} --model-repository ${repository} --url ${url} --model-version 7 --json`,
      );
    };
    expect(lastJson(await undeploy(await unusedAddress()))).toMatchObject({ removed: true, unregistered: false });
    const server = createServer((request) => request.socket.destroy()).listen(0, "127.0.0.1");
    onTestFinished(() => {
      server.close();
    });
    await new Promise((resolve) => server.once("listening", resolve));
    const run = await undeploy(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    expect(run.status).toBe(1);
    expect(lastJson(run).error.code).toBe("LENET5_SERVER_UNREACHABLE");
  });
});

describe("the server's address", () => {
  test.each([
    ["http://user:s3cret@127.0.0.1:9", "http://…@127.0.0.1:9"],
    ["http://:s3cret@127.0.0.1:9", "http://…@127.0.0.1:9"],
    ["http://user:s3cret@127.0.0.1:99999", "http://…@127.0.0.1:99999"],
    ["user:s3@cret@127.0.0.1:9", "…@127.0.0.1:9"],
    ["ftp://s3cret@127.0.0.1", "ftp://…@127.0.0.1"],
    ["http://user:s3cret@[::1", "http://…@[::1"],
  ])("%s is refused without its password", async (url, shown) => {
    const run = await lenet5(line`wait --url ${url} --model-version 7 --timeout 1 --json`);
    expect(run.status).toBe(2);
    expect(run.stdout + run.stderr).not.toContain("cret");
    expect(lastJson(run).error).toMatchObject({
      code: "LENET5_INVALID_OPTION",
      message: expect.stringContaining(` for --url but received "${shown}"`),
    });
  });
});

describe("wait", () => {
  test("ends when a server is there and ready, however late it comes", async () => {
    const url = await unusedAddress();
    const { port } = new URL(url);
    const repository = temporaryFolder();
    mkdirSync(join(repository, "lenet5", "7"), { recursive: true });
    copyFileSync(good, join(repository, "lenet5", "7", "model.pt"));
    const waiting = lenet5(line`wait --url ${url} --model-version 7 --timeout 30 --json`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await serveProcess("--model-repository", repository, "--port", port);
    const run = await waiting;
    expect(lastJson(run)).toMatchObject({ name: "lenet5", version: "7", ready: true, url });
    expect(lastJson(run).seconds).toBeGreaterThan(0.5);
  });

  test.each([
    ["nobody answers", false, /received connect ECONNREFUSED/],
    ["a server never answers", true, /received a version that is not ready/],
  ])("is given up where %s", async (_, silent, received) => {
    const server = createServer(() => {}).listen(0, "127.0.0.1");
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    await new Promise((resolve) => server.once("listening", resolve));
    const url = silent ? `http://127.0.0.1:${(server.address() as AddressInfo).port}` : await unusedAddress();
    const start = Date.now();
    const run = await lenet5(line`wait --url ${url} --model-version 7 --timeout 1 --json`);
    expect(Date.now() - start).toBeLessThan(5000);
    expect(run.status).toBe(1);
    const { code, message } = lastJson(run).error;
    expect(code).toBe("LENET5_SERVER_UNREACHABLE");
    expect(message).toMatch(/^Expected lenet5 7 to be ready within 1 s for http:/);
    expect(message).toMatch(received);
  });
});

describe("report", () => {
  test("writes a page of what the steps printed", async () => {
    const output = join(temporaryFolder(), "report.md");
    const results = {
      ingest: { train: 6000, test: 1000 },
      train_libtorch: {
        system: "libtorch",
        accuracy: 0.98,
        loss: 0.05,
        trainingSeconds: 1.25,
        imagesPerSecond: 60_000,
      },
      evaluate: { accuracy: 0.98 },
      gate: { minAccuracy: 0.9, deployed: { version: "7", accuracy: 0.97 } },
      deploy: { name: "digits", version: "8", digest: "abc", url: "http://127.0.0.1:1" },
      smoke_test: { digits: 20, right: 19 },
      benchmark: { requestsPerSecond: 12_345.6, p50Ms: 0.5, p99Ms: 2 },
    };
    const run = await lenet5(["report", "--results", JSON.stringify(results), "--output", output, "--json"]);
    expect(lastJson(run)).toEqual({
      ...{ report: output, version: "8", digest: "abc", accuracy: 0.98, requestsPerSecond: 12_345.6 },
    });
    const page = readFileSync(output, "utf8");
    expect(page).toContain("# digits 8\n\n6,000 training and 1,000 test images.");
    expect(page).toContain("| libtorch | 98.00 % | 0.0500 | 1.3 | 60,000 |");
    expect(page).toContain("| deployed before | version 7, 97.00 % |");
    expect(page).toContain("| requests/s, right answers alone | 12,346 |");
  });

  test("tells what diverged from what was not measured", async () => {
    const output = join(temporaryFolder(), "report.md");
    const results = { train_libtorch: { system: "libtorch", accuracy: "NaN", loss: "Infinity" } };
    const run = await lenet5(["report", "--results", JSON.stringify(results), "--output", output]);
    expect(run.status).toBe(0);
    expect(readFileSync(output, "utf8")).toContain("| libtorch | NaN | Infinity | – | – |");
  });

  test("refuses a step that there is not", async () => {
    const output = join(temporaryFolder(), "report.md");
    const run = await lenet5(["report", "--results", '{"evalaute":{"accuracy":1}}', "--output", output, "--json"]);
    expect(run.status).toBe(1);
    expect(lastJson(run).error).toMatchObject({
      code: "LENET5_INVALID_OPTION",
      message: expect.stringMatching(/^Expected the steps ingest, .* for --results but received "evalaute"$/),
    });
    expect(existsSync(output)).toBe(false);
  });
});
