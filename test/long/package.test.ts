// The packed package in an empty project: with the prebuilt addon and no install script, and built from its own sources.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { findLibtorch } from "../../lib/libtorch/find.js";
import { findBuiltAddon } from "../../lib/libtorch/load-addon.js";

const run = promisify(execFile);
let folder: string;
let project: string;
let installed: string;
/** No cache of the user's, and the libtorch by its name: as on a machine that has nothing else. */
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  const { libtorchVersion, cxx11Abi } = findBuiltAddon();
  const { libtorch } = findLibtorch({ built: { version: libtorchVersion, cxx11Abi }, headers: true });
  folder = mkdtempSync(join(tmpdir(), "lenet5-package-"));
  project = join(folder, "project");
  installed = join(project, "node_modules", "lenet5-libtorch");
  env = { ...process.env, LENET5_CACHE_DIR: join(folder, "cache"), LIBTORCH: libtorch.root };
  delete env.LENET5_BUILD_DIR;
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true }));
  await run(process.execPath, ["scripts/prebuild.mjs"], { cwd: packageRoot });
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: packageRoot });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  await run("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", join(folder, filename)], {
    cwd: project,
  });
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  // Left in place, it would be packed with whatever is packed next.
  rmSync(join(packageRoot, "prebuilds"), { recursive: true, force: true });
});

const PREDICT = "console.log(new LeNet5({ seed: 1 }).predictSync(new Float32Array(784)).labels.length)";

async function predictsInBothFormats(): Promise<void> {
  writeFileSync(join(project, "try.mjs"), `import { LeNet5 } from "lenet5-libtorch";\n${PREDICT}`);
  writeFileSync(join(project, "try.cjs"), `const { LeNet5 } = require("lenet5-libtorch");\n${PREDICT}`);
  for (const file of ["try.mjs", "try.cjs"]) {
    const { stdout } = await run(process.execPath, [file], { cwd: project, env });
    expect(stdout).toBe("1\n");
  }
}

test("works with the prebuilt addon, installed with --ignore-scripts", async () => {
  expect(existsSync(join(installed, "build"))).toBe(false);
  await predictsInBothFormats();
  const { stdout } = await run("npx", ["lenet5", "doctor", "--json"], { cwd: project, env });
  expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toMatchObject({ ok: true });
});

test("says how to mend it where no libtorch is to be found", async () => {
  const nowhere = { ...env, LIBTORCH: join(folder, "nowhere") };
  await expect(run(process.execPath, ["try.cjs"], { cwd: project, env: nowhere })).rejects.toMatchObject({
    stderr: expect.stringMatching(/LENET5_LIBTORCH_NOT_FOUND/),
  });
});

test("works when it is built in place", async () => {
  rmSync(join(installed, "prebuilds"), { recursive: true });
  await expect(run(process.execPath, ["try.cjs"], { cwd: project, env })).rejects.toMatchObject({
    stderr: expect.stringMatching(/LENET5_ADDON_NOT_BUILT/),
  });
  await run(process.execPath, [join(installed, "scripts", "build-native.mjs")], { cwd: project, env });
  expect(existsSync(join(installed, "build", "Release", "lenet5_libtorch.node"))).toBe(true);
  await predictsInBothFormats();
});
