// C++: the format (clang-format, from npm) and the linter (cppcheck, from the system). Where cppcheck is absent only the
// format is checked, except in CI, where it has to be there.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { filesBelow, root } from "./shared.mjs";

const sources = filesBelow(join(root, "native"), (file) => /\.(cpp|h)$/.test(file));

const format = spawnSync(
  process.execPath,
  [join(root, "node_modules", "clang-format-node", "build", "cli.js"), "--dry-run", "-Werror", ...sources],
  { stdio: "inherit" },
);
let failed = format.status !== 0;

const present = spawnSync("cppcheck", ["--version"], { encoding: "utf8" });
if (present.status === 0) {
  const checks = ["--enable=warning,performance", "--inline-suppr", "--std=c++20", "--language=c++"];
  // Macros of Node-API and of libtorch are unknown to it, by design: it needs neither's headers.
  const quiet = ["--quiet", "--suppress=unknownMacro", "--suppress=missingInclude", "--error-exitcode=1"];
  // It takes a format string in a variable for an empty one, and all architectures' branches for one class.
  quiet.push("--suppress=wrongPrintfScanfArgNum:*check.h", "--suppress=uninitMemberVar:*subnormals.h");
  const own = sources.filter(
    (file) => file.endsWith(".cpp") && (process.platform === "win32" || !file.includes("windows")),
  );
  const lint = spawnSync("cppcheck", [...checks, ...quiet, "-j2", "-I", join(root, "native"), ...own], {
    stdio: "inherit",
  });
  failed ||= lint.status !== 0;
} else if (process.env.CI === "true") {
  console.error("Expected cppcheck in CI (Debian: apt-get install cppcheck)");
  failed = true;
} else {
  console.error("cppcheck is not installed: only the format was checked (Debian: apt-get install cppcheck)");
}
process.exitCode = failed ? 1 : 0;
