// The package as its users get it: what it exports in both module formats, and what npm would publish.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { packageRoot } from "#package-root";
import { findBuiltAddon } from "../lib/libtorch/load-addon.js";

const run = promisify(execFile);

/** Runs code in a process that refers to the package by its name, as a user does; gives back what it prints as JSON. */
async function asUser(type: "module" | "commonjs", code: string): Promise<unknown> {
  const { stdout } = await run(process.execPath, [`--input-type=${type}`, "--eval", code], {
    cwd: packageRoot,
    timeout: 60_000,
  });
  return JSON.parse(stdout);
}

test("import and require give the same names", async () => {
  const [esm, cjs] = await Promise.all([
    asUser("module", `import * as all from "lenet5-libtorch"; console.log(JSON.stringify(Object.keys(all).sort()));`),
    asUser("commonjs", `console.log(JSON.stringify(Object.keys(require("lenet5-libtorch")).sort()));`),
  ]);
  expect(esm).toEqual(cjs);
  expect(esm).toEqual(expect.arrayContaining(["LeNet5", "ScriptModule", "mnist", "devices"]));
});

test("both module formats work in one process, on one libtorch", async () => {
  const code = `
    import { createRequire } from "node:module";
    import { LeNet5 } from "lenet5-libtorch";
    const other = createRequire(import.meta.url)("lenet5-libtorch");
    const predict = (Class) => new Class({ seed: 1 }).predictSync(new Float32Array(784)).labels[0];
    console.log(JSON.stringify([predict(LeNet5), predict(other.LeNet5)]));`;
  const [first, second] = (await asUser("module", code)) as number[];
  expect(first).toBe(second);
});

test("what is packed works by itself, in both module formats", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lenet5-packed-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const pack = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  const [{ filename }] = JSON.parse((await run("npm", pack, { cwd: packageRoot })).stdout) as [{ filename: string }];
  const installed = join(folder, "node_modules", "lenet5-libtorch");
  mkdirSync(installed, { recursive: true });
  await run("tar", ["-xzf", join(folder, filename), "-C", installed, "--strip-components=1"]);
  // Its dependencies are those of the checkout; test/long installs them anew. So is the addon, which is not packed.
  symlinkSync(join(packageRoot, "node_modules"), join(installed, "node_modules"));
  const env = { ...process.env, LENET5_BUILD_DIR: dirname(dirname(findBuiltAddon().loader)) };
  const predict = "console.log(new LeNet5({ seed: 1 }).predictSync(new Float32Array(784)).labels.length);";
  for (const [name, code] of [
    ["try.mjs", `import { LeNet5 } from "lenet5-libtorch"; ${predict}`],
    ["try.cjs", `const { LeNet5 } = require("lenet5-libtorch"); ${predict}`],
  ] as const) {
    writeFileSync(join(folder, name), code);
    expect((await run(process.execPath, [name], { cwd: folder, env })).stdout).toBe("1\n");
  }
  const { stdout } = await run(process.execPath, [join(installed, "dist/esm/cli/main.js"), "--version"], { env });
  expect(stdout).toMatch(/^\d+\.\d+\.\d+/);
}, 120_000);

test("npm would publish what running and building take, and nothing else", async () => {
  const { stdout } = await run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: packageRoot });
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  const paths = files.map(({ path }) => path);
  expect(paths).toEqual(
    expect.arrayContaining([
      "package.json",
      "README.md",
      "LICENSE",
      "dist/esm/lenet5-libtorch.js",
      "dist/esm/lenet5-libtorch.d.ts",
      "dist/esm/scripts.js",
      "dist/cjs/lenet5-libtorch.js",
      "dist/cjs/lenet5-libtorch.d.ts",
      "dist/cjs/package.json",
      "dist/esm/cli/main.js",
      "dist/esm/cli/decoding-worker.js",
      "dist/page.json",
      "package-root.mjs",
      "package-root.cjs",
      "CMakeLists.txt",
      "binding.gyp",
      "cmake/libtorch.cmake",
      "native/loader/loader.cpp",
      "scripts/build-native.mjs",
      "scripts/shared.mjs",
      "scripts/typescript.mjs",
    ]),
  );
  const foreign = /^(test|benchmarks|build|docs)\/|^lib\/.*\.ts$|\.pt$|\.tsbuildinfo$|\/test\//;
  expect(paths.filter((path) => foreign.test(path))).toEqual([]);
  // Everything is joined: a file that Node opens or a disk holds costs more than what is in it.
  expect(paths.filter((path) => path.startsWith("dist/")).length).toBeLessThan(40);
  expect(paths.filter((path) => path.startsWith("dist/cjs/")).sort()).toEqual([
    "dist/cjs/core.js",
    "dist/cjs/lenet5-libtorch.d.ts",
    "dist/cjs/lenet5-libtorch.js",
    "dist/cjs/package.json",
    "dist/cjs/server.d.ts",
    "dist/cjs/server.js",
    "dist/cjs/tensorboard.d.ts",
    "dist/cjs/tensorboard.js",
  ]);
  expect(paths).toContain("dist/carried/protobufjs-light.cjs");
  expect(paths).toContain("dist/carried/hyparquet-writer.cjs");
});

test("the lock file names the packages of every platform, without which `npm ci` refuses it", () => {
  // npm leaves out optional packages that its registry does not have, and then misses them.
  const { packages } = JSON.parse(readFileSync(join(packageRoot, "package-lock.json"), "utf8")) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const named = Object.values(packages).flatMap(({ optionalDependencies }) => Object.keys(optionalDependencies ?? {}));
  expect(named.length).toBeGreaterThan(50);
  const locked = new Set(Object.keys(packages).map((path) => path.replace(/^.*node_modules\//, "")));
  expect(named.filter((name) => !locked.has(name))).toEqual([]);
});

test("what is packed in a workflow names the workflow's repository, without which npm refuses its provenance", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lenet5-packed-"));
  try {
    const prebuilds = join(folder, "prebuilds");
    mkdirSync(join(prebuilds, "linux-x64"), { recursive: true });
    writeFileSync(join(prebuilds, "linux-x64", "lenet5_fused.node"), "an addon");
    const words = ["scripts/platform-packages.mjs", "--prebuilds", prebuilds, "--output", join(folder, "packed")];
    const env = { ...process.env, GITHUB_SERVER_URL: "https://github.example", GITHUB_REPOSITORY: "who/what" };
    const { stdout } = await run(process.execPath, words, { cwd: packageRoot, env });
    const packed = stdout.trim().split("\n");
    // The main package last: it names the others.
    expect(packed.map((file) => basename(file).replace(/-\d.*/, ""))).toEqual([
      "lenet5-libtorch-linux-x64",
      "lenet5-libtorch",
    ]);
    for (const file of packed) {
      const read = await run("tar", ["--extract", "--to-stdout", "--file", file, "package/package.json"]);
      expect(JSON.parse(read.stdout).repository).toEqual({
        type: "git",
        url: "git+https://github.example/who/what.git",
      });
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
