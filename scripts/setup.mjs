// Sets everything up that a fresh clone lacks: npm's packages, the compiled TypeScript, a libtorch, the native addon.
// What is there already and current is left alone, so a second run takes a second.
//
//   node scripts/setup.mjs [--pinned]
//
// --pinned  the libtorch that `lenet5 install` fetches, even where the system has another one
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { main, root, runLogged, StepFailed, secondsSince, withLock } from "./shared.mjs";

const STEPS = 4;

function checkNode() {
  const { engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const wanted = engines.node
    .replace(/[^0-9.]/g, "")
    .split(".")
    .map(Number);
  const actual = process.versions.node.split(".").map(Number);
  const older = actual[0] < wanted[0] || (actual[0] === wanted[0] && actual[1] < wanted[1]);
  if (older) throw new StepFailed(`Expected Node.js ${wanted.join(".")} or later but this is ${process.versions.node}`);
}

/** True where every package of package-lock.json that belongs on this machine is installed in the version it names. */
function dependenciesAreCurrent() {
  const installed = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installed)) return false;
  const have = JSON.parse(readFileSync(installed, "utf8")).packages;
  const want = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  // Optional packages for other platforms are in the lock file and rightly absent here.
  return Object.entries(want).every(
    ([path, { version, optional, peer }]) =>
      path === "" || (have[path] ? have[path].version === version : optional === true || peer === true),
  );
}

async function installDependencies() {
  const npm = process.env.npm_execpath;
  const [command, args] = npm?.endsWith(".js") ? [process.execPath, [npm]] : ["npm", []];
  // No package's install script is needed, and one of them (onnxruntime-node) would download from another host.
  await runLogged(command, [...args, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
    log: join(root, "build", "npm-ci.log"),
  });
}

/**
 * @param {{ pinned?: boolean }} options
 * @returns {Promise<boolean>} whether anything had to be done
 */
export async function setup({ pinned = false } = {}) {
  checkNode();
  return withLock(join(root, "build", "setup.lock"), async () => {
    const start = performance.now();
    let worked = false;
    const step = async (number, title, body) => {
      const began = performance.now();
      const tell = () => {
        worked = true;
        console.error(`[${number}/${STEPS}] ${title} …`);
      };
      if (await body(tell)) console.error(`[${number}/${STEPS}] ${title}: done in ${secondsSince(began)}`);
    };

    await step(1, "npm packages", async (tell) => {
      if (dependenciesAreCurrent()) return false;
      tell();
      await installDependencies();
      return true;
    });

    // Imported late: what follows may use packages.
    const { compileTypeScript, typeScriptIsCurrent } = await import("./typescript.mjs");
    await step(2, "TypeScript", async (tell) => {
      if (typeScriptIsCurrent()) return false;
      tell();
      return compileTypeScript();
    });

    const libtorchModule = (name) => import(pathToFileURL(join(root, "build", "esm", "libtorch", name)).href);
    const { findLibtorch, installFolder } = await libtorchModule("find.js");
    let found;
    await step(3, "libtorch", async (tell) => {
      try {
        found = findLibtorch({ headers: true });
        if (!pinned || process.env.LIBTORCH || found.folder === installFolder()) return false;
      } catch (error) {
        // A folder that was named and does not fit is a mistake to mend, not one to work around.
        if (process.env.LIBTORCH || process.env.LENET5_USE_PYTORCH === "1") throw error;
      }
      tell();
      const { installLibtorch } = await libtorchModule("install.js");
      await installLibtorch({ log: (line) => console.error(`      ${line}`) });
      found = findLibtorch({ headers: true });
      return true;
    });

    const { buildNative } = await import("./build-native.mjs");
    await step(4, "native addon", async () => {
      const built = await buildNative();
      worked ||= built;
      return built;
    });

    const where = `libtorch ${found.libtorch.version}, ${found.folder}`;
    console.error(worked ? `Set up in ${secondsSince(start)} (${where}).` : `Everything is set up already (${where}).`);
    return worked;
  });
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values } = parseArgs({ options: { pinned: { type: "boolean" } } });
  await main(() => setup(values));
}
