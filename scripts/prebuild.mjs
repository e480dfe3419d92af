// Packs what is built into prebuilds/<platform>-<arch>, stripped: both addons and the core.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setup } from "./setup.mjs";
import { main, root, secondsSince } from "./shared.mjs";

const CORE =
  process.platform === "win32"
    ? "lenet5_core.dll"
    : process.platform === "darwin"
      ? "lenet5_core.dylib"
      : "lenet5_core.so";

await main(async () => {
  await setup();
  const start = performance.now();
  const folder = join(root, "prebuilds", `${process.platform}-${process.arch}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const file of ["lenet5_fused.node", "lenet5_libtorch.node", CORE, "lenet5_core.json"]) {
    const path = join(folder, file);
    cpSync(join(root, "build", "Release", file), path);
    if (process.platform === "linux" && !file.endsWith(".json")) spawnSync("strip", ["--strip-unneeded", path]);
  }
  console.error(`Packed prebuilds/${process.platform}-${process.arch} in ${secondsSince(start)}.`);
});
