// Builds and runs the tests that are C++ alone (native/test): no libtorch, no Node.
//
//   node scripts/native-tests.mjs [--sanitize address,undefined|thread]
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { filesBelow, main, root, runLogged, StepFailed, secondsSince } from "./shared.mjs";

const has = (command) => spawnSync(command, ["--version"]).status === 0;

/**
 * Every executable is one test.
 *
 * @param {{ sanitize?: string, env?: NodeJS.ProcessEnv }} options - `sanitize`: a value for LENET5_SANITIZE
 * @returns {Promise<{ passed: number, failed: number, skipped: number }>}
 */
export async function nativeTests({ sanitize = "", env = {} } = {}) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const output = join(root, "build", ["native-tests", ...sanitize.split(",")].filter(Boolean).join("-"));
  const log = (name) => ({ log: join(output, `${name}.log`) });
  const generator = has("ninja") ? ["-G", "Ninja"] : [];
  const source = join(root, "native", "test");
  await runLogged("cmake", [...generator, "-S", source, "-B", output, `-DLENET5_SANITIZE=${sanitize}`], log("cmake"));
  const jobs = process.env.LENET5_BUILD_JOBS || String(availableParallelism());
  await runLogged("cmake", ["--build", output, "--parallel", jobs], log("build"));
  const programs = filesBelow(join(output, "bin"), (path) => /_test(\.exe)?$/.test(path));
  if (programs.length === 0) throw new StepFailed(`Expected programs that end in _test in ${output}/bin`);
  for (const program of programs) {
    const start = performance.now();
    const run = { ...log(basename(program)), env: { ...process.env, ...env }, allowFailure: true };
    const status = await runLogged(program, [], run);
    const name = `C++: ${basename(program)}${sanitize && ` with -fsanitize=${sanitize}`}`;
    console.error(`${status === 0 ? "✓" : "✗"} ${name} (${secondsSince(start)})`);
    counts[status === 0 ? "passed" : "failed"]++;
    if (status === 0) continue;
    const lines = readFileSync(run.log, "utf8").split("\n");
    console.error(lines.filter((line) => !line.startsWith("ok ")).join("\n"));
  }
  return counts;
}

if (process.argv[1] && resolve(process.argv[1]) === resolve(root, "scripts/native-tests.mjs")) {
  await main(async () => {
    const { values } = parseArgs({ options: { sanitize: { type: "string" } } });
    const { failed } = await nativeTests(values);
    if (failed > 0) process.exitCode = 1;
  });
}
