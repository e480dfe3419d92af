// Dependencies that only some calls need, loaded by the first of them: drawing libraries and zip readers cost several times
// what LeNet-5 itself does.
import { createRequire } from "node:module";
import { join } from "node:path";
import { packageRoot } from "#package-root";

const requireHere = createRequire(join(packageRoot, "package.json"));

/** What gives a module, loaded at the first call. */
export function lazily<T>(name: string): () => T {
  let loaded: T | undefined;
  return () => {
    loaded ??= requireHere(name) as T;
    return loaded;
  };
}
