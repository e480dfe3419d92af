// The packages that only a native build needs: cmake-js and the headers of Node-API. In a clone they are development
// dependencies. Who installs the package from npm mostly never builds, so there they are fetched by the first build, in these
// versions, into the user's cache.
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { hashOf, root, runLogged } from "./shared.mjs";

/** Versions are those of package-lock.json; a test holds them together. */
export const BUILD_TOOLS = { "cmake-js": "8.0.0", "node-addon-api": "8.9.2", "node-api-headers": "1.9.0" };

/** @returns {Promise<string>} the node_modules folder that has them all */
export async function buildTools() {
  const require = createRequire(join(root, "package.json"));
  try {
    const folders = Object.keys(BUILD_TOOLS).map((name) => dirname(dirname(require.resolve(`${name}/package.json`))));
    if (folders.every((folder) => folder === folders[0])) return folders[0];
  } catch {
    // One is missing: all of them from the cache.
  }
  const { cacheRoot } = await import(pathToFileURL(join(root, "dist/esm/scripts.js")).href);
  const target = join(cacheRoot(), `build-tools-${hashOf([], [JSON.stringify(BUILD_TOOLS)]).slice(0, 12)}`);
  const modules = join(target, "node_modules");
  if (existsSync(modules)) return modules;
  console.error(`Fetching what a build needs: ${Object.keys(BUILD_TOOLS).join(", ")}`);
  mkdirSync(cacheRoot(), { recursive: true });
  // Whole or not at all, whoever else fetches them at the same time.
  const work = mkdtempSync(join(cacheRoot(), ".build-tools-"));
  try {
    writeFileSync(join(work, "package.json"), JSON.stringify({ private: true, dependencies: BUILD_TOOLS }));
    const args = ["install", "--prefix", work, "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"];
    const npm = process.platform === "win32" ? "npm.cmd" : "npm";
    await runLogged(npm, args, { log: join(work, "npm.log"), cwd: work, shell: process.platform === "win32" });
    try {
      renameSync(work, target);
    } catch (error) {
      if (!existsSync(modules)) throw error;
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return modules;
}
