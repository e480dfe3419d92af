// The frame of every command: its action gets typed options and an Output, and whatever it throws becomes a message and
// an exit status.
import type { Command } from "./commander.js";
import { INTERRUPTED, reportFailure } from "./failure.js";
import { Interruption } from "./interrupt.js";
import { Output } from "./output.js";

/** What an action is called with. */
export interface Call<Options> {
  /** Values of the options, checked. */
  options: Options;
  /** Arguments that are not options, in order. */
  operands: string[];
  output: Output;
  /** Fires at Ctrl-C and at SIGTERM; for every call that takes one. */
  signal: AbortSignal;
}

/**
 * Sets what a command does. Without a returned status a command that does not throw succeeds.
 * @param stopping - what is said at the first Ctrl-C or SIGTERM
 */
export function perform<Options>(
  command: Command,
  action: (call: Call<Options>) => Promise<number> | Promise<void>,
  stopping: string | ((options: Options) => string) = "Stopping.",
): void {
  command.action(async () => {
    const options = command.optsWithGlobals() as Options & { json?: boolean };
    const output = new Output(options.json === true);
    const onFirst = () => output.log(`\n${typeof stopping === "string" ? stopping : stopping(options)}`);
    using interruption = new Interruption(onFirst);
    const { signal } = interruption;
    try {
      // The status is set and the process left to end by itself: what is still being written gets written.
      process.exitCode = (await action({ options, operands: command.args, output, signal })) ?? 0;
    } catch (error) {
      const status = reportFailure(error, output.json, partialResultOf(error));
      process.exitCode = status === INTERRUPTED ? interruption.status : status;
    }
  });
}

const partialResults = new WeakMap<object, object>();

/** Attaches what a command did find out to the error with which it ends; `--json` shows both. */
export function withPartialResult<E extends Error>(error: E, result: object): E {
  partialResults.set(error, result);
  return error;
}

function partialResultOf(error: unknown): object | undefined {
  return typeof error === "object" && error !== null ? partialResults.get(error) : undefined;
}

/** Examples below a command's help. */
export function addExamples(command: Command, ...examples: string[]): void {
  const heading = examples.length === 1 ? "Example:" : "Examples:";
  command.addHelpText("after", `\n${heading}\n${examples.map((example) => `  $ ${example}`).join("\n")}`);
}
