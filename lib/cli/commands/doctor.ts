// `lenet5 doctor`
import { addExamples, perform } from "../command.js";
import type { Command } from "../commander.js";
import { FAILED } from "../failure.js";
import { addJsonOption } from "../options.js";

/** Adds the command. */
export function doctorCommand(program: Command): void {
  const command = program
    .command("doctor")
    .description(
      "Say what was found where, what is missing and how to mend it. Exit status 1 where the package cannot work.",
    );
  addJsonOption(command);
  addExamples(command, "lenet5 doctor");
  perform(command, async ({ output }) => {
    const { diagnose, formatDiagnosis } = await import("../../libtorch/doctor.js");
    const diagnosis = await diagnose();
    output.print(formatDiagnosis(diagnosis));
    output.finish(diagnosis);
    return diagnosis.ok ? 0 : FAILED;
  });
}
