// How a command ends when it fails: one line on stderr, with `--json` one object on stdout, and an exit status.
import { type ErrorName, expected, expectedButGot, isLeNet5Error, LeNet5Error } from "../errors.js";
import { isNativeError } from "../is.js";
import { CommanderError } from "./commander.js";

/** Exit status of a command that could not do its work. */
export const FAILED = 1;
/** Exit status of a command line that makes no sense. */
export const USAGE = 2;
/** Exit status after Ctrl-C: 128 + SIGINT, as shells have it. */
export const INTERRUPTED = 130;
/** Exit status after a request to end: 128 + SIGTERM. */
export const TERMINATED = 143;

/** A command line that makes no sense; ends with {@link USAGE}. */
export class UsageError extends LeNet5Error {}

/** A {@link UsageError} in the package's message shape. */
export function usageError(name: ErrorName, what: string, where: string, received: unknown): UsageError {
  // An option that is left out has no value that a person could have typed.
  const error =
    received === undefined ? expectedButGot(name, what, where, "none") : expected(name, what, where, received);
  return new UsageError(name, error.message);
}

/** An error for the caller of a command, whatever was thrown. */
export interface Failure {
  code: string;
  message: string;
  status: number;
}

/** Brings anything that was thrown to one form; `undefined` where commander has only shown help or the version. */
export function failureOf(thrown: unknown): Failure | undefined {
  if (thrown instanceof CommanderError) {
    if (thrown.exitCode === 0) return undefined;
    return { ...fromCommander(thrown), status: USAGE };
  }
  const message = isNativeError(thrown) ? thrown.message : String(thrown);
  if (!isLeNet5Error(thrown)) return { code: "LENET5_NATIVE_FAILURE", message: oneLine(message), status: FAILED };
  const status = thrown.code === "LENET5_ABORTED" ? INTERRUPTED : thrown instanceof UsageError ? USAGE : FAILED;
  return { code: thrown.code, message: oneLine(message), status };
}

/** Writes a failure; returns the exit status. */
export function reportFailure(thrown: unknown, json: boolean, result: object = {}): number {
  const failure = failureOf(thrown);
  if (failure === undefined) return 0;
  const { code, message, status } = failure;
  process.stderr.write(`lenet5: ${message} (${code})\n`);
  if (process.env.LENET5_DEBUG && isNativeError(thrown)) process.stderr.write(`${thrown.stack}\n`);
  if (json) process.stdout.write(`${JSON.stringify({ ...result, error: { code, message } })}\n`);
  return status;
}

/** commander's sentence in this package's shape; the offending word stands between its first quotation marks. */
function fromCommander({ code, message }: CommanderError): { code: string; message: string } {
  const word = /'([^']*)'/.exec(message)?.[1] ?? "";
  const near = /Did you mean (?:one of )?([^?]*)\?/.exec(message)?.[1];
  const hint = near === undefined ? "" : ` (did you mean ${near}?)`;
  const sentence = (what: string, where: string, received: string): string =>
    `Expected ${what} for ${where} but received ${received}${hint}`;
  switch (code) {
    case "commander.unknownOption":
      return {
        code: "LENET5_UNKNOWN_OPTION",
        message: sentence("an option that --help lists", "the command line", word),
      };
    case "commander.unknownCommand":
      return { code: "LENET5_INVALID_ARGUMENT", message: sentence("a command that --help lists", "lenet5", word) };
    case "commander.help":
      return { code: "LENET5_INVALID_ARGUMENT", message: sentence("a command that --help lists", "lenet5", "none") };
    case "commander.missingMandatoryOptionValue":
    case "commander.optionMissingArgument":
      return { code: "LENET5_INVALID_OPTION", message: sentence("a value", word, "none") };
    case "commander.missingArgument":
      return { code: "LENET5_INVALID_ARGUMENT", message: sentence("at least one value", word, "none") };
    case "commander.excessArguments":
      return {
        code: "LENET5_INVALID_ARGUMENT",
        message: sentence("no further arguments", "the command", oneLine(message)),
      };
    default:
      return { code: "LENET5_INVALID_OPTION", message: oneLine(message.replace(/^error: /, "")) };
  }
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, " ").trim();
}
