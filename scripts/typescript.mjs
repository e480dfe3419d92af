// Compiles lib/ to build/esm, and joins that into dist/, which is what is published, if it changed since the last time.
//
// Problem: opening some sixty files takes Node several times as long as running what is in them, and on a disk each costs 4 KB.
// Resolution: each entry of the package is one file a format, and what the first one is made of is one more, core.js, from
// which the others take what they have in common. Their declarations are joined in the same way.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { filesBelow, hashOf, root, runLogged, StepFailed, stampIs, withLock, writeStamp } from "./shared.mjs";

/**
 * The entries of the package, each a module of lib/. The first one's own modules become core.js. `types`: somebody imports it
 * by name, so it has declarations.
 */
const ENTRIES = [
  { name: "lenet5-libtorch", module: "index", formats: ["esm", "cjs"], types: true },
  { name: "server", module: "server", formats: ["esm", "cjs"], types: true },
  { name: "tensorboard", module: "tensorboard", formats: ["esm", "cjs"], types: true },
  { name: "cli/main", module: "cli/main", formats: ["esm"] },
  // What its threads run.
  { name: "cli/decoding-worker", module: "batch/decoding-worker", formats: ["esm"] },
  { name: "scripts", module: "scripts", formats: ["esm"] },
];

const dist = join(root, "dist");
/** Where the compiler puts each module by itself: for the development scripts, and to be joined. */
const modules = join(root, "build", "esm");
const stamp = join(root, "build", "typescript.stamp");

function currentHash() {
  const sources = filesBelow(join(root, "lib"), (file) => /\.(ts|json|html|css|svg)$/.test(file));
  const settings = ["tsconfig.json", "tsconfig.esm.json", "package-lock.json", "scripts/typescript.mjs"].map((name) =>
    join(root, name),
  );
  return hashOf([...sources, ...settings]);
}

/** True where dist/ is what the sources compile to. */
export function typeScriptIsCurrent() {
  return stampIs(stamp, currentHash()) && existsSync(join(dist, "cjs", `${ENTRIES[0].name}.js`));
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
    for (const name of ["typescript", "esbuild", "rollup", "rollup-plugin-dts"]) {
      if (existsSync(join(root, "node_modules", name))) continue;
      throw new StepFailed(`Expected ${name} in node_modules: run \`npm run setup\`, or \`npm ci --ignore-scripts\``);
    }
    // Its incremental state knows nothing of a folder that was removed.
    const forced = existsSync(modules) ? [] : ["--force"];
    const status = await runLogged(process.execPath, [tsc, "-b", ...forced, "tsconfig.esm.json"], {
      log: join(root, "build", "typescript.log"),
      allowFailure: tolerant,
    });
    const files = (
      await Promise.all([bundle("esm"), bundle("cjs"), declarations(), page(), ...CARRIED.map(carry)])
    ).flat();
    replace(new Map(files));
    if (status === 0) writeStamp(stamp, hash);
    return true;
  });
}

/**
 * Packages of which a fraction is used, so that their users need not have all of them: protobufjs installs 4 MB, the others
 * 900 KB in nineteen packages. `lazily` opens them. hyparquet-writer is an ES module alone, which is mended by the way.
 */
const CARRIED = [
  "protobufjs/light.js",
  "commander",
  "cli-progress",
  "cli-table3",
  "hyparquet-writer",
  "proper-lockfile",
  "yazl",
];

/** What browsers get of the server's page, in one file: its modules joined for those of the last years, and what lies beside them. */
async function page() {
  const { build } = await import("esbuild");
  const folder = join(root, "lib", "server", "page");
  const options = { write: false, bundle: true, minify: true, charset: "utf8", logLevel: "warning" };
  const target = ["chrome111", "firefox121", "safari16.4"];
  const built = await Promise.all(
    ["page.ts", "page.css"].map((name) =>
      build({ ...options, target, format: "esm", entryPoints: [join(folder, name)] }),
    ),
  );
  const [script, styles] = built.map(({ outputFiles }) => outputFiles[0].text);
  const asTheyAre = ["index.html", "icon.svg"].map((name) => [name, readFileSync(join(folder, name), "utf8")]);
  const texts = Object.fromEntries([["page.js", script], ["page.css", styles], ...asTheyAre]);
  return [["page.json", JSON.stringify(texts)]];
}

/**
 * Joins the part of a package that is used into dist/carried, with the licences of what is in it.
 * @returns {Promise<[path: string, text: string][]>} in dist/; so below
 */
async function carry(module) {
  const { build } = await import("esbuild");
  const { outputFiles, metafile } = await build({
    stdin: { contents: `module.exports = require(${JSON.stringify(module)});`, resolveDir: root },
    absWorkingDir: root,
    outfile: "carried.cjs",
    write: false,
    bundle: true,
    minify: true,
    format: "cjs",
    platform: "node",
    target: "node20.17",
    metafile: true,
    logLevel: "warning",
  });
  const packages = new Set(
    Object.keys(metafile.inputs).flatMap((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []),
  );
  const licences = [...packages].sort().map(licenceOf).join("\n\n");
  return [
    [`carried/${module.replaceAll("/", "-").replace(/\.js$/, "")}.cjs`, `/*!\n${licences}\n*/\n${outputFiles[0].text}`],
  ];
}

/** A package's name, version and licence, as a comment may hold it. */
function licenceOf(path) {
  const folder = join(root, path);
  const { name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (file === undefined) throw new StepFailed(`Expected the licence of ${name} in ${folder}`);
  return `${name} ${version}\n\n${readFileSync(join(folder, file), "utf8").replaceAll("*/", "* /")}`;
}

/** What comes from elsewhere stays outside. */
const isExternal = (id) => !id.startsWith(".") && !isAbsolute(id);

function inputs(entries) {
  return Object.fromEntries(entries.map(({ name, module }) => [name, join(modules, `${module}.js`)]));
}

/** CommonJS has none, and what rollup would put in its place is not what the rest of lib/ relies on. */
const withoutImportMeta = {
  name: "without-import-meta",
  resolveImportMeta: (_property, { moduleId }) => {
    throw new StepFailed(`Expected no import.meta in lib/ but it is in ${moduleId}`);
  },
};

/** Joins the modules behind a format's entries. */
async function bundle(format) {
  const { rollup } = await import("rollup");
  const { transform } = await import("esbuild");
  const input = inputs(ENTRIES.filter(({ formats }) => formats.includes(format)));
  const build = await rollup({ input, external: isExternal, plugins: [withoutImportMeta], onwarn: refuse });
  const { output } = await build.generate({
    format,
    exports: "named",
    esModule: true,
    chunkFileNames: "[name].js",
    manualChunks: coreOf(input[ENTRIES[0].name]),
    onlyExplicitManualChunks: true,
    hoistTransitiveImports: false,
    // A package.json in dist/cjs takes the root's "imports" away, and one of its own could not point above its folder.
    ...(format === "cjs" && { paths: { "#package-root": "../../package-root.cjs" } }),
    // Its comments are in the declarations and in lib/.
    plugins: [
      {
        name: "without-comments",
        renderChunk: async (code) =>
          (await transform(code, { target: "node20.17", legalComments: "none", charset: "utf8" })).code,
      },
    ],
  });
  const files = output.map(({ fileName, code }) => [`${format}/${fileName}`, code]);
  return format === "esm" ? files : [...files, ["cjs/package.json", '{\n  "type": "commonjs"\n}\n']];
}

/** Says of a module whether it belongs to the first entry. */
function coreOf(entry) {
  let core;
  return (id, { getModuleInfo }) => {
    if (core === undefined) {
      core = new Set([entry]);
      for (const module of core) for (const next of getModuleInfo(module)?.importedIds ?? []) core.add(next);
    }
    return core.has(id) ? "core" : undefined;
  };
}

/** Joins what the compiler declared of the entries that are imported by name; it is the same for both formats. */
async function declarations() {
  const { rollup } = await import("rollup");
  const { dts } = await import("rollup-plugin-dts");
  const input = Object.fromEntries(
    ENTRIES.filter(({ types }) => types).map(({ name, module }) => [name, join(modules, `${module}.d.ts`)]),
  );
  const build = await rollup({ input, external: isExternal, plugins: [dts()], onwarn: refuse });
  const { output } = await build.generate({
    format: "esm",
    chunkFileNames: ({ name }) => `${name.replace(/\.d$/, "")}.d.ts`,
    entryFileNames: "[name].d.ts",
    manualChunks: coreOf(input[ENTRIES[0].name]),
    onlyExplicitManualChunks: true,
  });
  return output.flatMap(({ fileName, code }) =>
    ["esm", "cjs"].map((format) => [`${format}/${fileName}`, withComments(code)]),
  );
}

/** Gives the names in which joined declarations put a namespace's members (`idx_encode: typeof encode`) the members' comments. */
function withComments(code) {
  const commentOf = (name) => {
    const declaration = `(?:declare )?(?:function|const|class|interface|type) ${name.replaceAll("$", "\\$")}(?![\\w$])`;
    return new RegExp(`^(/\\*\\*(?:(?!\\*/)[^])*\\*/)\n${declaration}`, "m").exec(code)?.[1];
  };
  const alias = /^(?:declare const \w+_\w+: typeof|type \w+_\w+(?:<.*>)? =) ([\w$]+).*;$/gm;
  return code.replaceAll(alias, (line, name) => [commentOf(name), line].filter(Boolean).join("\n"));
}

// The compiler has looked at cycles of types, which are none at run time; `this` is a test in helpers of its own.
const HARMLESS = ["CIRCULAR_DEPENDENCY", "THIS_IS_UNDEFINED"];

function refuse({ code, message }) {
  if (!HARMLESS.includes(code)) throw new StepFailed(`Cannot join dist/: ${message}`);
}

/** Makes dist/ what these files are. */
function replace(files) {
  for (const [path, text] of files) {
    mkdirSync(dirname(join(dist, path)), { recursive: true });
    writeFileSync(join(dist, path), text);
  }
  const wanted = new Set([...files.keys()].map((path) => join(dist, path)));
  for (const file of filesBelow(dist)) if (!wanted.has(file)) rmSync(file);
}
