// What is there and cannot be read has a code of its own, whoever is asked to read it. A link that leads to itself cannot
// be read by anybody, root included, whom permissions do not stop.
import { spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { packageRoot } from "#package-root";
import { decodeDigit, idx, imageFolder, LeNet5, mnist } from "../../lib/index.js";
import { setVariable, temporaryFolder } from "./folder.js";

const UNREADABLE = {
  code: "LENET5_FILE_READ_FAILED",
  message: expect.stringMatching(/^Expected .+ for .+ but received ELOOP/),
};

/** A link that leads to itself. */
function circle(...place: string[]): string {
  const path = join(...place);
  symlinkSync(path, path);
  return path;
}

test("IDX files", async () => {
  const path = circle(temporaryFolder(), "images");
  await expect(idx.read(path)).rejects.toMatchObject(UNREADABLE);
  await expect(idx.readDataset(path, path)).rejects.toMatchObject(UNREADABLE);
});

test("folders of images", async () => {
  await expect(imageFolder.load(circle(temporaryFolder(), "photos"))).rejects.toMatchObject(UNREADABLE);
});

test("a folder inside of one that is too deep for the system to name", async () => {
  const root = temporaryFolder();
  // mkdir and rm go step by step, where Node and the system would need the whole path.
  expect(spawnSync("mkdir", ["-p", join(root, "x", ...Array(17).fill("y".repeat(250)))]).status).toBe(0);
  onTestFinished(() => void spawnSync("rm", ["-rf", join(root, "x")]));
  await expect(imageFolder.load(root)).rejects.toMatchObject({
    code: "LENET5_FILE_READ_FAILED",
    message: expect.stringMatching(/^Expected .+ for .+ but received ENAMETOOLONG/),
  });
});

test("data sets by name", async () => {
  const directory = temporaryFolder();
  mkdirSync(join(directory, "mnist"));
  circle(directory, "mnist", "train-images-idx3-ubyte");
  await expect(mnist.load({ directory })).rejects.toMatchObject(UNREADABLE);
  setVariable("LENET5_DATA_DIR", undefined);
  const cached = mnist.load({ cache: circle(directory, "cache"), mirrors: ["http://127.0.0.1:1/"] });
  await expect(cached.then(() => "loaded")).rejects.toMatchObject(UNREADABLE);
});

test("checkpoints", async () => {
  const checkpointDirectory = temporaryFolder();
  circle(checkpointDirectory, "checkpoint.safetensors");
  const model = new LeNet5({ device: "cpu" });
  const train = { images: new Uint8Array(784), labels: new Int32Array(1) };
  const run = model.fit(train, { epochs: 1, checkpointDirectory, resume: true });
  await expect(run[Symbol.asyncIterator]().next()).rejects.toMatchObject(UNREADABLE);
});

test("models and images", async () => {
  await expect(decodeDigit(circle(temporaryFolder(), "seven.png"))).rejects.toMatchObject(UNREADABLE);
  await expect(LeNet5.load(circle(temporaryFolder(), "model.pt"))).rejects.toMatchObject(UNREADABLE);
});

test("a pipe that nobody writes to is refused and not waited for", async () => {
  const pipe = join(temporaryFolder(), "pipe");
  expect(spawnSync("mkfifo", [pipe]).status).toBe(0);
  const none = { message: expect.stringContaining("something that is not a file") };
  await expect(idx.read(pipe)).rejects.toMatchObject({ code: "LENET5_DATA_NOT_FOUND", ...none });
  await expect(decodeDigit(pipe)).rejects.toMatchObject({ code: "LENET5_IMAGE_UNREADABLE", ...none });
  await expect(LeNet5.load(pipe)).rejects.toMatchObject({ code: "LENET5_MODEL_NOT_FOUND", ...none });
});

test("a process that has no more descriptors: no raw EMFILE", () => {
  const script = `const { openSync } = require("node:fs");
    const { idx, imageFolder, LeNet5, decodeDigit, mnist } = require(process.argv[1]);
    try { for (;;) openSync("/dev/null"); } catch {}
    const calls = { idx: () => idx.read("/etc/hosts"), folder: () => imageFolder.load("/etc"),
      model: () => LeNet5.load("/etc/hosts"), digit: () => decodeDigit("/etc/hosts"),
      write: () => idx.write("/tmp/never-written", { data: new Uint8Array(1), shape: [1] }) };
    (async () => {
      for (const [name, call] of Object.entries(calls)) await call().catch((error) => console.log(name, error.code, error.message));
    })();`;
  const index = join(packageRoot, "dist", "cjs", "lenet5-libtorch.js");
  const run = spawnSync("/bin/sh", ["-c", 'ulimit -n 64; exec "$0" "$@"', process.execPath, "--eval", script, index], {
    encoding: "utf8",
  });
  expect(run).toMatchObject({ status: 0, signal: null });
  expect(run.stdout.trimEnd().split("\n")).toEqual([
    expect.stringMatching(/^idx LENET5_FILE_READ_FAILED Expected an IDX file for \/etc\/hosts but received EMFILE/),
    expect.stringMatching(/^folder LENET5_FILE_READ_FAILED .*EMFILE/),
    expect.stringMatching(/^model LENET5_FILE_READ_FAILED .*EMFILE/),
    expect.stringMatching(/^digit LENET5_FILE_READ_FAILED .*EMFILE/),
    expect.stringMatching(/^write LENET5_FILE_WRITE_FAILED .*EMFILE/),
  ]);
});
