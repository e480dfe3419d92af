import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { packageRoot } from "#package-root";
import { exportOnnx, idx, LeNet5 } from "../lib/index.js";
import { lastJson, lenet5, line, MAIN, runNode, temporaryFolder } from "./cli/lenet5.js";

const model = new LeNet5({ seed: 1, device: "cpu" });
const isRoot = process.getuid?.() === 0;

/** The simplest of all writers of files: eleven bytes. */
const write = (path: string) => idx.write(path, { data: Uint8Array.of(1, 2, 3), shape: [3] });
const written = idx.encode({ data: Uint8Array.of(1, 2, 3), shape: [3] });

const refused = (received: string) =>
  expect.objectContaining({
    code: "LENET5_FILE_WRITE_FAILED",
    message: expect.stringMatching(`^Expected a whole file for .+ but received .*${received}`),
  });

function makeNode(path: string, ...kind: string[]): string {
  const made = kind[0] === "p" ? spawnSync("mkfifo", [path]) : spawnSync("mknod", [path, ...kind]);
  expect(made.status).toBe(0);
  return path;
}

/** A twin of /dev/null; who may not make one may not replace /dev/null either. */
function nullDevice(folder: string): string {
  return isRoot ? makeNode(join(folder, "null"), "c", "1", "3") : "/dev/null";
}

describe("a place that is no file", () => {
  test("a device is written to and stays a device", async () => {
    const folder = temporaryFolder();
    const device = nullDevice(folder);
    await write(device);
    await model.save(device);
    await exportOnnx(model, device);
    expect(lstatSync(device).isCharacterDevice()).toBe(true);
    symlinkSync(device, join(folder, "link"));
    await model.save(join(folder, "link"));
    expect(lstatSync(join(folder, "link")).isSymbolicLink()).toBe(true);
    expect(lstatSync(device).isCharacterDevice()).toBe(true);
    expect(readdirSync(folder).filter((name) => !["null", "link"].includes(name))).toEqual([]);
  });

  test("every command that writes a file leaves a device a device", async () => {
    const folder = temporaryFolder();
    const device = nullDevice(folder);
    const weights = join(folder, "m.pt");
    await model.save(weights);
    const data = join(folder, "data");
    await lenet5(line`data synthesise --count 20 --test-count 10 --output ${data}`);
    const module = join(packageRoot, "test", "fixtures", "script-modules", "options.pt");
    const commands = [
      ...["torchscript", "onnx", "safetensors", "mar"].map(
        (format) => line`export --model ${weights} --format ${format} --output ${device} --json`,
      ),
      line`inspect ${module} --emit-types --output ${device}`,
      line`data show --data ${data} --count 2 --output ${device}`,
      line`train --data ${data} --epochs 1 --output ${device}`,
    ];
    for (const words of commands) {
      expect(await lenet5(words)).toMatchObject({ status: 0, signal: null });
      expect(lstatSync(device).isCharacterDevice()).toBe(true);
    }
    expect(readdirSync(folder).sort()).toEqual(["data", "m.pt", ...(isRoot ? ["null"] : [])]);
    for (const words of [line`data synthesise --count 10 --output ${device}`]) {
      const run = await lenet5(words);
      expect(run.status).toBe(1);
      expect(run.stderr).toMatch(/\(LENET5_FILE_WRITE_FAILED\)\n$/);
      expect(lstatSync(device).isCharacterDevice()).toBe(true);
    }
  }, 180_000);

  test("a pipe gets the bytes, once somebody reads from it", async () => {
    const pipe = makeNode(join(temporaryFolder(), "pipe"), "p");
    // Far more than a pipe holds, so that it is full in between.
    const large = { data: new Uint8Array(1_000_000).fill(7), shape: [1_000_000] };
    const call = idx.write(pipe, large);
    const reader = spawn("sh", ["-c", 'sleep 0.3; cat "$0"', pipe], { stdio: ["ignore", "pipe", "inherit"] });
    const [received] = await Promise.all([buffer(reader.stdout), call]);
    expect(received.equals(idx.encode(large))).toBe(true);
    expect(lstatSync(pipe).isFIFO()).toBe(true);
  });

  test("a worker_thread that wrote into a pipe closes nobody's files when it ends", async () => {
    const pipe = makeNode(join(temporaryFolder(), "pipe"), "p");
    const entry = JSON.stringify(pathToFileURL(join(packageRoot, "dist", "esm", "lenet5-libtorch.js")).href);
    const worker = `
      const { parentPort } = require("node:worker_threads");
      import(${entry}).then(async ({ idx }) => {
        await idx.write(${JSON.stringify(pipe)}, { data: new Uint8Array(200_000), shape: [200_000] });
        parentPort.postMessage("written");
      });
      setInterval(() => {}, 1000);`;
    const script = `
      const { openSync, fstatSync } = require("node:fs");
      const { spawn } = require("node:child_process");
      const { Worker } = require("node:worker_threads");
      const reader = spawn("cat", [${JSON.stringify(pipe)}], { stdio: "ignore" });
      const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
      worker.once("message", () => setTimeout(async () => {
        const files = Array.from({ length: 20 }, () => openSync("/dev/null", "r"));
        await worker.terminate();
        for (const file of files) fstatSync(file);
        console.log("all there");
      }, 50));`;
    const run = await runNode(["--eval", script]);
    expect(run).toMatchObject({ status: 0, stdout: "all there\n" });
  });

  test("a pipe whose reader leaves is an error with a code", async () => {
    const pipe = makeNode(join(temporaryFolder(), "pipe"), "p");
    const call = idx.write(pipe, { data: new Uint8Array(1_000_000), shape: [1_000_000] });
    const reader = spawn("head", ["-c", "10", pipe], { stdio: "ignore" });
    await expect(call).rejects.toEqual(refused("EPIPE"));
    if (reader.exitCode === null) await once(reader, "exit");
  });

  test("a signal ends the wait for a pipe's reader, and for one that reads no further", async () => {
    const pipe = makeNode(join(temporaryFolder(), "pipe"), "p");
    const aborted = expect.objectContaining({ code: "LENET5_ABORTED" });
    const nobody = exportOnnx(model, pipe, { signal: AbortSignal.timeout(200) });
    await expect(nobody).rejects.toEqual(aborted);
    const reader = await open(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const full = exportOnnx(model, pipe, { signal: AbortSignal.timeout(400) });
      await expect(full).rejects.toEqual(aborted);
    } finally {
      await reader.close();
    }
    expect(lstatSync(pipe).isFIFO()).toBe(true);
  });

  test("a folder, a socket and what a block device stands for are refused by name", async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "models"));
    const socket = join(folder, "socket");
    const server = createServer().listen(socket);
    await once(server, "listening");
    onTestFinished(() => void server.close());
    await expect(write(join(folder, "models"))).rejects.toEqual(refused("a folder"));
    await expect(write(join(folder, "none/"))).rejects.toEqual(refused("the name of a folder"));
    await expect(write(socket)).rejects.toEqual(refused("a socket"));
    if (isRoot) {
      // Major number 240 is kept for experiments: no driver answers to it.
      const block = makeNode(join(folder, "block"), "b", "240", "0");
      await expect(write(block)).rejects.toEqual(refused("a block device"));
      expect(lstatSync(block).isBlockDevice()).toBe(true);
    }
    expect(existsSync(join(folder, "none"))).toBe(false);
  });
});

describe("a link", () => {
  test("is followed to the file at its end, which is replaced where it lies", async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "far"));
    writeFileSync(join(folder, "far", "file"), "before");
    symlinkSync("far", join(folder, "near"));
    symlinkSync(join("near", "file"), join(folder, "second"));
    symlinkSync("second", join(folder, "first"));
    await write(join(folder, "first"));
    expect(readFileSync(join(folder, "far", "file")).equals(written)).toBe(true);
    expect(lstatSync(join(folder, "first")).isSymbolicLink()).toBe(true);
    expect(readdirSync(join(folder, "far"))).toEqual(["file"]);
    expect(readdirSync(folder).sort()).toEqual(["far", "first", "near", "second"]);
  });

  test("that leads nowhere yet gives the file it names", async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "far"));
    symlinkSync("far", join(folder, "near"));
    symlinkSync("../file", join(folder, "far", "link"));
    await write(join(folder, "near", "link"));
    expect(readFileSync(join(folder, "file")).equals(written)).toBe(true);
    expect(lstatSync(join(folder, "far", "link")).isSymbolicLink()).toBe(true);
  });

  test("that leads in a circle is refused", async () => {
    const folder = temporaryFolder();
    symlinkSync("b", join(folder, "a"));
    symlinkSync("a", join(folder, "b"));
    await expect(write(join(folder, "a"))).rejects.toEqual(refused("ELOOP"));
    expect(readdirSync(folder)).toEqual(["a", "b"]);
  });
});

describe("mode and owner", () => {
  test("of a file that is replaced stay; a new file has the usual ones", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "file");
    // In a process of its own: a worker_thread may not change the umask.
    const entry = JSON.stringify(pathToFileURL(join(packageRoot, "dist", "esm", "lenet5-libtorch.js")).href);
    const file = JSON.stringify(path);
    const made = `process.umask(0o027);
      import(${entry}).then(({ idx }) => idx.write(${file}, { data: Uint8Array.of(1, 2, 3), shape: [3] }));`;
    expect(await runNode(["--eval", made])).toMatchObject({ status: 0, stderr: "" });
    expect(statSync(path).mode & 0o7777).toBe(0o640);
    for (const mode of [0o600, 0o664, 0o755]) {
      chmodSync(path, mode);
      if (isRoot) chownSync(path, 4321, 8765);
      await write(path);
      const { uid, gid, mode: left } = statSync(path);
      expect(left & 0o7777).toBe(mode);
      if (isRoot) expect([uid, gid]).toEqual([4321, 8765]);
    }
  });
});

describe("standard output as the place of a file", () => {
  test("carries the file and nothing else, be it a pipe, a file or a socket", async () => {
    const folder = temporaryFolder();
    const weights = join(folder, "m.pt");
    await model.save(weights);
    const words = line`export --model ${weights} --format safetensors --output`;
    const file = join(folder, "m.safetensors");
    expect((await lenet5(line`${words} ${file}`)).status).toBe(0);
    const expected = readFileSync(file);
    const shell = (script: string) => {
      const run = spawnSync("sh", ["-c", script, process.execPath, MAIN, ...words, "/dev/stdout"]);
      expect(String(run.stderr)).toMatch(/^Wrote \/dev\/stdout/);
      expect(run.status).toBe(0);
      return run.stdout;
    };
    expect(shell('"$0" "$@" | cat').equals(expected)).toBe(true);
    expect(shell(`"$0" "$@" > "${file}.2" && cat "${file}.2"`).equals(expected)).toBe(true);
    // Node gives its children sockets.
    const child = await runNode([MAIN, ...line`inspect ${weights} --emit-types --output /dev/stdout`]);
    expect(child.stdout).toMatch(/^(\/\/|import|export)/);
    expect(child.stdout).not.toContain("Wrote");
    const json = await lenet5(line`${words} /dev/stdout --json`);
    expect(json.status).toBe(2);
    expect(lastJson(json).error.code).toBe("LENET5_INVALID_OPTION");
  });

  test("that nobody reads to its end is a failure, whatever the command", async () => {
    const folder = temporaryFolder();
    const weights = join(folder, "m.pt");
    await model.save(weights);
    const data = join(folder, "data");
    await lenet5(line`data synthesise --count 20 --test-count 10 --output ${data}`);
    for (const words of [
      line`export --model ${weights} --format onnx`,
      line`train --data ${data} --epochs 1 --checkpoint-dir ${join(folder, "checkpoints")}`,
    ]) {
      const script = '{ "$0" "$@"; echo "status $?" >&2; } | true';
      const run = spawnSync("sh", ["-c", script, process.execPath, MAIN, ...words, "--output", "/dev/stdout"]);
      expect(String(run.stderr)).toMatch(/received write EPIPE \(LENET5_FILE_WRITE_FAILED\)\nstatus 1\n$/);
    }
  });
});
