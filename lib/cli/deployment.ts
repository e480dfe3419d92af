// The one writer of a server's folder of models: puts a version there and takes one away.
//
// Problem: two pipelines may deploy at once, each having compared its model with what was deployed when it looked; and a
// step that was killed is run again. Resolution: one at a time holds the model's lock, and under it what is deployed is
// held against what the caller compared with. A version that is there already with the same bytes is that step's own. What
// lies on the disk is never overwritten, also where the model's config.json keeps it from being served.
import { createHash, randomBytes } from "node:crypto";
import { lstat, readdir, readFile, rename, rm } from "node:fs/promises";
import { extname, join } from "node:path";
import { expectedButGot, isLeNet5Error, type LeNet5Error } from "../errors.js";
import { readFailure, writeFailure, writeFileAtomically } from "../files.js";
import { type LockOptions, withLock } from "../lock.js";
import {
  checkName,
  checkVersion,
  type FoundVersion,
  findVersions,
  isModelFile,
  readModelFolder,
} from "../server/model-files.js";
import type { Command } from "./commander.js";
import { UsageError, usageError } from "./failure.js";
import { textOption } from "./options.js";

/** What {@link addDeployedModelOptions} reads. */
export interface DeployedModelOptions {
  modelName: string;
  modelVersion: string;
}

/** Stands for the version of a model that has none. */
export const NONE = "none";

/** `--model-name`. */
export function addModelNameOption(command: Command): Command {
  const option = textOption("--model-name <name>", "the name that it is served under").default("lenet5");
  return command.addOption(option.argParser((text) => checked(text, "--model-name", checkName)));
}

/** `--model-name`, `--model-version`. */
export function addDeployedModelOptions(command: Command): Command {
  const option = textOption("--model-version <n>", "its version, a whole number").makeOptionMandatory();
  return addModelNameOption(command).addOption(
    option.argParser((text) => checked(text, "--model-version", checkVersion)),
  );
}

/** `--model-repository`. */
export function addRepositoryOption(command: Command): Command {
  return command.addOption(
    textOption("--model-repository <dir>", "the server's folder of models").makeOptionMandatory(),
  );
}

/** `--replaces`: what `lenet5 gate` has compared with. */
export function addReplacesOption(command: Command): Command {
  const what = `the version that is deployed now, or "${NONE}"; where another is, nothing is deployed`;
  const option = textOption("--replaces <version>", what);
  return command.addOption(
    option.argParser((text) => (text === NONE ? text : checked(text, "--replaces", checkVersion))),
  );
}

function checked(text: string, flag: string, check: (text: string) => void): string {
  try {
    check(text);
  } catch (error) {
    const what = isLeNet5Error(error) ? (/^Expected (.*) for /.exec(error.message)?.[1] ?? "another") : "another";
    const { message } = usageError("INVALID_OPTION", what, flag, text);
    throw new UsageError("INVALID_OPTION", message);
  }
  return text;
}

/** The newest version that a server of the folder takes. @throws LENET5_DATA_NOT_FOUND where there is no such folder */
export async function deployedVersion(repository: string, name: string): Promise<FoundVersion | undefined> {
  return (await versionsOf(repository, name)).at(-1);
}

/** A model's versions that a server takes, the newest last. */
async function versionsOf(repository: string, name: string): Promise<FoundVersion[]> {
  try {
    const found = (await findVersions(repository)).filter((each) => each.name === name);
    return found.sort((a, b) => Number(a.version) - Number(b.version));
  } catch (cause) {
    throw readFailure(cause, "DATA_NOT_FOUND", "a folder of models", repository);
  }
}

/**
 * Runs `work` while nobody else writes this model's versions; waits for whoever does. A writer that was killed is waited for as
 * well, until its lock is stale.
 */
export async function asOnlyWriter<T>(
  repository: string,
  name: string,
  options: Omit<LockOptions, "wait">,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  await versionsOf(repository, name); // a folder that is not there is told as that, not as a lock's
  // A name with a dot in front is no model's.
  return await withLock(join(repository, `.${name}`), { ...options, wait: true }, async (held) => {
    await sweep(join(repository, name));
    return await work(held);
  });
}

/** What {@link takeAway} has put out of sight, and a killed one left. */
const HIDDEN = /^\.[0-9]+-[0-9a-f]{8}$/;

/** Removes what a killed writer left; what cannot be removed is in nobody's way. */
async function sweep(folder: string): Promise<void> {
  const left = (await readdir(folder).catch(() => [])).filter((name) => HIDDEN.test(name));
  await Promise.all(left.map((name) => rm(join(folder, name), { recursive: true, force: true }).catch(() => {})));
}

/** A model's file, read whole. */
export interface ModelBytes {
  path: string;
  bytes: Uint8Array;
  /** SHA-256, as hexadecimal digits. */
  digest: string;
}

/** Reads the file that is to be deployed, or that was. */
export async function readModelFile(path: string): Promise<ModelBytes> {
  if (!isModelFile(path)) throw usageError("INVALID_OPTION", "a .pt, .mar or .safetensors file", "--model", path);
  try {
    const bytes = await readFile(path);
    return { path, bytes, digest: createHash("sha256").update(bytes).digest("hex") };
  } catch (cause) {
    throw readFailure(cause, "MODEL_NOT_FOUND", "a model file", path);
  }
}

/** A version that lies in its place. */
export interface Placed {
  /** The file's path. */
  file: string;
  /** The newest version beside it, which answered before it. */
  replaced: string;
  /** Whether it lay there before this call. */
  wasThere: boolean;
}

/**
 * Puts a model's file in its place. To be called by the only writer.
 * @param replaces - what has to be the newest version; undefined where any may be
 * @throws LENET5_DEPLOYMENT_CONFLICT where something else is, or the version is another model's, not the newest, or one that
 *   the model's config.json leaves out
 */
export async function place(
  repository: string,
  { modelName, modelVersion }: DeployedModelOptions,
  model: ModelBytes,
  replaces: string | undefined,
): Promise<Placed> {
  const { files, served } = await readModelFolder(repository, modelName);
  const newest = served([...files.keys()].filter((version) => version !== modelVersion)).at(-1) ?? NONE;
  const own = ownFile(files.get(modelVersion), modelName, modelVersion);
  if (own !== undefined && (await readModelFile(join(repository, own))).digest !== model.digest) {
    throw conflict(`no other model in version ${modelVersion}`, modelName, `one in ${own}`);
  }
  if (newest !== NONE && Number(newest) > Number(modelVersion)) {
    throw conflict("a version above all that are deployed", modelName, `${modelVersion} beside ${newest}`);
  }
  if (!served([...new Set([...files.keys(), modelVersion])]).includes(modelVersion)) {
    throw conflict(`a version that ${modelName}/config.json does not leave out`, modelName, modelVersion);
  }
  if (own !== undefined) return { file: join(repository, own), replaced: newest, wasThere: true };
  if (replaces !== undefined && newest !== replaces) {
    const what = replaces === NONE ? "nothing" : `version ${replaces}`;
    const received = newest === NONE ? "nothing" : `version ${newest}`;
    throw conflict(`${what} to be deployed, as when the models were compared,`, modelName, received);
  }
  const below = `${modelName}/${modelVersion}/model${extname(model.path).toLowerCase()}`;
  const file = join(repository, below);
  // A link that leads nowhere, or what may not be looked into.
  if (await lies(file)) throw conflict(`nothing in the place of version ${modelVersion}`, modelName, below);
  await writeFileAtomically(file, model.bytes);
  return { file, replaced: newest, wasThere: false };
}

function lies(file: string): Promise<boolean> {
  return lstat(file).then(
    () => true,
    () => false,
  );
}

/** The one model file of a version, below the repository's folder. @throws LENET5_DEPLOYMENT_CONFLICT where there are several */
function ownFile(files: readonly string[] | undefined, name: string, version: string): string | undefined {
  if (files === undefined) return undefined;
  if (files.length > 1) throw conflict(`one model file in version ${version}`, name, files.join(" and "));
  return `${name}/${version}/${files[0]}`;
}

/** What {@link takeAway} found: the model, which is gone now; nothing; or another model, which stays. */
export type TakenAway = "removed" | "absent" | "another";

/**
 * Takes a version away, where it is this model's. To be called by the only writer.
 * @throws LENET5_DEPLOYMENT_CONFLICT where a second model file lies beside it
 */
export async function takeAway(
  repository: string,
  { modelName, modelVersion }: DeployedModelOptions,
  { digest }: ModelBytes,
): Promise<TakenAway> {
  const { files } = await readModelFolder(repository, modelName);
  const own = ownFile(files.get(modelVersion), modelName, modelVersion);
  if (own === undefined) return "absent";
  if ((await readModelFile(join(repository, own))).digest !== digest) return "another";
  const folder = join(repository, modelName, modelVersion);
  // Out of the server's sight in one step.
  const hidden = join(repository, modelName, `.${modelVersion}-${randomBytes(4).toString("hex")}`);
  try {
    await rename(folder, hidden);
    await rm(hidden, { recursive: true, force: true });
  } catch (cause) {
    throw writeFailure(cause, folder);
  }
  return "removed";
}

function conflict(what: string, name: string, received: string): LeNet5Error {
  return expectedButGot("DEPLOYMENT_CONFLICT", what, name, received);
}
