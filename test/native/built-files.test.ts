// Where the addon is looked for, in a copy of the package as npm installs it.
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { findBuilt } from "../../lib/native/built-files.js";
import { platformName } from "../../lib/native/platform.js";
import { packageVersion } from "../../lib/version.js";
import { type Run, runNode, temporaryFolder } from "../cli/lenet5.js";

const ADDON = "lenet5_fused.node";
const PACKAGE = `@lenet5-libtorch/${platformName()}`;
const built = findBuilt(ADDON);

let project: string;
let installed: string;

beforeEach(() => {
  project = temporaryFolder();
  installed = join(project, "node_modules", "lenet5-libtorch");
  mkdirSync(installed, { recursive: true });
  for (const name of ["package.json", "package-root.mjs", "package-root.cjs"]) {
    cpSync(join(packageRoot, name), join(installed, name));
  }
  cpSync(join(packageRoot, "dist"), join(installed, "dist"), { recursive: true });
});

/** Installs a package with a prebuilt addon beside the main one. */
function install(
  name = PACKAGE,
  { version = packageVersion, addon = readFileSync(built) }: { version?: string; addon?: Uint8Array } = {},
): string {
  const folder = join(project, "node_modules", ...name.split("/"));
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name, version }));
  writeFileSync(join(folder, ADDON), addon);
  chmodSync(join(folder, ADDON), 0o755);
  return folder;
}

const PREDICT = `new LeNet5({ seed: 1 }).predictSync(new Float32Array(784));
  console.log(Object.keys(require("node:module")._cache).find((file) => file.endsWith(".node")) ?? "");`;

/** Predicts; prints which addon was opened. */
async function predict(code = `const { LeNet5 } = require("lenet5-libtorch"); ${PREDICT}`): Promise<Run> {
  return runNode(["--eval", code], { cwd: project, env: { LENET5_BUILD_DIR: undefined } });
}

async function refusal(): Promise<string> {
  const { status, stderr } = await predict();
  expect(status).toBe(1);
  expect(stderr).toContain("LENET5_ADDON_NOT_BUILT");
  return stderr;
}

describe("the package of this platform", () => {
  test("has the addon, for both module formats", async () => {
    const folder = install();
    expect(await predict()).toMatchObject({ status: 0, stdout: `${join(folder, ADDON)}\n` });
    const imported = await predict(`import("lenet5-libtorch").then(({ LeNet5 }) => { ${PREDICT} });`);
    expect(imported).toMatchObject({ status: 0, stdout: `${join(folder, ADDON)}\n` });
  });

  test("goes behind what was built in place, and before prebuilds", async () => {
    const folder = install();
    const prebuilds = join(installed, "prebuilds", platformName());
    mkdirSync(prebuilds, { recursive: true });
    cpSync(built, join(prebuilds, ADDON));
    expect((await predict()).stdout).toBe(`${join(folder, ADDON)}\n`);
    const release = join(installed, "build", "Release");
    mkdirSync(release, { recursive: true });
    cpSync(built, join(release, ADDON));
    expect((await predict()).stdout).toBe(`${join(release, ADDON)}\n`);
  });

  test("is named where it is missing", async () => {
    expect(await refusal()).toContain(`Expected ${ADDON} in the package ${PACKAGE}, or built in ${installed}`);
  });

  test("is refused by name in another version", async () => {
    install(PACKAGE, { version: "0.0.1" });
    expect(await refusal()).toContain(`Expected version ${packageVersion} of ${PACKAGE} but received 0.0.1`);
  });

  test("is refused by name where its package.json is damaged", async () => {
    writeFileSync(join(install(), "package.json"), "{");
    // Node itself refuses such a package too, so it counts as absent or as damaged.
    expect(await refusal()).toContain(PACKAGE);
  });

  test.each([
    ["cut in half", (bytes: Buffer) => bytes.subarray(0, bytes.length / 2), "it is truncated"],
    ["empty", () => Buffer.alloc(0), "it is no ELF library"],
    ["a text", () => Buffer.from("<html>".repeat(100)), "it is no ELF library"],
    [
      "for another processor",
      (bytes: Buffer) => {
        const other = Buffer.from(bytes);
        other.writeUInt16LE(process.arch === "x64" ? 183 : 62, 18);
        return other;
      },
      "it is for ELF machine",
    ],
  ])("is refused by name where its addon is %s", async (_what, change, reason) => {
    const folder = install(PACKAGE, { addon: change(readFileSync(built)) });
    const message = await refusal();
    expect(message).toContain(`Cannot load ${join(folder, ADDON)}: ${reason}`);
    expect(message).toContain(PACKAGE);
  });

  test("of another platform is named, as the reason why there is none", async () => {
    install("@lenet5-libtorch/plan9-mips");
    const message = await refusal();
    expect(message).toContain(`Expected ${ADDON} in the package ${PACKAGE}`);
    expect(message).toContain("here is @lenet5-libtorch/plan9-mips, for another platform");
  });
});

test("the platform has musl in its name where the C library is musl", () => {
  const musl = existsSync("/etc/alpine-release") ? "-musl" : "";
  expect(platformName()).toBe(`${process.platform}-${process.arch}${musl}`);
});
