// Runs vitest and counts, for scripts/test.mjs and scripts/sanitizers.mjs.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root, runLogged, StepFailed } from "./shared.mjs";

/** Tests that load the addon: what another libtorch, a sanitizer or a pool of threads could break. */
export const NATIVE_TESTS = [
  "test/native",
  "test/lenet5",
  "test/script-module",
  "test/compiled-module",
  "test/export",
  "test/bad-input.test.ts",
  "test/hostile-values.test.ts",
  "test/realms.test.ts",
  "test/two-copies.test.ts",
  "test/libtorch/one-libtorch.test.ts",
];

/**
 * @param {string} name - tells the runs of one session apart
 * @param {{ filters?: string[], env?: NodeJS.ProcessEnv, node?: string, args?: string[] }} options - `filters`: files and
 *   folders, all unless told; `node`: the interpreter; `args`: further words for vitest
 * @returns {Promise<{ passed: number, failed: number, skipped: number }>}
 */
export async function vitest(name, { filters = [], env = {}, node = process.execPath, args = [] } = {}) {
  console.error(`\nvitest: ${name}`);
  // vitest passes over a filter that matches nothing as long as another one matches.
  const absent = filters.filter((filter) => !existsSync(join(root, filter)));
  if (absent.length > 0) throw new StepFailed(`Expected tests in ${absent.join(", ")} but there are none`);
  const results = join(root, "build", `test-results-${name.replaceAll(/[^a-z0-9.]+/gi, "-")}.json`);
  rmSync(results, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${results}`];
  const script = join(root, "node_modules", "vitest", "vitest.mjs");
  const status = await runLogged(node, [script, "run", ...reporters, ...args, ...filters], {
    log: results.replace(/json$/, "log"),
    env: { ...process.env, ...env },
    show: true,
    allowFailure: true,
  });
  if (!existsSync(results)) return { passed: 0, failed: 1, skipped: 0 };
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(readFileSync(results, "utf8"));
  // A file that does not even load, or an error outside of a test, has no test to count.
  const failed = numFailedTests || (status === 0 ? 0 : 1);
  return { passed: numPassedTests, failed, skipped: numPendingTests + numTodoTests };
}
