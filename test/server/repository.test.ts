// The folder of models: what is loaded, under which names, and what takes its place.
import { execFileSync } from "node:child_process";
import { appendFile, copyFile, mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import type { LeNet5 } from "../../lib/index.js";
import { FolderRepository } from "../../lib/server/repository.js";
import type { ServedModel, Server } from "../../lib/server.js";
import { cleanUp, emptyRepository, placeLeNet5, serve } from "./models.js";

afterEach(cleanUp);

const pixels = Float32Array.from({ length: 784 }, (_, i) => (i % 251) / 250);
const image = new Map([["input0", { data: pixels, shape: [1, 1, 28, 28], dtype: "float32" } as const]]);

async function logsOf(model: ServedModel): Promise<Float32Array> {
  return (await model.infer(image)).get("output0")!.data as Float32Array;
}

const states = ({ repository }: Server) =>
  repository
    .statuses()
    .map(({ name, version, state, isDefault }) => `${name} ${version} ${state}${isDefault ? " *" : ""}`);

/** Waits, with a limit, until something is so. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if (await holds()) return;
    await wait(10);
  }
  throw new Error("It did not become so within 10 seconds");
}

const codeOf = async (work: () => unknown): Promise<string> => {
  try {
    await work();
    return "done";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
};

describe("what is there at the start", () => {
  test("LeNet-5 of every format answers as the model that was saved", async () => {
    const folder = await emptyRepository();
    const models: LeNet5[] = [];
    for (const [i, file] of ["model.pt", "model.mar", "model.safetensors"].entries())
      models.push(await placeLeNet5(folder, { name: `digits-${i}`, seed: i, file }));
    const { server } = await serve(folder);
    for (const [i, model] of models.entries()) {
      const served = server.repository.model(`digits-${i}`);
      expect(served.description).toMatchObject({ kind: "lenet5", version: "1", classNames: model.classNames });
      expect(await logsOf(served)).toEqual(model.forwardSync(pixels).data);
    }
  });

  test("links in circles and a pipe in place of config.json keep no other model from being served", async () => {
    const folder = await emptyRepository();
    for (const name of ["digits", "pipe"]) await placeLeNet5(folder, { name });
    execFileSync("mkfifo", [join(folder, "pipe", "config.json")]);
    await symlink("circle", join(folder, "circle"));
    await mkdir(join(folder, "deeper", "1"), { recursive: true });
    await symlink("model.pt", join(folder, "deeper", "1", "model.pt"));
    await symlink("2", join(folder, "deeper", "2"));
    const { server } = await serve(folder);
    expect(states(server)).toEqual(["digits 1 ready *", "pipe 1 unavailable *"]);
    expect(server.repository.statusesOf("pipe")[0]!.reason).toContain("something that is not a file");
  });

  test("the newest version answers, by number, and any other by its own", async () => {
    const folder = await emptyRepository();
    const second = await placeLeNet5(folder, { version: "2", seed: 2 });
    const tenth = await placeLeNet5(folder, { version: "10", seed: 10 });
    const { server } = await serve(folder);
    expect(states(server)).toEqual(["digits 2 ready", "digits 10 ready *"]);
    const { repository } = server;
    expect(await logsOf(repository.model("digits"))).toEqual(tenth.forwardSync(pixels).data);
    expect(await logsOf(repository.model("digits", "2"))).toEqual(second.forwardSync(pixels).data);
    repository.setDefault("digits", "2");
    expect(await logsOf(repository.model("digits"))).toEqual(second.forwardSync(pixels).data);
    expect(await codeOf(() => repository.setDefault("digits", "3"))).toBe("LENET5_MODEL_NOT_FOUND");
  });

  test("what is no model of the layout is left alone", async () => {
    const folder = await emptyRepository();
    await placeLeNet5(folder);
    for (const place of [".hidden/1", "digits/latest", "digits/01", "digits/..data", "no versions", "a b/1"]) {
      await mkdir(join(folder, place), { recursive: true });
      await copyFile(join(folder, "digits/1/model.safetensors"), join(folder, place, "model.safetensors"));
    }
    await mkdir(join(folder, "digits", "7"));
    await writeFile(join(folder, "readme.txt"), "models");
    const { server } = await serve(folder);
    expect(states(server)).toEqual(["digits 1 ready *"]);
  });

  test("a broken model among good ones says why, and the others serve; once mended it serves", async () => {
    const folder = await emptyRepository();
    await placeLeNet5(folder);
    const mended = await placeLeNet5(folder, { name: "broken", seed: 7 });
    const file = join(folder, "broken", "1", "model.safetensors");
    await rename(file, `${file}.whole`);
    await writeFile(file, "not a model");
    const { server } = await serve(folder, { pollMilliseconds: 10 });
    expect(states(server)).toEqual(["broken 1 unavailable *", "digits 1 ready *"]);
    expect(server.repository.statusesOf("broken")[0]!.reason).toContain("LENET5_MODEL_CORRUPT");
    expect(await codeOf(() => server.repository.model("broken"))).toBe("LENET5_MODEL_UNAVAILABLE");
    expect(server.repository.ready).toBe(true);
    await rename(`${file}.whole`, file);
    await until(() => states(server)[0] === "broken 1 ready *");
    expect(await logsOf(server.repository.model("broken"))).toEqual(mended.forwardSync(pixels).data);
  });

  test("there has to be a folder", async () => {
    expect(await codeOf(() => serve(join(tmpdir(), "lenet5-no-such-folder")))).toBe("LENET5_DATA_NOT_FOUND");
  });
});

describe("names and paths", () => {
  test("a name or version of other characters is no model", async () => {
    const folder = await emptyRepository();
    await placeLeNet5(folder);
    const { repository } = (await serve(folder)).server;
    const long = "x".repeat(200);
    for (const name of [
      "..",
      "../digits",
      "digits/1",
      "/etc",
      "digits\0",
      ".",
      "",
      "a b",
      long,
      "__proto__",
      "toString",
    ]) {
      const outcomes = await Promise.all(
        [
          () => repository.model(name),
          () => repository.statusesOf(name),
          () => repository.load(name),
          () => repository.unload(name),
          () => repository.model("digits", name),
          () => repository.load("digits", { version: name }),
        ].map(codeOf),
      );
      expect([name, ...outcomes]).toEqual([name, ...Array(6).fill("LENET5_MODEL_NOT_FOUND")]);
    }
  });

  test("a link is followed inside the folder and not out of it", async () => {
    const folder = await emptyRepository();
    const elsewhere = await emptyRepository();
    const model = await placeLeNet5(folder, { seed: 5 });
    await placeLeNet5(elsewhere);
    await mkdir(join(folder, "inside", "1"), { recursive: true });
    await symlink("../../digits/1/model.safetensors", join(folder, "inside", "1", "model.safetensors"));
    await symlink(join(elsewhere, "digits"), join(folder, "outside"));
    const { repository } = (await serve(folder)).server;
    expect(await logsOf(repository.model("inside"))).toEqual(model.forwardSync(pixels).data);
    const [outside] = repository.statusesOf("outside");
    expect(outside!.state).toBe("unavailable");
    expect(outside!.reason).toContain("out of it");
  });
});

describe("what changes", () => {
  test("a new file takes the place of the old one, and no request is lost meanwhile", async () => {
    const folder = await emptyRepository();
    const old = await placeLeNet5(folder, { seed: 1 });
    const { server } = await serve(folder, { pollMilliseconds: 10 });
    const served = server.repository.model("digits");
    const before = old.forwardSync(pixels).data;
    const renewed = await placeLeNet5(folder, { seed: 2 });
    const after = renewed.forwardSync(pixels).data;
    // The kernels round a batch's sums in another order than those of one image.
    const isLike = (answer: Float32Array, other: Float32Array): boolean =>
      answer.every((value, i) => Math.abs(value - other[i]!) < 1e-5);
    let isNew = false;
    await until(async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => logsOf(served)));
      for (const answer of answers) {
        if (isLike(answer, after)) isNew = true;
        else expect(!isNew && isLike(answer, before)).toBe(true);
      }
      return isNew;
    });
  });

  test("when the new file is broken, the old model goes on", async () => {
    const folder = await emptyRepository();
    const old = await placeLeNet5(folder);
    const { server } = await serve(folder, { pollMilliseconds: 10 });
    await writeFile(join(folder, "digits", "1", "model.safetensors"), "half a file");
    await wait(200);
    expect(states(server)).toEqual(["digits 1 ready *"]);
    expect(await logsOf(server.repository.model("digits"))).toEqual(old.forwardSync(pixels).data);
    expect(await codeOf(() => server.repository.load("digits"))).toBe("LENET5_MODEL_CORRUPT");
    expect(states(server)).toEqual(["digits 1 ready *"]);
  });

  test("a file that is still being written is not looked into", async () => {
    const folder = await emptyRepository();
    await placeLeNet5(folder, { name: "other" });
    const { server } = await serve(folder, { pollMilliseconds: 20 });
    const file = join(folder, "slow", "1", "model.safetensors");
    await mkdir(join(folder, "slow", "1"), { recursive: true });
    for (let i = 0; i < 60; i++) {
      await appendFile(file, "more");
      await wait(4);
      expect(server.repository.statuses().map(({ name }) => name)).not.toContain("slow");
    }
  });

  test("versions come and go, and with them the default", async () => {
    const folder = await emptyRepository();
    await placeLeNet5(folder);
    const { server } = await serve(folder, { pollMilliseconds: 10 });
    const old = server.repository.model("digits", "1");
    await placeLeNet5(folder, { version: "2" });
    await until(() => states(server).join() === "digits 1 ready,digits 2 ready *");
    await rm(join(folder, "digits", "2"), { recursive: true });
    await until(() => states(server).join() === "digits 1 ready *");
    await rm(join(folder, "digits"), { recursive: true });
    await until(() => states(server).length === 0);
    expect(await codeOf(() => server.repository.model("digits"))).toBe("LENET5_MODEL_NOT_FOUND");
    expect(await codeOf(() => old.infer(image))).toBe("LENET5_MODEL_UNAVAILABLE");
  });

  test("the folder itself may be away for a moment", async () => {
    const folder = await emptyRepository();
    await placeLeNet5(folder);
    const { server } = await serve(folder, { pollMilliseconds: 10 });
    await rename(folder, `${folder}-away`);
    await wait(100);
    expect(states(server)).toEqual(["digits 1 ready *"]);
    const load = server.repository.load("digits");
    await expect(load).rejects.toMatchObject({
      code: "LENET5_MODEL_UNAVAILABLE",
      message: "Expected the folder of models for a load but received ENOENT: no such file or directory",
    });
    await rename(`${folder}-away`, folder);
  });
});

describe("loading and unloading by call", () => {
  test("an unloaded model stays so until it is loaded again", async () => {
    const folder = await emptyRepository();
    await placeLeNet5(folder);
    const { server } = await serve(folder, { pollMilliseconds: 10 });
    const { repository } = server;
    await repository.unload("digits");
    expect(states(server)).toEqual(["digits 1 unavailable *"]);
    const renewed = await placeLeNet5(folder, { seed: 9 });
    await wait(100);
    expect(await codeOf(() => repository.model("digits"))).toBe("LENET5_MODEL_UNAVAILABLE");
    await repository.load("digits");
    expect(await logsOf(repository.model("digits"))).toEqual(renewed.forwardSync(pixels).data);
    await repository.unload("digits", "1");
    await repository.load("digits", { version: "1" });
    expect(states(server)).toEqual(["digits 1 ready *"]);
  });

  test("an unregistered model is not there until it is loaded or registered again", async () => {
    const folder = await emptyRepository();
    const model = await placeLeNet5(folder);
    await placeLeNet5(folder, { version: "2", seed: 4 });
    const { server } = await serve(folder, { pollMilliseconds: 10 });
    const { repository } = server;
    await repository.unregister("digits", "2");
    expect(states(server)).toEqual(["digits 1 ready *"]);
    expect(await codeOf(() => repository.model("digits", "2"))).toBe("LENET5_MODEL_NOT_FOUND");
    expect(await logsOf(repository.model("digits"))).toEqual(model.forwardSync(pixels).data);
    await repository.unregister("digits");
    await wait(100);
    expect(states(server)).toEqual([]);
    for (const call of [
      () => repository.model("digits"),
      () => repository.statusesOf("digits"),
      () => repository.unload("digits"),
      () => repository.setDefault("digits", "1"),
    ])
      expect(await codeOf(call)).toBe("LENET5_MODEL_NOT_FOUND");
    await repository.load("digits", { version: "2" });
    expect(states(server)).toEqual(["digits 2 ready *"]);
    const file = "digits/1/model.safetensors";
    expect(await repository.register(file, { name: "digits" })).toEqual({ name: "digits", version: "1" });
    expect(states(server)).toEqual(["digits 1 ready", "digits 2 ready *"]);
  });

  test("requests under way are answered before a model goes", async () => {
    const folder = await emptyRepository();
    const model = await placeLeNet5(folder);
    const { repository } = (await serve(folder)).server;
    const served = repository.model("digits");
    const waiting = Array.from({ length: 200 }, () => logsOf(served));
    await repository.unload("digits");
    for (const answer of await Promise.all(waiting)) expect(answer).toEqual(model.forwardSync(pixels).data);
  });

  test("limits that are given with a load hold, and bad ones are refused", async () => {
    const folder = await emptyRepository();
    await placeLeNet5(folder);
    const { repository } = (await serve(folder)).server;
    await repository.load("digits", { limits: { maxBatchSize: 7, maxQueueSize: 3 } });
    expect(repository.statusesOf("digits")).toMatchObject([{ maxBatchSize: 7, maxQueueSize: 3 }]);
    const served = repository.model("digits");
    const codes = await Promise.all(Array.from({ length: 5 }, () => codeOf(() => served.infer(image))));
    expect(codes).toEqual(["done", "done", "done", "LENET5_QUEUE_FULL", "LENET5_QUEUE_FULL"]);
    expect(await codeOf(() => repository.load("digits", { limits: { maxBatchSize: 0 } }))).toBe(
      "LENET5_INVALID_OPTION",
    );
  });

  test("an archive that lies in the folder is registered under its own name, once", async () => {
    const folder = await emptyRepository();
    const model = await placeLeNet5(folder, { name: "archive", version: "9", file: "model.mar" });
    await rename(join(folder, "archive", "9", "model.mar"), join(folder, "lenet5.mar"));
    const { repository } = (await serve(folder, { pollMilliseconds: 10 })).server;
    expect(repository.statuses()).toEqual([]);
    expect(await repository.register("lenet5.mar")).toEqual({ name: "lenet5", version: "1" });
    expect(await logsOf(repository.model("lenet5"))).toEqual(model.forwardSync(pixels).data);
    expect(await codeOf(() => repository.register("lenet5.mar"))).toBe("LENET5_MODEL_BUSY");
    expect(await repository.register("lenet5.mar", { name: "again", version: "4" })).toEqual({
      name: "again",
      version: "4",
    });
    await wait(100);
    expect(repository.statuses().map(({ name, version, state }) => `${name} ${version} ${state}`)).toEqual([
      "again 4 ready",
      "lenet5 1 ready",
    ]);
  });

  test("a registered file that was unloaded makes room for another one, whatever becomes of that", async () => {
    const folder = await emptyRepository();
    const models: LeNet5[] = [];
    for (const [i, name] of ["one.mar", "other.mar"].entries()) {
      models.push(await placeLeNet5(folder, { name: ".made", seed: i, file: "model.mar" }));
      await rename(join(folder, ".made", "1", "model.mar"), join(folder, name));
    }
    await writeFile(join(folder, "broken.mar"), "no model");
    const { repository } = (await serve(folder, { pollMilliseconds: 10 })).server;
    const register = (file: string) => repository.register(file, { name: "digits", version: "1" });
    await register("one.mar");
    await repository.unload("digits");
    expect(await register("other.mar")).toEqual({ name: "digits", version: "1" });
    await wait(100);
    expect(await logsOf(repository.model("digits"))).toEqual(models[1]!.forwardSync(pixels).data);
    expect(await codeOf(() => register("one.mar"))).toBe("LENET5_MODEL_BUSY");
    await repository.unload("digits");
    // Whose archive is read first comes first.
    const both = await Promise.all(["one.mar", "other.mar"].map((file) => codeOf(() => register(file))));
    expect(both.sort()).toEqual(["LENET5_MODEL_BUSY", "done"]);
    await repository.unload("digits");
    expect(await codeOf(() => register("broken.mar"))).toBe("LENET5_MODEL_CORRUPT");
    // A version of the folder is loaded again, never registered over.
    await placeLeNet5(folder, { name: "own" });
    await until(() => repository.statuses().some(({ name, state }) => name === "own" && state === "ready"));
    await repository.unload("own");
    expect(await codeOf(() => repository.register("one.mar", { name: "own", version: "1" }))).toBe("LENET5_MODEL_BUSY");
  });

  test("nothing outside the folder is registered, nor what is no model", async () => {
    const folder = await emptyRepository();
    for (const name of ["text.txt", "text.mar"]) await writeFile(join(folder, name), "no model");
    const { repository } = (await serve(folder)).server;
    const files = {
      "../lenet5.mar": "LENET5_REQUEST_INVALID",
      "/etc/passwd": "LENET5_REQUEST_INVALID",
      "http://example.org/lenet5.mar": "LENET5_REQUEST_INVALID",
      "file:///etc/passwd": "LENET5_REQUEST_INVALID",
      "a/../../b.mar": "LENET5_REQUEST_INVALID",
      "a\0.mar": "LENET5_REQUEST_INVALID",
      "": "LENET5_REQUEST_INVALID",
      "missing.mar": "LENET5_MODEL_NOT_FOUND",
      [`${"a".repeat(300)}.mar`]: "LENET5_MODEL_NOT_FOUND",
      "text.txt": "LENET5_REQUEST_INVALID",
      "text.mar": "LENET5_MODEL_CORRUPT",
    };
    for (const [file, code] of Object.entries(files))
      expect([file, await codeOf(() => repository.register(file))]).toEqual([file, code]);
    expect(repository.statuses()).toEqual([]);
  });

  test("no error says where the folder lies", async () => {
    const folder = await emptyRepository();
    for (const name of ["a.mar", "b.pt", "c.safetensors"]) await writeFile(join(folder, name), "no model");
    for (const name of ["d.mar", "e.pt"]) await mkdir(join(folder, name));
    await placeLeNet5(folder, { name: "broken" });
    await writeFile(join(folder, "broken", "1", "model.safetensors"), "no model");
    await placeLeNet5(folder, { name: "odd" });
    await mkdir(join(folder, "odd", "config.json"));
    const { repository } = (await serve(folder)).server;
    const messageOf = (work: Promise<unknown>) => work.then(String, (error: Error) => error.message);
    const files = ["a.mar", "b.pt", "c.safetensors", "d.mar", "e.pt"];
    const told = await Promise.all(files.map((file) => messageOf(repository.register(file))));
    told.push(await messageOf(repository.load("broken")), ...repository.statuses().map(({ reason }) => reason));
    expect(told.every((text) => text.startsWith("Expected"))).toBe(true);
    expect(told.filter((text) => text.includes(folder))).toEqual([]);
    expect(told[0]).toContain("a.mar");
  });
});

describe("what may not be looked into", () => {
  test("is named in the log, once, until it changes", async () => {
    const folder = await emptyRepository();
    await placeLeNet5(folder);
    for (const name of ["circle", "digits/2"]) await symlink(join(folder, name), join(folder, name));
    const lines: string[] = [];
    const log = { info: () => {}, warn: (line: string) => lines.push(line) };
    const limits = { maxBatchSize: 1, maxQueueDelayMicroseconds: 0, maxQueueSize: 1, timeoutMilliseconds: 1000 };
    const observer = () => ({ waited: () => {}, computed: () => {} });
    const repository = new FolderRepository({ folder, limits, device: "cpu", pollMilliseconds: 5, log, observer });
    await repository.open();
    await wait(100);
    expect(lines.sort()).toEqual([
      "Cannot look into circle (ELOOP): it is passed over",
      "Cannot look into digits/2 (ELOOP): it is passed over",
    ]);
    await rm(join(folder, "circle"));
    await wait(50);
    await symlink(join(folder, "circle"), join(folder, "circle"));
    await until(() => lines.length === 3);
    await repository.close();
  });
});

describe("config.json", () => {
  async function withConfig(config: unknown, versions = ["1"]): Promise<Server> {
    const folder = await emptyRepository();
    for (const version of versions) await placeLeNet5(folder, { version });
    const text = typeof config === "string" ? config : JSON.stringify(config);
    await writeFile(join(folder, "digits", "config.json"), text);
    return (await serve(folder)).server;
  }

  test("says which versions are loaded, and the limits of their batches", async () => {
    const latest = await withConfig({ versions: { latest: 2 }, maxBatchSize: 8, maxQueueSize: 9 }, ["1", "2", "3"]);
    expect(states(latest)).toEqual(["digits 2 ready", "digits 3 ready *"]);
    expect(latest.repository.statusesOf("digits")[0]).toMatchObject({ maxBatchSize: 8, maxQueueSize: 9 });
    expect(states(await withConfig({ versions: ["1", 3] }, ["1", "2", "3"]))).toEqual([
      "digits 1 ready",
      "digits 3 ready *",
    ]);
  });

  test.each([
    ["{", "JSON"],
    ["[]", "an object of options"],
    [{ maxBatchsize: 8 }, 'did you mean "maxBatchSize"'],
    [{ maxBatchSize: 0 }, "from 1 to 65536"],
    [{ versions: "newest" }, "latest"],
    [{ kind: "onnx" }, '"lenet5" or "torchscript"'],
    [{ inputs: [{ name: "x", dtype: "float128" }] }, "float32"],
    [{ inputs: [{ name: "x" }, { name: "x" }] }, "a name of its own"],
    [{ image: { crop: 300 } }, "crop"],
    [{ image: { mean: [1, 2] } }, "three numbers"],
    [{ warmUp: [[-1]] }, "warmUp"],
  ])("%j is named as what is wrong", async (config, words) => {
    const server = await withConfig(config);
    expect(states(server)).toEqual(["digits 1 unavailable *"]);
    expect(server.repository.statusesOf("digits")[0]!.reason).toContain(words);
  });
});
