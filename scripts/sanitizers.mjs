// Runs the tests on builds that watch themselves: AddressSanitizer and UndefinedBehaviorSanitizer over kernels, core and
// addon, ThreadSanitizer over the thread pool and the trainers. GCC on Linux.
//
//   node scripts/sanitizers.mjs [native] [addon]
//
// native  the C++ tests, which need neither libtorch nor Node, under both sets of sanitizers
// addon   the addon under address,undefined, and every test that loads it
//
// It builds beside what `npm run setup` has built, which has to have run once.
//
// Node and libtorch themselves are not sanitized, so the addon's build runs with the sanitizers' libraries loaded first.
// ThreadSanitizer does without Node and libtorch: it has to see every thread's every lock, and would take their own for
// races.
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildNative } from "./build-native.mjs";
import { nativeTests } from "./native-tests.mjs";
import { main, root, StepFailed } from "./shared.mjs";
import { compileTypeScript } from "./typescript.mjs";
import { NATIVE_TESTS, vitest } from "./vitest.mjs";

const MEMORY = "address,undefined";
/** This one runs CMake and the compiler, which the preloaded libraries are not meant for; the addon it only looks at. */
const RUNS_COMPILERS = "test/libtorch/one-libtorch.test.ts";
const OPTIONS = {
  // detect_leaks: Node never frees what it holds at exit, and libtorch's registries are meant to stay.
  // allocator_may_return_null: tests ask for tensors of terabytes, which have to end in an error and not in the process.
  ASAN_OPTIONS: [
    "detect_leaks=0",
    "allocator_may_return_null=1",
    "abort_on_error=1",
    "strict_string_checks=1",
    "detect_stack_use_after_return=1",
  ].join(":"),
  UBSAN_OPTIONS: "print_stacktrace=1",
  TSAN_OPTIONS: "halt_on_error=1:second_deadlock_stack=1",
};

/** The path of one of the compiler's libraries. */
function library(name) {
  const { status, stdout } = spawnSync(process.env.CXX || "c++", [`-print-file-name=${name}`], { encoding: "utf8" });
  const path = stdout?.trim();
  if (status !== 0 || !path?.startsWith("/")) throw new StepFailed(`Expected GCC with ${name} for the sanitizers`);
  return path;
}

async function addonTests() {
  const output = join(root, "build", "sanitizers");
  // The C++ library too: AddressSanitizer looks for its throwing function when it is loaded, before the addon brings one.
  const LD_PRELOAD = ["libasan.so", "libubsan.so", "libstdc++.so.6"].map(library).join(":");
  const env = { ...OPTIONS, LD_PRELOAD };
  await compileTypeScript();
  await buildNative({ output, definitions: { LENET5_SANITIZE: MEMORY }, env });
  return vitest(`under ${MEMORY}`, {
    filters: [...NATIVE_TESTS.filter((test) => test !== RUNS_COMPILERS), "test/distributed"],
    env: { ...env, LENET5_BUILD_DIR: output },
    args: ["--testTimeout=600000", "--hookTimeout=600000"],
  });
}

const PARTS = {
  native: async () => [
    await nativeTests({ sanitize: MEMORY, env: OPTIONS }),
    await nativeTests({ sanitize: "thread", env: OPTIONS }),
  ],
  addon: async () => [await addonTests()],
};

/**
 * @param {string[]} parts - names of {@link PARTS}, all unless told
 * @returns {Promise<{ passed: number, failed: number, skipped: number }[]>}
 */
export async function sanitizers(parts = Object.keys(PARTS)) {
  if (process.platform !== "linux") throw new StepFailed("Expected Linux for the sanitizers");
  const counts = [];
  for (const part of parts) {
    if (!(part in PARTS)) throw new StepFailed(`Expected ${Object.keys(PARTS).join(" or ")} but received ${part}`);
    counts.push(...(await PARTS[part]()));
  }
  return counts;
}

if (process.argv[1] && resolve(process.argv[1]) === resolve(root, "scripts/sanitizers.mjs")) {
  await main(async () => {
    const { positionals } = parseArgs({ allowPositionals: true });
    const counts = await sanitizers(positionals.length > 0 ? positionals : undefined);
    const sum = (key) => counts.reduce((total, part) => total + part[key], 0);
    console.log(`${sum("passed")} passed, ${sum("failed")} failed`);
    if (sum("failed") > 0) process.exitCode = 1;
  });
}
