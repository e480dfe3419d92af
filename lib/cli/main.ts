#!/usr/bin/env node
// The `lenet5` command.
import { packageVersion } from "../version.js";
import { failureOf, reportFailure, USAGE } from "./failure.js";
import { createProgram } from "./program.js";

async function main(words: string[]): Promise<void> {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // Somebody else listens while a file goes out this way: it has not been delivered, which is that write's to report.
    if (process.stdout.listenerCount("error") > 1) return;
    // A reader that has seen enough of our prose (`lenet5 … | head`) closes the pipe; that is no failure of ours.
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  // A limit on the size of files (ulimit -f) then fails the write, which is reported, and does not kill the process.
  process.on("SIGXFSZ" as NodeJS.Signals, () => {});
  const program = createProgram(packageVersion);
  if (words.length === 0) {
    process.stderr.write(program.helpInformation());
    process.exitCode = USAGE;
    return;
  }
  try {
    await program.parseAsync(words, { from: "user" });
  } catch (error) {
    // Only the command line itself throws to here; a command's own failures have been reported by then.
    const status = reportFailure(error, words.includes("--json"));
    process.exitCode = failureOf(error) === undefined ? 0 : Math.max(status, USAGE);
  }
}

void main(process.argv.slice(2));
