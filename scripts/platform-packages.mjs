// Packs what is published: a package for each platform in prebuilds/ (`@lenet5-libtorch/linux-x64` …), and the main package,
// which names them all as optional dependencies, so that npm installs the one that fits. They are named only in what is
// packed: a clone builds its own addon, and `npm ci` there must not look for them.
//
//   node scripts/platform-packages.mjs [--output DIR] [--prebuilds DIR]
//
// --output  where the .tgz files go, build/packages by default; their paths are printed, the main package's last
// --prebuilds  what scripts/prebuild.mjs made, prebuilds/ by default

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { main, root, StepFailed } from "./shared.mjs";

const SCOPE = "@lenet5-libtorch";

/**
 * @param {{ output?: string, prebuilds?: string }} options
 * @returns {{ platforms: string[], main: string }} paths of the packages
 */
export function packPackages({ output = join(root, "build", "packages"), prebuilds = join(root, "prebuilds") } = {}) {
  const platforms = existsSync(prebuilds) ? readdirSync(prebuilds).sort() : [];
  if (platforms.length === 0) throw new StepFailed(`Expected prebuilt addons in ${prebuilds}: run "npm run prebuild"`);
  const own = { ...JSON.parse(readFileSync(join(root, "package.json"), "utf8")), ...hostedRepository() };
  rmSync(output, { recursive: true, force: true });
  const staged = join(output, "staged");
  const packed = platforms.map((platform) => {
    const folder = join(staged, platform);
    cpSync(join(prebuilds, platform), folder, { recursive: true });
    writeJson(join(folder, "package.json"), platformPackage(platform, own, readdirSync(folder)));
    cpSync(join(root, "LICENSE"), join(folder, "LICENSE"));
    writeFileSync(
      join(folder, "README.md"),
      `The prebuilt addon of [${own.name}](https://www.npmjs.com/package/${own.name}) for ${platform}. npm installs it with that package.\n`,
    );
    return pack(folder, output);
  });
  const folder = join(staged, own.name);
  for (const path of publishedFiles()) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    cpSync(join(root, path), join(folder, path));
  }
  const { devDependencies: _dev, scripts: _scripts, ...description } = own;
  const optionalDependencies = Object.fromEntries(platforms.map((name) => [`${SCOPE}/${name}`, own.version]));
  writeJson(join(folder, "package.json"), { ...description, optionalDependencies });
  const result = { platforms: packed, main: pack(folder, output) };
  rmSync(staged, { recursive: true });
  return result;
}

/** Where a workflow runs: the registry refuses provenance of a package that names another repository, or none. */
function hostedRepository({ GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: name } = process.env) {
  return server && name ? { repository: { type: "git", url: `git+${server}/${name}.git` } } : {};
}

function platformPackage(platform, { version, license, engines, repository, author }, files) {
  const [os, cpu, musl] = platform.split("-");
  return {
    name: `${SCOPE}/${platform}`,
    version,
    description: `The prebuilt addon of lenet5-libtorch for ${platform}`,
    license,
    ...(author && { author }),
    ...(repository && { repository }),
    engines,
    os: [os],
    cpu: [cpu],
    ...(os === "linux" && { libc: [musl ? "musl" : "glibc"] }),
    files,
    preferUnplugged: true,
  };
}

/** What npm would publish of this folder. */
function publishedFiles() {
  const [{ files }] = JSON.parse(npm(["pack", "--dry-run", "--json", "--ignore-scripts"], root));
  return files.map(({ path }) => path);
}

function pack(folder, output) {
  const words = ["pack", "--json", "--ignore-scripts", "--pack-destination", output];
  const [{ filename }] = JSON.parse(npm(words, folder));
  // Older versions of npm name a scoped package's file with its slash.
  return join(output, filename.replace(/^@/, "").replace("/", "-"));
}

function npm(words, cwd) {
  const options = { cwd, encoding: "utf8", maxBuffer: 2 ** 26, shell: process.platform === "win32" };
  const { status, stdout, stderr } = spawnSync("npm", words, options);
  if (status !== 0) throw new StepFailed(`${stderr}\n\`npm ${words.join(" ")}\` failed (${status})`);
  return stdout;
}

function writeJson(path, value) {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
}

if (process.argv[1] && resolve(process.argv[1]) === resolve(root, "scripts/platform-packages.mjs")) {
  await main(async () => {
    const { values } = parseArgs({ options: { output: { type: "string" }, prebuilds: { type: "string" } } });
    const { platforms, main: own } = packPackages({
      ...(values.output && { output: resolve(values.output) }),
      ...(values.prebuilds && { prebuilds: resolve(values.prebuilds) }),
    });
    for (const path of [...platforms, own]) console.log(path);
  });
}
