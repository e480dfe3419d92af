// `.ci/run` ends with its sum, whatever happens before: with programs in place of Node and npm that do as they are told.
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packageRoot } from "#package-root";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "lenet5-ci-"));
  for (const name of ["programs", "checkout/.ci"]) mkdirSync(join(folder, name), { recursive: true });
  copyFileSync(join(packageRoot, ".ci", "run"), join(folder, "checkout", ".ci", "run"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs `.ci/run` where `node` and `npm` are these shell scripts; `id` says that nobody may install packages. */
function run(node: string, npm: string): { status: number | null; last: string | undefined; environment: string } {
  for (const [name, body] of Object.entries({ node, npm, id: "echo 1000" })) {
    const path = join(folder, "programs", name);
    writeFileSync(path, `#!/bin/sh\n${body}\n`);
    chmodSync(path, 0o755);
  }
  const seen = join(folder, "environment");
  const { status, stdout } = spawnSync(join(folder, "checkout", ".ci", "run"), {
    encoding: "utf8",
    timeout: 30_000,
    env: { PATH: `${join(folder, "programs")}:/usr/bin:/bin`, SEEN: seen },
  });
  return { status, last: stdout.trimEnd().split("\n").at(-1), environment: readFileSync(seen, "utf8") };
}

const TELL = 'echo "$LENET5_DATA_DIR $CI" > "$SEEN"';
const npm = (quickstart: string, tests: string) =>
  `case "$*" in *quickstart*) ${quickstart};; *test*) ${tests};; *) exit 64;; esac`;

test.each([
  ["all is well", TELL, npm("true", 'echo "7 passed, 0 failed"'), 0, "8 passed, 0 failed"],
  ["tests fail", TELL, npm("true", 'echo "7 passed, 2 failed"; exit 1'), 1, "8 passed, 2 failed"],
  ["the quick start fails", TELL, npm("false", 'echo "7 passed, 0 failed"'), 1, "7 passed, 1 failed"],
  ["set-up fails", `${TELL}; exit 1`, npm("true", "true"), 1, "0 passed, 1 failed"],
  ["the tests never come to their sum", TELL, npm("true", "echo crashed; exit 139"), 1, "1 passed, 1 failed"],
])("the last line is the sum where %s", (_, node, npmScript, status, last) => {
  expect(run(node, npmScript)).toMatchObject({ status, last });
});

test("LENET5_DATA_DIR is set only where the data lie beside the checkout", () => {
  const well = npm("true", 'echo "1 passed, 0 failed"');
  expect(run(TELL, well).environment).toBe(" true\n");
  mkdirSync(join(folder, "shared", "data"), { recursive: true });
  expect(run(TELL, well).environment).toMatch(/checkout\/\.\.\/shared\/data true\n$/);
});
