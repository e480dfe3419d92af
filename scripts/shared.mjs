// What the scripts share. Node's own modules only: setup.mjs runs before node_modules exists.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createWriteStream, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { finished } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** The package's root folder. */
export const root = fileURLToPath(new URL("..", import.meta.url));

/** A step that failed and has said why: the script ends without a stack trace. */
export class StepFailed extends Error {}

/** Runs a script's body; ends the process with 1 and a plain message where a step failed. */
export async function main(body) {
  try {
    await body();
  } catch (error) {
    console.error(error instanceof StepFailed || String(error?.code).startsWith("LENET5_") ? error.message : error);
    process.exitCode = 1;
  }
}

/** Seconds since a moment of `performance.now()`, for a progress line. */
export function secondsSince(start) {
  return `${((performance.now() - start) / 1000).toFixed(1)} s`;
}

/**
 * Runs a program, its output kept in a log file; shows the log's end where it fails.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{ log: string, cwd?: string, env?: NodeJS.ProcessEnv, show?: boolean, allowFailure?: boolean, shell?: boolean }} options -
 * `show` also prints the output as it comes
 * @returns {Promise<number>} exit status
 */
export async function runLogged(
  command,
  args,
  { log, cwd = root, env = process.env, show = false, allowFailure = false, shell = false },
) {
  mkdirSync(dirname(log), { recursive: true });
  const file = createWriteStream(log);
  file.write(`$ ${command} ${args.join(" ")}\n`);
  // A group of its own: whoever stops this script stops the compilers below it too.
  const detached = process.platform !== "win32";
  const child = spawn(command, args, { cwd, env, detached, shell, stdio: ["ignore", "pipe", "pipe"] });
  const stop = (signal) => {
    try {
      process.kill(detached ? -child.pid : child.pid, signal);
    } catch {
      // It has ended already.
    }
    process.exit(signal === "SIGINT" ? 130 : 143);
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      file.write(chunk);
      if (show) process.stderr.write(chunk);
    });
  }
  const status = await new Promise((settle) => {
    child.on("error", (error) => {
      file.write(`${error.message}\n`);
      settle(127);
    });
    child.on("close", (code) => settle(code ?? 1));
  });
  process.off("SIGINT", stop).off("SIGTERM", stop);
  file.end();
  await finished(file);
  if (status !== 0 && !allowFailure) {
    const tail = show ? "" : `${readFileSync(log, "utf8").trimEnd().split("\n").slice(-60).join("\n")}\n`;
    throw new StepFailed(
      `${tail}\`${command} ${args.join(" ")}\` failed (${status}); the whole log: ${relative(root, log)}`,
    );
  }
  return status;
}

/** Every file below a folder, sorted; `accept` takes the file's path. */
export function filesBelow(folder, accept = () => true) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter(accept)
    .sort();
}

/** SHA-256 over names and contents of files and over further texts. */
export function hashOf(files, texts = []) {
  const hash = createHash("sha256");
  for (const file of files) hash.update(relative(root, file)).update("\0").update(readFileSync(file)).update("\0");
  for (const text of texts) hash.update(String(text)).update("\0");
  return hash.digest("hex");
}

/** True where the stamp file holds this hash. */
export function stampIs(stamp, hash) {
  return existsSync(stamp) && readFileSync(stamp, "utf8") === hash;
}

/** Writes a stamp: what it stands for is done. */
export function writeStamp(stamp, hash) {
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, hash);
}

/** Runs `body` while no other process does so under the same lock file; waits for that one, or takes over a dead one's. */
export async function withLock(path, body) {
  mkdirSync(dirname(path), { recursive: true });
  for (let told = false; ; ) {
    try {
      writeFileSync(path, String(process.pid), { flag: "wx" });
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    const owner = existsSync(path) ? Number(readFileSync(path, "utf8")) : 0;
    // An empty file is a lock that is being taken at this moment.
    if (owner > 0 && !isAlive(owner)) rmSync(path, { force: true });
    else if (!told) {
      console.error(`Waiting for another run (process ${owner}) to finish: ${relative(root, path)}`);
      told = true;
    }
    await sleep(100);
  }
  const release = () => rmSync(path, { force: true });
  process.once("exit", release);
  try {
    return await body();
  } finally {
    process.off("exit", release);
    release();
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}
