// Ctrl-C while the addon is built, in a copy of the package whose CMake never comes to an end.
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { runNode, temporaryFolder } from "./lenet5.js";

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test("Ctrl-C in install --build ends with status 130 and leaves no compiler running", async () => {
  const folder = temporaryFolder();
  const copy = join(folder, "package");
  mkdirSync(copy);
  for (const name of ["package.json", "package-root.mjs", "package-root.cjs", "dist", "scripts", "cmake", "native"]) {
    cpSync(join(packageRoot, name), join(copy, name), { recursive: true });
  }
  cpSync(join(packageRoot, "CMakeLists.txt"), join(copy, "CMakeLists.txt"));
  symlinkSync(join(packageRoot, "node_modules"), join(copy, "node_modules"));
  const started = join(folder, "pid");
  const cmake = join(folder, "bin", "cmake");
  mkdirSync(join(folder, "bin"));
  // Its first call asks for the version, the next is the build.
  writeFileSync(
    cmake,
    `#!/bin/sh\n[ "$1" = --version ] && { echo "cmake version 3.25.1"; exit; }\necho $$ > "${started}"\nexec sleep 600\n`,
  );
  chmodSync(cmake, 0o755);
  let interrupted = false;
  const run = await runNode([join(copy, "dist", "esm", "cli", "main.js"), "install", "--build", "--json"], {
    cwd: copy,
    env: { PATH: `${join(folder, "bin")}${delimiter}${process.env.PATH}`, LENET5_BUILD_DIR: undefined },
    onStderr: (text, child) => {
      if (interrupted || !text.includes("Building the native addon")) return;
      interrupted = true;
      const timer = setInterval(() => {
        if (!existsSync(started) || readFileSync(started, "utf8") === "") return;
        clearInterval(timer);
        child.kill("SIGINT");
      }, 50);
    },
  });
  expect(run.stderr).toMatch(/\(LENET5_ABORTED\)\n$/);
  expect(run).toMatchObject({ status: 130, signal: null });
  const pid = Number(readFileSync(started, "utf8"));
  await expect.poll(() => isAlive(pid), { timeout: 5_000 }).toBe(false);
});
