// Sets up and runs every test: the static checks, C++ tests, vitest, once more in threads some of what loads the
// addon, and the core under Jest. The last line adds them all up.
//
//   node scripts/test.mjs [--long] [--also-libtorch DIR]
//
// --also-libtorch  runs what loads the addon a second time, on an addon that is built for the libtorch in DIR
// --long           also runs test/long, the sanitizers, everything in threads, everything on the system's libtorch where
//                  it has one, and everything on the other supported versions of Node with the same addon; takes an hour
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildNative } from "./build-native.mjs";
import { nativeTests } from "./native-tests.mjs";
import { sanitizers } from "./sanitizers.mjs";
import { setup } from "./setup.mjs";
import { hashOf, main, root, runLogged, secondsSince } from "./shared.mjs";
import { NATIVE_TESTS, vitest } from "./vitest.mjs";

const inCI = process.env.CI === "true";
const tool = (...path) => [process.execPath, join(root, "node_modules", ...path)];

/** Name and command line of every static check; each counts as one test. */
const STATIC_CHECKS = [
  ["types", [...tool("typescript", "bin", "tsc"), "--project", root]],
  // In a browser there are other globals.
  [
    "types of the server's page",
    [...tool("typescript", "bin", "tsc"), "--project", join(root, "lib", "server", "page")],
  ],
  ["types of its tests", [...tool("typescript", "bin", "tsc"), "--project", join(root, "test", "server", "page")]],
  // --error-on-warnings: a warning that nobody has to look at is none.
  [
    "TypeScript and JSON: lint and format",
    [...tool("@biomejs", "biome", "bin", "biome"), "check", "--error-on-warnings"],
  ],
  ["C++: format and lint", [process.execPath, join(root, "scripts", "lint-cpp.mjs")]],
  ["package: publint", [...tool("publint", "src", "cli.js"), "--strict"]],
  [
    "package: types resolve for ESM and CommonJS",
    [...tool("@arethetypeswrong", "cli", "dist", "index.js"), "--pack", root],
  ],
];

async function staticChecks() {
  let failed = 0;
  for (const [index, [name, [command, ...args]]] of STATIC_CHECKS.entries()) {
    const start = performance.now();
    const log = join(root, "build", `check-${index + 1}.log`);
    const status = await runLogged(command, args, { log, allowFailure: true });
    console.error(`${status === 0 ? "✓" : "✗"} ${name} (${secondsSince(start)})`);
    if (status === 0) continue;
    failed++;
    console.error(readFileSync(log, "utf8"));
  }
  return { passed: STATIC_CHECKS.length - failed, failed, skipped: 0 };
}

/** Tests that load the addon and take a second each: enough to see that it lives in threads beside one another. */
const QUICK_IN_THREADS = [
  "test/lenet5/predict.test.ts",
  "test/lenet5/reference.test.ts",
  "test/script-module/values.test.ts",
  "test/script-module/errors.test.ts",
];
/** Versions of Node on which the long tests run the suite; the one that runs this script is tested anyway. */
const NODE_VERSIONS = ["20", "22", "24"];

/** Runs the package's core under Jest, whose realms have typed arrays and errors of their own. */
async function jest() {
  console.error("\njest: the core");
  const results = join(root, "build", "test-results-jest.json");
  rmSync(results, { force: true });
  const [node, script] = tool("jest", "bin", "jest.js");
  const config = join(root, "test", "jest", "jest.config.cjs");
  const args = [script, "--config", config, "--json", `--outputFile=${results}`];
  const status = await runLogged(node, args, { log: results.replace(/json$/, "log"), show: true, allowFailure: true });
  if (!existsSync(results)) return { passed: 0, failed: 1, skipped: 0 };
  const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(results, "utf8"));
  return { passed: numPassedTests, failed: numFailedTests || (status === 0 ? 0 : 1), skipped: numPendingTests };
}

/** Builds the addon for another libtorch, beside the usual one, and runs tests on it. */
async function onOtherLibtorch(folder, filters) {
  const output = join(root, "build", `other-${hashOf([], [resolve(folder)]).slice(0, 8)}`);
  await buildNative({ output, libtorch: folder });
  const env = { LENET5_BUILD_DIR: output, LIBTORCH: resolve(folder) };
  return vitest(`on the libtorch in ${folder}`, { filters, env });
}

/** Runs the suite on another version of Node, which comes from npm, with the addon as it is. */
async function onOtherNode(version) {
  const platform = process.platform === "win32" ? "win" : process.platform;
  const name = `node-${platform}-${process.arch}`;
  const prefix = join(root, "build", `node-${version}`);
  mkdirSync(prefix, { recursive: true });
  const args = ["install", "--prefix", prefix, "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"];
  await runLogged("npm", [...args, `${name}@${version}`], { log: join(prefix, "install.log") });
  const binary = process.platform === "win32" ? "node.exe" : "node";
  return vitest(`on Node ${version}`, { node: join(prefix, "node_modules", name, "bin", binary) });
}

/** Runs tests in worker threads of one process, as a user's vitest may. */
function inThreads(name, filters) {
  return vitest(name, { filters, args: ["--pool=threads"] });
}

async function longTests() {
  const parts = [
    await vitest("long", { env: { LENET5_LONG_TESTS: "1" }, filters: ["test/long", "test/fuzz"] }),
    ...(await sanitizers()),
    await inThreads("all in threads", []),
  ];
  if (existsSync("/usr/include/torch/csrc/api/include/torch/torch.h")) parts.push(await onOtherLibtorch("/usr", []));
  const own = process.versions.node.split(".")[0];
  for (const version of NODE_VERSIONS.filter((other) => other !== own)) parts.push(await onOtherNode(version));
  return parts;
}

await main(async () => {
  const { values } = parseArgs({ options: { long: { type: "boolean" }, "also-libtorch": { type: "string" } } });
  const other = values["also-libtorch"];
  await setup();
  const parts = [await staticChecks(), await nativeTests(), await vitest("all")];
  parts.push(await inThreads("in threads", QUICK_IN_THREADS), await jest());
  if (other) parts.push(await onOtherLibtorch(other, NATIVE_TESTS));
  if (values.long) parts.push(...(await longTests()));
  const sum = (key) => parts.reduce((total, part) => total + part[key], 0);
  const skipped = sum("skipped");
  let failed = sum("failed");
  if (skipped > 0) {
    console.error(`${skipped} tests were skipped: they need the Python peers (npm run setup:python).`);
    // In CI every peer has to be there.
    if (inCI) failed += skipped;
  }
  console.log(`${sum("passed")} passed, ${failed} failed`);
  if (failed > 0) process.exitCode = 1;
});
