// How calls of modules are asked for, TorchScript's and compiled ones alike.
import { expected, expectedButGot, type LeNet5Error } from "../errors.js";
import { isObject } from "../is.js";
import { oneOf, trueOrFalse } from "../options.js";

/** How results come back. */
export interface ResultOptions {
  keep: boolean;
  bigIntegers: boolean;
}

interface GivenOptions {
  keywords?: unknown;
  keep?: unknown;
  integers?: unknown;
}

/** Reads a call's options. @throws LENET5_INVALID_OPTION */
export function readRunOptions(options: GivenOptions): ResultOptions & { keywords: Readonly<Record<string, unknown>> } {
  const { keywords = {}, keep = false, integers = "number" } = options;
  if (!isObject(keywords)) throw expected("INVALID_OPTION", "arguments by name", "keywords", keywords);
  return {
    keywords,
    keep: trueOrFalse(keep, "keep"),
    bigIntegers: oneOf(integers, "integers", ["number", "bigint"]) === "bigint",
  };
}

/** @throws LENET5_INVALID_OPTION */
export function deviceName(device: unknown): string {
  if (typeof device !== "string") throw expected("INVALID_OPTION", "a device's name", "device", device);
  return device;
}

/** What calls of a disposed module end with. */
export function disposedError(): LeNet5Error {
  return expectedButGot("DISPOSED", "a module that is still there", "the call", "a disposed one");
}
