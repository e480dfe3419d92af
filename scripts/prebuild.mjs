// Packs the built addon into prebuilds/<platform>-<arch>, the way node-gyp-build looks for it. cmake-js builds; prebuildify
// strips, names and lays out, and is given a copy, because it moves what it packs.
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import prebuildify from "prebuildify";
import { setup } from "./setup.mjs";
import { main, root, secondsSince } from "./shared.mjs";

await main(async () => {
  await setup();
  const start = performance.now();
  const stage = join(root, "build", "prebuild");
  const artifacts = join(stage, "artifacts");
  rmSync(stage, { recursive: true, force: true });
  rmSync(join(root, "prebuilds", `${process.platform}-${process.arch}`), { recursive: true, force: true });
  mkdirSync(artifacts, { recursive: true });
  cpSync(join(root, "build", "Release"), join(stage, "build", "Release"), { recursive: true });
  cpSync(join(root, "build", "Release", "lenet5_core.json"), join(artifacts, "lenet5_core.json"));
  await promisify(prebuildify)({
    napi: true,
    strip: true,
    tagLibc: process.platform === "linux",
    name: "lenet5-libtorch",
    cwd: stage,
    out: root,
    artifacts,
    // Everything is built already; prebuildify wants to call something.
    nodeGyp: process.platform === "win32" ? "rem" : "true",
    quiet: true,
  });
  console.error(`Packed prebuilds/${process.platform}-${process.arch} in ${secondsSince(start)}.`);
});
