// What an exporter needs of a model: its parameters and what it says of itself. `LeNet5` has all of it.
import { readFile } from "node:fs/promises";
import { throwIfAborted } from "../abort.js";
import type { Normalization } from "../data/dataset.js";
import { expected, expectedButGot } from "../errors.js";
import { writeFileAtomically } from "../files.js";
import { isObject } from "../is.js";
import type { StateDict } from "../lenet5/state-dict.js";
import { optionalSignal, readOptions } from "../options.js";

/** A LeNet-5 as the exporters see it. */
export interface ExportableModel {
  /** Number of classes. */
  readonly numClasses: number;
  /** One name a class. */
  readonly classNames: readonly string[];
  /** Mean and standard deviation of the pixels, in units of 0..1. */
  readonly normalization: Normalization;
  /** The parameters, by PyTorch's names. */
  stateDict(): StateDict;
  /** The TorchScript archive, verified. */
  toTorchScript(options?: { signal?: AbortSignal }): Promise<Uint8Array>;
}

/** Options of every export. */
export interface ExportOptions {
  /** Aborts the call; a file that was there stays as it was. */
  signal?: AbortSignal;
}

/** What was asked for: a file, or the bytes where `path` is undefined. */
export interface ExportRequest<O> {
  path: string | undefined;
  options: O;
}

/**
 * Reads the arguments of an exporter: `(model)`, `(model, options)`, `(model, path)` or `(model, path, options)`. A path
 * that is there but `undefined` is refused: a variable that was not set must not turn a file into bytes that nobody takes.
 * @throws LENET5_INVALID_ARGUMENT, LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_ABORTED
 */
export function exportRequest<O extends ExportOptions>(
  model: unknown,
  rest: readonly unknown[],
  known: readonly (keyof O & string)[],
  where: string,
): ExportRequest<O> {
  const candidate = Object(model) as Partial<ExportableModel>;
  const speaks = typeof candidate.stateDict === "function" && typeof candidate.toTorchScript === "function";
  if (!speaks || !Array.isArray(candidate.classNames) || !isObject(candidate.normalization)) {
    throw expected("INVALID_ARGUMENT", "a LeNet5", `${where}: model`, model);
  }
  const [first, second] = rest;
  const toBytes = rest.length === 0 || (rest.length === 1 && isObject(first) && !Array.isArray(first));
  if (!toBytes && (typeof first !== "string" || first === "")) {
    throw expected("INVALID_ARGUMENT", "a file's path", `${where}: path`, first);
  }
  const options = readOptions((toBytes ? first : second) as O | undefined, known, where);
  throwIfAborted(optionalSignal(options.signal));
  return { path: toBytes ? undefined : (first as string), options };
}

/**
 * The one way out of an exporter: what was made is checked, in memory or as it lies on the disk, and given back or put in
 * its place.
 * @param verify - throws for bytes that do not say what the model says
 * @throws LENET5_FILE_BUSY, LENET5_FILE_WRITE_FAILED, LENET5_ABORTED and what `verify` throws
 */
export async function deliver(
  bytes: Uint8Array,
  { path, options }: ExportRequest<ExportOptions>,
  verify: (bytes: Uint8Array, where: string) => void | Promise<void>,
): Promise<Uint8Array | undefined> {
  const { signal } = options;
  throwIfAborted(signal);
  if (path === undefined) {
    await verify(bytes, "the export");
    throwIfAborted(signal);
    return bytes;
  }
  await writeFileAtomically(path, bytes, {
    signal,
    verify: async (temporary) => await verify(await readFile(temporary), path),
  });
  return undefined;
}

/** @throws LENET5_EXPORT_UNVERIFIED unless both hold the same names, shapes and bits */
export function requireSameTensors(expectedTensors: StateDict, actual: StateDict, where: string): void {
  for (const [name, { data, shape }] of Object.entries(expectedTensors)) {
    const other = actual[name];
    const same =
      other !== undefined &&
      other.shape.join() === shape.join() &&
      Buffer.from(data.buffer, data.byteOffset, data.byteLength).equals(
        Buffer.from(other.data.buffer, other.data.byteOffset, other.data.byteLength),
      );
    if (!same)
      throw expectedButGot("EXPORT_UNVERIFIED", `the model's own "${name}"`, `${where}, read back,`, "another tensor");
  }
}
