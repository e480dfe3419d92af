// Sets up and runs every test: the static checks, then vitest. The last line adds them all up.
//
//   node scripts/test.mjs [--long]
//
// --long  also runs test/long, which takes many minutes
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setup } from "./setup.mjs";
import { main, root, runLogged, secondsSince } from "./shared.mjs";

const inCI = process.env.CI === "true";
const tool = (...path) => [process.execPath, join(root, "node_modules", ...path)];

/** Name and command line of every static check; each counts as one test. */
const STATIC_CHECKS = [
  ["types", [...tool("typescript", "bin", "tsc"), "--project", root]],
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

async function vitest(long) {
  const results = join(root, "build", "test-results.json");
  rmSync(results, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${results}`];
  const [command, script] = tool("vitest", "vitest.mjs");
  const status = await runLogged(command, [script, "run", ...reporters], {
    log: join(root, "build", "vitest.log"),
    env: { ...process.env, ...(long && { LENET5_LONG_TESTS: "1" }) },
    show: true,
    allowFailure: true,
  });
  if (!existsSync(results)) return { passed: 0, failed: 1, skipped: 0 };
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(readFileSync(results, "utf8"));
  // A file that does not even load, or an error outside of a test, has no test to count.
  const failed = numFailedTests || (status === 0 ? 0 : 1);
  return { passed: numPassedTests, failed, skipped: numPendingTests + numTodoTests };
}

await main(async () => {
  const { values } = parseArgs({ options: { long: { type: "boolean" } } });
  await setup();
  const parts = [await staticChecks(), await vitest(values.long === true)];
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
