// A folder of models, kept in step with what is served: looked through every second, loaded what is new, let go what has
// gone.
//
// Problem: a file may be looked at while it is being written. Resolution: after the first look, what is new or changed is
// loaded when it was the same in two looks one after the other; what has gone must be gone in two as well.
import { expected, expectedButGot, isLeNet5Error, LeNet5Error } from "../errors.js";
import { readModelArchive } from "../index.js";
import { isNativeError } from "../is.js";
import type { BatchObserver, QueueLimits } from "./batcher.js";
import { loadModel } from "./load-model.js";
import { limitsOf } from "./model-config.js";
import { checkName, checkVersion, findVersions, fingerprintOf, isModelFile, named, pathInside } from "./model-files.js";
import type { BatchLimits, ModelRepository, VersionStatus } from "./model-repository.js";
import type { ServedModel } from "./served-model.js";
import { Version, type VersionSource } from "./version.js";

/** Where a repository says what it does. */
export interface RepositoryLog {
  info(message: string): void;
  warn(message: string): void;
}

/** What a {@link FolderRepository} is made with. */
export interface RepositoryOptions {
  readonly folder: string;
  readonly limits: QueueLimits;
  readonly device: string;
  readonly pollMilliseconds: number;
  readonly log: RepositoryLog;
  /** Counts a version's batches. */
  observer(name: string, version: string): BatchObserver;
}

/** The versions of one model. */
interface Model {
  readonly versions: Map<string, Version>;
  /** By {@link FolderRepository.setDefault}. */
  chosen: string | undefined;
}

/** The models of a folder. */
export class FolderRepository implements ModelRepository {
  readonly #options: RepositoryOptions;
  readonly #models = new Map<string, Model>();
  /** Files that {@link register} took: by name and version. */
  readonly #registered = new Map<string, { name: string; version: string; file: string }>();
  #ready = false;
  #isRetired = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  /** What the last look saw. */
  #seen = new Map<string, string>();
  /** What it could not look into, with the reason. */
  #unreadable = new Map<string, string>();
  #looking: Promise<unknown> = Promise.resolve();

  constructor(options: RepositoryOptions) {
    this.#options = options;
  }

  /** Looks for the first time and loads what is there. @throws LENET5_DATA_NOT_FOUND where there is no such folder */
  async open(): Promise<void> {
    try {
      const first = this.#look(true);
      this.#looking = first;
      await first;
    } catch (cause) {
      const received = isNativeError(cause) ? cause.message : String(cause);
      throw expectedButGot("DATA_NOT_FOUND", "a folder of models", "modelRepository", received);
    }
    this.#ready = true;
    this.#lookLater();
  }

  get ready(): boolean {
    return this.#ready && !this.#isRetired;
  }

  statuses(): VersionStatus[] {
    const names = [...this.#models].filter(([, model]) => isKnown(model)).map(([name]) => name);
    return names.sort().flatMap((name) => this.statusesOf(name));
  }

  statusesOf(name: string): VersionStatus[] {
    const model = this.#model(name);
    const chosen = defaultOf(model);
    return ordered(model).map((each) => each.status(each === chosen));
  }

  model(name: string, version?: string): ServedModel {
    const model = this.#model(name);
    const found = version === undefined ? defaultOf(model) : this.#version(model, name, version);
    if (found?.ready) return found;
    throw (found ?? ordered(model).at(-1)!).unavailable();
  }

  async load(name: string, { version, limits = {} }: { version?: string; limits?: BatchLimits } = {}): Promise<void> {
    const checked = limitsOf(limits, "the request");
    checkName(name);
    if (version !== undefined) checkVersion(version);
    const all = await this.#found().catch((cause) => {
      const received = isNativeError(cause) ? cause.message.split(",", 1)[0]! : "an error";
      const words = `Expected the folder of models for a load but received ${received}`;
      throw new LeNet5Error("MODEL_UNAVAILABLE", words, { cause });
    });
    const found = all.filter((each) => each.name === name);
    const wanted = found.filter((each) => version === undefined || each.version === version);
    if (wanted.length === 0) throw notFound(name, version);
    await Promise.all(wanted.map((each) => this.#loadNow(each, checked)));
  }

  async unload(name: string, version?: string): Promise<void> {
    const model = this.#model(name);
    const versions = version === undefined ? ordered(model) : [this.#version(model, name, version)];
    await Promise.all(versions.map((each) => each.unload()));
    for (const each of versions) this.#options.log.info(`Unloaded ${each.name} ${each.version}`);
  }

  async unregister(name: string, version?: string): Promise<void> {
    const model = this.#model(name);
    const versions = version === undefined ? ordered(model) : [this.#version(model, name, version)];
    await Promise.all(versions.map((each) => each.unregister()));
    for (const each of versions) this.#options.log.info(`Unregistered ${each.name} ${each.version}`);
  }

  setDefault(name: string, version: string): void {
    const model = this.#model(name);
    const found = this.#version(model, name, version);
    if (!found.ready) throw found.unavailable();
    model.chosen = version;
  }

  async register(
    file: string,
    { name, version, limits = {} }: { name?: string; version?: string; limits?: BatchLimits } = {},
  ): Promise<{ name: string; version: string }> {
    const checked = limitsOf(limits, "the request");
    const path = await pathInside(this.#options.folder, file);
    if (!isModelFile(file))
      throw expected("REQUEST_INVALID", "a .mar, .pt or .safetensors file", "a model's file", file);
    const archive = file.toLowerCase().endsWith(".mar")
      ? await readModelArchive(path).catch(named(file, path))
      : undefined;
    const served = {
      name: name ?? archive?.modelName ?? file.replace(/^.*[\\/]/, "").replace(/\.[^.]*$/, ""),
      version: version ?? wholeVersion(archive?.modelVersion),
      file,
    };
    checkName(served.name);
    checkVersion(served.version);
    const key = keyOf(served);
    // One that was registered and unloaded makes room, as in TorchServe; one of the folder comes back.
    const old = this.#models.get(served.name)?.versions.get(served.version);
    if (old?.isUnloaded && this.#registered.delete(key)) this.#remove(served.name, served.version);
    else if (old?.isUnregistered && old.file === file) {
      await this.load(served.name, { version: served.version, limits });
      return { name: served.name, version: served.version };
    } else if (old !== undefined || this.#registered.has(key)) {
      throw expected("MODEL_BUSY", "a version that is not there yet", served.name, served.version);
    }
    this.#registered.set(key, served);
    try {
      const source = await this.#registeredSource(served);
      if (source === undefined) throw notFound(served.name, served.version);
      await this.#loadNow({ ...served, ...source }, checked);
    } catch (error) {
      this.#registered.delete(key);
      this.#remove(served.name, served.version);
      throw error;
    }
    return { name: served.name, version: served.version };
  }

  /** Is not ready any more, so that nobody new comes; whoever does is answered. */
  retire(): void {
    this.#isRetired = true;
  }

  /** Lets go of all models once their requests are answered; looks no more. */
  async close(): Promise<void> {
    this.retire();
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#looking.catch(() => {});
    const versions = [...this.#models.values()].flatMap((model) => [...model.versions.values()]);
    await Promise.all(versions.map((each) => each.unload("the server is closing")));
  }

  #lookLater(): void {
    if (this.#isClosed || this.#options.pollMilliseconds === 0) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.#look(false)
        // The folder itself may be away for a moment: what is served stays.
        .catch((error) => this.#options.log.warn(`Cannot look through the model repository: ${error}`))
        .finally(() => this.#lookLater());
    }, this.#options.pollMilliseconds);
    this.#timer.unref();
  }

  /** All that the folder has, and what was registered. */
  async #found(): Promise<(VersionSource & { name: string; version: string })[]> {
    const found: (VersionSource & { name: string; version: string })[] = [];
    const unreadable = new Map<string, string>();
    const versions = await findVersions(this.#options.folder, (path, code) => unreadable.set(path, code));
    for (const [path, code] of unreadable) {
      if (this.#unreadable.get(path) !== code)
        this.#options.log.warn(`Cannot look into ${path} (${code}): it is passed over`);
    }
    this.#unreadable = unreadable;
    for (const each of versions) {
      // Two files of one name and version would take each other's place for ever.
      if (!this.#registered.has(keyOf(each))) found.push(each);
    }
    for (const each of this.#registered.values()) {
      const source = await this.#registeredSource(each);
      if (source !== undefined) found.push({ ...each, ...source });
    }
    return found;
  }

  async #registeredSource({ file }: { file: string }): Promise<VersionSource | undefined> {
    let print: string | undefined;
    try {
      print = await fingerprintOf(await pathInside(this.#options.folder, file));
    } catch (error) {
      const hasGone = isLeNet5Error(error) && ["LENET5_MODEL_NOT_FOUND", "LENET5_REQUEST_INVALID"].includes(error.code);
      if (!hasGone) throw error;
    }
    return print === undefined ? undefined : { file, fingerprint: `${file}|${print}`, config: {} };
  }

  async #look(isFirst: boolean): Promise<void> {
    // What a call loads meanwhile, this look may have come too early to see.
    const before = new Set([...this.#models.values()].flatMap(({ versions }) => [...versions.values()]));
    const found = await this.#found();
    const seen = new Map(found.map((each) => [keyOf(each), each.fingerprint]));
    const loads: Promise<unknown>[] = [];
    for (const each of found) {
      const settled = isFirst || this.#seen.get(keyOf(each)) === each.fingerprint;
      const version = this.#models.get(each.name)?.versions.get(each.version);
      if (!settled || version?.isUnloaded || version?.hasTried(each.fingerprint)) continue;
      loads.push(this.#loadNow(each).catch(() => {}));
    }
    for (const [name, model] of this.#models) {
      for (const [version, entry] of model.versions) {
        const key = keyOf({ name, version });
        if (before.has(entry) && !seen.has(key) && !this.#seen.has(key)) this.#remove(name, version);
      }
    }
    this.#seen = seen;
    if (isFirst) await Promise.all(loads);
  }

  async #loadNow(found: VersionSource & { name: string; version: string }, limits?: BatchLimits): Promise<void> {
    const { log, folder, device, limits: defaults } = this.#options;
    const { name, version } = found;
    const model = this.#models.get(name) ?? { versions: new Map<string, Version>(), chosen: undefined };
    this.#models.set(name, model);
    let entry = model.versions.get(version);
    if (entry === undefined) {
      const observer = this.#options.observer(name, version);
      const load = async (source: VersionSource, own: Partial<QueueLimits>) => {
        const path = await pathInside(folder, source.file);
        const options = { config: { ...source.config, ...own }, limits: defaults, device, observer };
        return loadModel(path, options).catch(named(source.file, path));
      };
      entry = new Version(name, version, found, { load, limits: defaults });
      model.versions.set(version, entry);
    }
    const start = performance.now();
    try {
      await entry.load(found, limits);
      log.info(`Loaded ${name} ${version} (${found.file}) in ${Math.round(performance.now() - start)} ms`);
    } catch (error) {
      const stays = entry.ready ? "; the one before it stays" : "";
      log.warn(
        `Cannot load ${name} ${version} (${found.file})${stays}: ${isNativeError(error) ? error.message : error}`,
      );
      throw error;
    }
  }

  #remove(name: string, version: string): void {
    const model = this.#models.get(name);
    const entry = model?.versions.get(version);
    if (model === undefined || entry === undefined) return;
    model.versions.delete(version);
    if (model.versions.size === 0) this.#models.delete(name);
    if (entry.ready) this.#options.log.info(`Let go of ${name} ${version}: its file has gone`);
    void entry.unload("its file has gone");
  }

  #model(name: string): Model {
    const model = this.#models.get(name);
    if (model === undefined || !isKnown(model)) throw notFound(name, undefined);
    return model;
  }

  #version(model: Model, name: string, version: string): Version {
    const found = model.versions.get(version);
    if (found === undefined || found.isUnregistered) throw notFound(name, version);
    return found;
  }
}

function keyOf({ name, version }: { name: string; version: string }): string {
  return `${name}/${version}`;
}

function notFound(name: string, version: string | undefined) {
  const what = version === undefined ? "a model of the repository" : `a version of ${name}`;
  return expected("MODEL_NOT_FOUND", what, "the request", version ?? name);
}

/** Whether clients are told of any of its versions. */
function isKnown({ versions }: Model): boolean {
  for (const { isUnregistered } of versions.values()) if (!isUnregistered) return true;
  return false;
}

/** Those that clients are told of, by number. */
function ordered({ versions }: Model): Version[] {
  const known = [...versions.values()].filter(({ isUnregistered }) => !isUnregistered);
  return known.sort((a, b) => Number(a.version) - Number(b.version));
}

/** The version that was chosen, else the newest that is ready. */
function defaultOf(model: Model): Version | undefined {
  if (model.versions.size === 1) {
    for (const only of model.versions.values()) return only;
  }
  const chosen = model.chosen === undefined ? undefined : model.versions.get(model.chosen);
  return chosen?.ready && !chosen.isUnregistered ? chosen : ordered(model).findLast((each) => each.ready);
}

/** `1.0` → `1`. */
function wholeVersion(version = "1"): string {
  return /^[0-9]+/.exec(version)?.[0].replace(/^0+(?=.)/, "") ?? "1";
}
