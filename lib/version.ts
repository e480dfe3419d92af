// The package's own version, as its package.json has it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "#package-root";

/** For example `0.1.0`. */
export const packageVersion: string = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")).version;
