// Dependencies that only some calls need, loaded by the first of them: drawing libraries and zip readers cost several times
// what LeNet-5 itself does.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { packageRoot } from "#package-root";

const requireHere = createRequire(join(packageRoot, "package.json"));

/** What gives a module, loaded at the first call. */
export function lazily<T>(name: string): () => T {
  let loaded: T | undefined;
  return () => {
    loaded ??= requireHere(carried(name) ?? name) as T;
    return loaded;
  };
}

/** The file of a package of which this one carries the part that it uses (scripts/typescript.mjs). */
function carried(name: string): string | undefined {
  const path = join(packageRoot, "dist", "carried", `${name.replaceAll("/", "-").replace(/\.js$/, "")}.cjs`);
  return existsSync(path) ? path : undefined;
}
