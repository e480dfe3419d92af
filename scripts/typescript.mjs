// Compiles lib/ to dist/esm and dist/cjs, if it changed since the last time.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { filesBelow, hashOf, root, runLogged, StepFailed, stampIs, withLock, writeStamp } from "./shared.mjs";

const stamp = join(root, "build", "typescript.stamp");

function currentHash() {
  const sources = filesBelow(join(root, "lib"), (file) => /\.(ts|json|proto)$/.test(file));
  const settings = ["tsconfig.json", "tsconfig.esm.json", "tsconfig.cjs.json", "package-lock.json"].map((name) =>
    join(root, name),
  );
  return hashOf([...sources, ...settings]);
}

/** True where dist/ is what the sources compile to. */
export function typeScriptIsCurrent() {
  return stampIs(stamp, currentHash()) && existsSync(join(root, "dist", "cjs", "package.json"));
}

/**
 * @param {{ tolerant?: boolean }} options - `tolerant`: type errors do not stop the caller (the compiler writes its
 * output all the same, and the type check of `npm test` reports them)
 * @returns {Promise<boolean>} whether anything had to be compiled
 */
export async function compileTypeScript({ tolerant = false } = {}) {
  if (!existsSync(join(root, "lib", "index.ts"))) return false; // an installed package: dist/ came with it
  if (typeScriptIsCurrent()) return false;
  return withLock(join(root, "build", "typescript.lock"), async () => {
    const hash = currentHash();
    if (stampIs(stamp, hash)) return false;
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
    if (!existsSync(tsc)) throw new StepFailed("Expected TypeScript in node_modules: run `npm run setup`");
    const formats = ["esm", "cjs"];
    const statuses = await Promise.all(
      formats.map((format) => {
        const log = join(root, "build", `typescript-${format}.log`);
        // Its incremental state knows nothing of a dist/ that was removed.
        const forced = existsSync(join(root, "dist", format)) ? [] : ["--force"];
        return runLogged(process.execPath, [tsc, "-b", ...forced, `tsconfig.${format}.json`], {
          log,
          allowFailure: tolerant,
        });
      }),
    );
    finishCommonJs();
    if (statuses.every((status) => status === 0)) writeStamp(stamp, hash);
    return true;
  });
}

/**
 * Makes dist/cjs CommonJS in a package whose type is "module". A nested package.json takes the root's "imports" away, and
 * one of its own could not point above its folder: the one import of that kind becomes a relative one.
 */
function finishCommonJs() {
  const folder = join(root, "dist", "cjs");
  writeFileSync(join(folder, "package.json"), `${JSON.stringify({ type: "commonjs" }, null, 2)}\n`);
  for (const file of filesBelow(folder, (path) => path.endsWith(".js"))) {
    const text = readFileSync(file, "utf8");
    if (!text.includes('require("#package-root")')) continue;
    const path = relative(dirname(file), join(root, "package-root.cjs")).replaceAll("\\", "/");
    writeFileSync(file, text.replaceAll('require("#package-root")', `require("${path}")`));
  }
}
