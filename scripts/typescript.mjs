// Compiles lib/ to dist/esm and dist/cjs, if it changed since the last time.
//
// Problem: opening some sixty files takes Node several times as long as running what is in them. Resolution: what an
// import of the package gets is one file a format, lenet5-libtorch.js, beside the files of the modules themselves, which
// the command line picks from.
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

const BUNDLE = "lenet5-libtorch.js";

/** True where dist/ is what the sources compile to. */
export function typeScriptIsCurrent() {
  return stampIs(stamp, currentHash()) && existsSync(join(root, "dist", "cjs", BUNDLE));
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
    await Promise.all([...formats.map(bundle), ...CARRIED.map(carry)]);
    if (statuses.every((status) => status === 0)) writeStamp(stamp, hash);
    return true;
  });
}

/** Packages of which a fraction is used, so that their users need not have all of them: protobufjs installs 4 MB. */
const CARRIED = [{ module: "protobufjs/light.js", packages: ["protobufjs", "long"] }];

/** Joins the part of a package that is used into dist/carried, with the licences of what is in it. */
async function carry({ module, packages }) {
  const { build } = await import("esbuild");
  const licences = packages.map((name) => {
    const folder = join(root, "node_modules", name);
    const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    return `${name} ${version}\n\n${readFileSync(join(folder, "LICENSE"), "utf8").replaceAll("*/", "* /")}`;
  });
  await build({
    stdin: { contents: `module.exports = require(${JSON.stringify(module)});`, resolveDir: root },
    outfile: join(root, "dist", "carried", `${module.replaceAll("/", "-").replace(/\.js$/, "")}.cjs`),
    bundle: true,
    minify: true,
    format: "cjs",
    platform: "node",
    target: "node20.17",
    banner: { js: `/*!\n${licences.join("\n\n")}\n*/` },
    logLevel: "warning",
  });
}

const packageRootOfCommonJs = {
  name: "package-root",
  setup: (build) =>
    build.onResolve({ filter: /package-root\.cjs$/ }, () => ({ path: "../../package-root.cjs", external: true })),
};

/** Joins the modules behind a format's index.js. What comes from elsewhere stays outside. */
async function bundle(format) {
  const { build } = await import("esbuild");
  const folder = join(root, "dist", format);
  await build({
    entryPoints: [join(folder, "index.js")],
    outfile: join(folder, BUNDLE),
    bundle: true,
    format,
    platform: "node",
    target: "node20.17",
    packages: "external",
    external: ["#package-root"],
    plugins: [packageRootOfCommonJs],
    logLevel: "warning",
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
