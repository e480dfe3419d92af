// What lies in a repository's folder: DIR/<name>/<version>/model.pt (or .mar, .safetensors), DIR/<name>/config.json.
//
// Names and versions are of a few characters only, so that none can lead anywhere else; what begins with a dot is nobody's
// model (version control, the links that Kubernetes makes). A link is followed while it stays inside the folder.
import { readdir, realpath, stat } from "node:fs/promises";
import { extname, isAbsolute, join, relative, sep } from "node:path";
import { type ErrorName, expected, expectedButGot, isLeNet5Error, LeNet5Error } from "../errors.js";
import { isObject } from "../is.js";
import { readBytes, withRegularFile } from "../regular-file.js";
import { LARGEST_CONFIG, type ModelConfig, readModelConfig } from "./model-config.js";

/** Letters, digits, `_`, `-` and `.`, with a letter or digit first. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;
/** A whole number without zeros in front. */
const VERSION = /^(?:0|[1-9][0-9]{0,14})$/;
const FILES = ["model.pt", "model.mar", "model.safetensors"];

/** One version of a model, as its folder has it. */
export interface FoundVersion {
  readonly name: string;
  readonly version: string;
  /** Below the repository's folder. */
  readonly file: string;
  /** Changes when the file or its config.json does. */
  readonly fingerprint: string;
  readonly config: ModelConfig;
  /** Why it cannot be loaded, where that is plain before it is tried. */
  readonly problem?: LeNet5Error;
}

/** @throws LENET5_MODEL_NOT_FOUND */
export function checkName(name: string): void {
  if (!NAME.test(name)) throw expected("MODEL_NOT_FOUND", "letters, digits, _, - and .", "a model's name", name);
}

/** @throws LENET5_MODEL_NOT_FOUND */
export function checkVersion(version: string): void {
  if (!VERSION.test(version)) throw expected("MODEL_NOT_FOUND", "a whole number", "a model's version", version);
}

/** Told of what lies in the folder and may not be looked into, by its path below the folder, and why. */
export type Unreadable = (path: string, code: string) => void;

/** Every version of every model. @throws what the file system throws where the folder itself cannot be read */
export async function findVersions(folder: string, unreadable: Unreadable = () => {}): Promise<FoundVersion[]> {
  const names = (await readdir(folder)).filter((name) => NAME.test(name));
  const found = await Promise.all(names.map((name) => versionsOf(folder, name, unreadable)));
  return found.flat();
}

/** What lies in one model's folder, for whoever writes there: with the versions that its config.json leaves out. */
export interface ModelFolder {
  /** The names of each version's model files; the newest version last. */
  readonly files: ReadonlyMap<string, readonly string[]>;
  /** Those of the given versions that a server would take, were they there; the newest last. */
  served(versions: readonly string[]): string[];
}

/** Looks into one model's folder, which may be missing. */
export async function readModelFolder(folder: string, name: string): Promise<ModelFolder> {
  const unreadable = () => {};
  const inside = await namesIn(folder, name, unreadable);
  const { config } = inside.includes("config.json") ? await configOf(folder, name) : { config: {} as ModelConfig };
  const files = new Map<string, readonly string[]>();
  for (const version of inside.filter((each) => VERSION.test(each)).sort(byNumber)) {
    const models = (await namesIn(folder, `${name}/${version}`, unreadable)).filter((file) => FILES.includes(file));
    if (models.length > 0) files.set(version, models.sort());
  }
  return { files, served: (versions) => wanted([...versions], config.versions).sort(byNumber) };
}

function byNumber(a: string, b: string): number {
  return Number(a) - Number(b);
}

async function versionsOf(folder: string, name: string, unreadable: Unreadable): Promise<FoundVersion[]> {
  const inside = await namesIn(folder, name, unreadable);
  const versions = inside.filter((each) => VERSION.test(each));
  if (versions.length === 0) return [];
  const { config, fingerprint, problem } = inside.includes("config.json")
    ? await configOf(folder, name)
    : { config: {}, fingerprint: "", problem: undefined };
  const found: FoundVersion[] = [];
  for (const version of wanted(versions, config.versions)) {
    const files = (await namesIn(folder, `${name}/${version}`, unreadable)).filter((file) => FILES.includes(file));
    if (files.length === 0) continue;
    const file = `${name}/${version}/${files[0]}`;
    const print = await fingerprintOf(join(folder, file), (code) => unreadable(file, code));
    if (print === undefined) continue;
    const wrong = problem ?? (files.length > 1 ? severalFiles(`${name}/${version}`, files) : undefined);
    const all = `${file}|${print}|${fingerprint}`;
    found.push({ name, version, file, fingerprint: all, config, ...(wrong && { problem: wrong }) });
  }
  return found;
}

/** What lies in a folder of the repository; nothing where it cannot be looked into. */
async function namesIn(folder: string, path: string, unreadable: Unreadable): Promise<string[]> {
  return readdir(join(folder, path)).catch(ifGone<string[]>([], (code) => unreadable(path, code)));
}

function wanted(versions: string[], which: ModelConfig["versions"] = "all"): string[] {
  if (which === "all") return versions;
  if ("latest" in which) return versions.sort((a, b) => Number(b) - Number(a)).slice(0, which.latest);
  return versions.filter((version) => which.includes(Number(version)));
}

function severalFiles(where: string, files: readonly string[]): LeNet5Error {
  return expectedButGot("MODEL_CORRUPT", "one model file", where, files.join(" and "));
}

async function configOf(
  folder: string,
  name: string,
): Promise<{ config: ModelConfig; fingerprint: string; problem: LeNet5Error | undefined }> {
  const where = `${name}/config.json`;
  let fingerprint = "";
  try {
    const path = await pathInside(folder, where);
    fingerprint = (await fingerprintOf(path)) ?? "";
    const wanted = { what: "a file of JSON", missing: "FILE_READ_FAILED", other: "REQUEST_INVALID" } as const;
    const bytes = await withRegularFile(path, wanted, (file, size) => {
      if (size <= LARGEST_CONFIG) return readBytes(file, size);
      throw expectedButGot("REQUEST_TOO_LARGE", `at most ${LARGEST_CONFIG} bytes`, where, `${size}`);
    }).catch(named(where, path));
    const text = new TextDecoder().decode(bytes);
    return { config: readModelConfig(text, where), fingerprint, problem: undefined };
  } catch (cause) {
    const received = isObject(cause) && typeof cause.code === "string" ? cause.code : String(cause);
    const problem = isLeNet5Error(cause)
      ? cause
      : new LeNet5Error("FILE_READ_FAILED", `Expected to read ${where} but received ${received}`, { cause });
    return { config: {}, fingerprint, problem };
  }
}

/** Size, time of change and identity of a file; undefined where there is none. @param refused - told why it may not be seen */
export async function fingerprintOf(path: string, refused?: (code: string) => void): Promise<string | undefined> {
  try {
    const { size, mtimeNs, ino } = await stat(path, { bigint: true });
    return `${size} ${mtimeNs} ${ino}`;
  } catch (error) {
    return ifGone(undefined, refused)(error);
  }
}

/**
 * Where a file of the folder lies, links followed.
 * @throws LENET5_REQUEST_INVALID where that is outside, LENET5_MODEL_NOT_FOUND; what the file system throws where it
 * cannot tell
 */
export async function pathInside(folder: string, file: string): Promise<string> {
  const isPlain = file !== "" && !file.includes("\0") && !isAbsolute(file) && !/^[a-z][a-z0-9+.-]*:/i.test(file);
  if (!isPlain || file.split(/[\\/]/).includes("..")) {
    throw expected("REQUEST_INVALID", "a path inside the model repository", "a model's file", file);
  }
  try {
    const path = await realpath(join(folder, file));
    const way = relative(await realpath(folder), path);
    if (way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way)) return path;
  } catch (cause) {
    if (!hasGone(cause)) throw cause;
    const words = `Expected a file of the model repository but received ${JSON.stringify(file.slice(0, 200))}`;
    throw new LeNet5Error("MODEL_NOT_FOUND", words, { cause });
  }
  throw expectedButGot("REQUEST_INVALID", "a file inside the model repository", file, "a link that leads out of it");
}

/** Throws an error anew with a file's path below the folder: where the folder lies is nothing for clients. */
export function named(file: string, path: string): (error: unknown) => never {
  return (cause) => {
    if (!isLeNet5Error(cause) || !cause.message.includes(path)) throw cause;
    const name = cause.code.slice("LENET5_".length) as ErrorName;
    throw new LeNet5Error(name, cause.message.replaceAll(path, file), { cause });
  };
}

/** Whether a file is a model by its name. */
export function isModelFile(file: string): boolean {
  return [".pt", ".mar", ".safetensors"].includes(extname(file).toLowerCase());
}

/** What there is nothing to see behind: the other models are served all the same. */
const NOTHING: readonly unknown[] = ["ENOENT", "ENOTDIR", "ENAMETOOLONG", "ELOOP", "EACCES"];
/** Of these, what is there all the same: somebody will want to know why it is not served. */
const REFUSED: readonly unknown[] = ["ELOOP", "EACCES"];

/**
 * Gives `value` for what has gone, is no folder, leads in a circle or may not be looked into; throws other errors.
 * @param refused - told of the latter two
 */
function ifGone<T>(value: T, refused?: (code: string) => void): (error: unknown) => T {
  return (error) => {
    if (!hasGone(error)) throw error;
    const { code } = error as { code: string };
    if (REFUSED.includes(code)) refused?.(code);
    return value;
  };
}

function hasGone(error: unknown): boolean {
  return isObject(error) && NOTHING.includes(error.code);
}
