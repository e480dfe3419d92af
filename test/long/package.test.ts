// The packed packages in an empty project: with the prebuilt addon and no install script, and built from its own sources.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { findLibtorch, PINNED_LIBTORCH_VERSION } from "../../lib/libtorch/find.js";
import { findBuiltAddon } from "../../lib/libtorch/load-addon.js";
import { platformName } from "../../lib/native/platform.js";

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
  const prebuilds = join(folder, "prebuilds");
  await run(process.execPath, ["scripts/prebuild.mjs", "--with-libtorch", "--output", prebuilds], { cwd: packageRoot });
  const { stdout } = await run(
    process.execPath,
    ["scripts/platform-packages.mjs", "--output", join(folder, "packed"), "--prebuilds", prebuilds],
    {
      cwd: packageRoot,
    },
  );
  const packed = stdout.trim().split("\n");
  // The main package, and of the others the one that npm would choose.
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8"));
  const own = packed.filter(
    (file) => file.endsWith(`libtorch-${version}.tgz`) || file.includes(`${platformName()}-${version}`),
  );
  await run("npm", ["install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", ...own], {
    cwd: project,
  });
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
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

test("the main package names the platforms' packages in its own version", () => {
  const { version, optionalDependencies, scripts } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  expect(optionalDependencies[`@lenet5-libtorch/${platformName()}`]).toBe(version);
  expect(scripts).toBeUndefined();
});

test("works with the prebuilt addon, installed with --ignore-scripts", async () => {
  expect(existsSync(join(installed, "build"))).toBe(false);
  await predictsInBothFormats();
  const { stdout } = await run("npx", ["lenet5", "doctor", "--json"], { cwd: project, env });
  expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toMatchObject({ ok: true });
});

test("takes at most 5 MB on the disk, sharp and what it needs apart", async () => {
  const sharps = ["sharp", "@img", "detect-libc", "semver"];
  for (const name of sharps) expect(existsSync(join(project, "node_modules", name))).toBe(true);
  const words = sharps.map((name) => `--exclude=node_modules/${name}`);
  const { stdout } = await run("du", ["--summarize", "--block-size=1000", ...words, "node_modules"], { cwd: project });
  expect(Number.parseInt(stdout, 10)).toBeGreaterThan(2_000);
  expect(Number.parseInt(stdout, 10)).toBeLessThanOrEqual(5_000);
});

const SAVE_AND_RUN = `
  const { LeNet5, ScriptModule } = require("lenet5-libtorch");
  (async () => {
    const model = new LeNet5({ seed: 1 });
    await model.save("model.pt");
    const images = new Float32Array(784);
    const module = await ScriptModule.load("model.pt", { device: "cpu" });
    const { data } = await module.forward({ data: images, shape: [1, 1, 28, 28], dtype: "float32" });
    console.log(module.constructor.name, data.length, (await model.predict(images)).labels[0] === data.indexOf(Math.max(...data)));
  })().catch(({ code, message }) => console.log(code, message));`;

test("needs nothing compiled with the libtorch that `lenet5 install` installs", async () => {
  const words = ["lenet5", "install", "--from", env.LIBTORCH!, "--json"];
  const { stdout, stderr } = await run("npx", words, { cwd: project, env: { ...env, LIBTORCH: "" } });
  const told = JSON.parse(stdout.trim().split("\n").at(-1)!);
  expect(told).toMatchObject({ installed: true, built: false, version: PINNED_LIBTORCH_VERSION });
  expect(stderr).not.toContain("Building");
  for (const LIBTORCH of ["", env.LIBTORCH!]) {
    const saved = await run(process.execPath, ["--eval", SAVE_AND_RUN], { cwd: project, env: { ...env, LIBTORCH } });
    expect(saved.stdout).toBe("ScriptModule 10 true\n");
  }
  expect(existsSync(join(installed, "build"))).toBe(false);
});

test.runIf(existsSync("/usr/include/torch/csrc/api/include/torch/version.h"))(
  "refuses another libtorch by its version, and says what to do",
  async () => {
    const words = ["--eval", SAVE_AND_RUN];
    const { stdout } = await run(process.execPath, words, { cwd: project, env: { ...env, LIBTORCH: "/usr" } });
    expect(stdout).toMatch(
      /^LENET5_LIBTORCH_INCOMPATIBLE .* needs libtorch\. Expected libtorch 2\.13\.0, for which the addon/,
    );
    expect(stdout).toMatch(
      /LIBTORCH \/usr is 1\.13\.\d+, but .*`npx lenet5 install`.*`npx lenet5 install --build`\.\n$/,
    );
  },
);

test("trains and predicts where there is no libtorch, and says what saving needs", async () => {
  const code = `const { LeNet5, syntheticDigits } = require("lenet5-libtorch");
    (async () => {
      const digits = await syntheticDigits.generate({ count: 500, seed: 1 });
      const model = new LeNet5({ seed: 1 });
      const { epochs } = await model.fit(digits, { epochs: 1 });
      console.log(epochs.length, (await model.predict(digits.images)).count);
      await model.toTorchScript().catch((error) => console.log(error.code));
    })();`;
  const nowhere = { ...env, LIBTORCH: join(folder, "nowhere") };
  const { stdout } = await run(process.execPath, ["--eval", code], { cwd: project, env: nowhere });
  expect(stdout).toBe("1 500\nLENET5_LIBTORCH_NOT_FOUND\n");
});

test("works when it is built in place, with tools that the build fetches", async () => {
  rmSync(join(project, "node_modules", "@lenet5-libtorch"), { recursive: true });
  await expect(run(process.execPath, ["try.cjs"], { cwd: project, env })).rejects.toMatchObject({
    stderr: expect.stringMatching(/LENET5_ADDON_NOT_BUILT/),
  });
  expect(existsSync(join(project, "node_modules", "cmake-js"))).toBe(false);
  await run(process.execPath, [join(installed, "scripts", "build-native.mjs")], { cwd: project, env });
  expect(existsSync(join(installed, "build", "Release", "lenet5_libtorch.node"))).toBe(true);
  await predictsInBothFormats();
});
