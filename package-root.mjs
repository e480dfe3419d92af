// The one place that knows where the package lies, for the ES modules; package-root.cjs is its CommonJS twin.
import { fileURLToPath } from "node:url";

export const packageRoot = fileURLToPath(new URL(".", import.meta.url));
