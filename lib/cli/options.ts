// Options that several commands share, and the readers of their values. Each value has one check, that of lib/options.ts,
// and one message shape; a default can come from the environment (`--batch-size` ← `LENET5_BATCH_SIZE`).
import { delimiter } from "node:path";
import { isLeNet5Error } from "../errors.js";
import { finiteNumber, oneOf, wholeNumber } from "../options.js";
import { type Command, Option } from "./commander.js";
import { UsageError, usageError } from "./failure.js";

/** Runs a check; its error becomes one of the command line. */
export function asUsage<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!isLeNet5Error(error)) throw error;
    throw new UsageError(
      error.code.slice("LENET5_".length) as ConstructorParameters<typeof UsageError>[0],
      error.message,
    );
  }
}

/** The number a text stands for; the text itself where it stands for none, so that messages can show it. */
function numberOf(text: string): unknown {
  const value = Number(text);
  return text.trim() === "" || Number.isNaN(value) ? text : value;
}

function flagOf(flags: string): string {
  return /--[a-z0-9-]+/.exec(flags)![0];
}

/** Lets the environment set an option's default: `--batch-size <n>` ← `LENET5_BATCH_SIZE`. */
export function fromEnvironment(option: Option): Option {
  return option.env(`LENET5_${flagOf(option.flags).slice(2).replaceAll("-", "_").toUpperCase()}`);
}

/** An option that takes a whole number. */
export function wholeOption(flags: string, description: string, min: number, max?: number): Option {
  const read = (text: string) => asUsage(() => wholeNumber(numberOf(text), flagOf(flags), min, max));
  return new Option(flags, description).argParser(read);
}

/** An option that takes a number in a range, said in words by `range`. */
export function numberOption(
  flags: string,
  description: string,
  range: string,
  holds: (value: number) => boolean,
): Option {
  const read = (text: string) => asUsage(() => finiteNumber(numberOf(text), flagOf(flags), range, holds));
  return new Option(flags, description).argParser(read);
}

/** An option that takes one of a few words. */
export function wordOption(flags: string, description: string, words: readonly string[]): Option {
  const read = (text: string) => asUsage(() => oneOf(text, flagOf(flags), words));
  return new Option(flags, `${description}: ${words.join(", ")}`).argParser(read);
}

/** An option that takes text that is not empty; the environment has no say in it. */
export function textOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text: string) => notEmpty(text, flags));
}

function notEmpty(text: string, flags: string): string {
  if (text.trim() === "") throw usageError("INVALID_OPTION", "a value", flagOf(flags), text);
  return text;
}

/** An option that takes one text or more. */
export function textsOption(flags: string, description: string): Option {
  const read = (text: string, before: string[] = []) => [...before, notEmpty(text, flags)];
  return new Option(flags, description).argParser(read);
}

/** What {@link addComputeOptions} reads. */
export interface ComputeOptions {
  device: "auto" | "cpu" | "cuda" | `cuda:${number}`;
  engine: "auto" | "fused" | "libtorch";
  threads?: number;
}

/** `--device`, `--engine`, `--threads`. */
export function addComputeOptions(command: Command): Command {
  const device = new Option("--device <device>", "where to compute: auto, cpu, cuda, cuda:N")
    .argParser((text: string) => {
      if (/^(auto|cpu|cuda|cuda:\d{1,3})$/.test(text)) return text;
      throw usageError("INVALID_OPTION", '"auto", "cpu", "cuda" or "cuda:N"', "--device", text);
    })
    .default("auto");
  return command
    .addOption(fromEnvironment(device))
    .addOption(
      fromEnvironment(wordOption("--engine <engine>", "what computes", ["auto", "fused", "libtorch"]).default("auto")),
    )
    .addOption(fromEnvironment(wholeOption("--threads <n>", "threads of libtorch and of the kernels", 1, 1024)));
}

/** `--json`. */
export function addJsonOption(command: Command): Command {
  return command.option("--json", "make the last line of stdout one JSON object");
}

/** `--operators`, where a TorchScript file of anyone is loaded. */
export function addOperatorsOption(command: Command): void {
  const what = `libraries with operators that libtorch does not have, separated by "${delimiter}", beside those that LENET5_OPERATORS names; opening one runs its code`;
  command.addOption(textOption("--operators <files>", what));
}

/** The paths that `--operators` names. */
export function operatorsOf(text: string | undefined): string[] {
  return (text ?? "").split(delimiter).filter(Boolean);
}
