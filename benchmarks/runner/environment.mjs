// What a figure depends on: the machine, the versions, the settings of the run.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { root } from "./paths.mjs";

function commit() {
  try {
    const git = (...args) =>
      execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    const changed = git("status", "--porcelain", "--untracked-files=no", "--", "lib", "native").trim() !== "";
    return git("rev-parse", "--short", "HEAD").trim() + (changed ? " with changes" : "");
  } catch {
    return null;
  }
}

function operatingSystem() {
  try {
    return /^PRETTY_NAME="?([^"\n]+)/m.exec(readFileSync("/etc/os-release", "utf8"))[1];
  } catch {
    return os.type();
  }
}

export function describeEnvironment(settings) {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  return {
    date: new Date().toISOString(),
    package: version,
    commit: commit(),
    processor: os.cpus()[0]?.model.trim() ?? os.arch(),
    cores: os.cpus().length,
    memoryGB: Math.round(os.totalmem() / 2 ** 30),
    os: `${operatingSystem()}, ${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
    loadAverageBefore: Number(os.loadavg()[0].toFixed(2)),
    ...settings,
    versions: {},
  };
}
