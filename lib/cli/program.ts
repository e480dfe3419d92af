// The command line's table of contents.
import { Command } from "./commander.js";
import { dataCommand } from "./commands/data.js";
import { deployCommand } from "./commands/deploy.js";
import { doctorCommand } from "./commands/doctor.js";
import { evaluateCommand } from "./commands/evaluate.js";
import { exportCommand } from "./commands/export.js";
import { gateCommand } from "./commands/gate.js";
import { inspectCommand } from "./commands/inspect.js";
import { installCommand } from "./commands/install.js";
import { predictCommand } from "./commands/predict.js";
import { reportCommand } from "./commands/report.js";
import { serveCommand } from "./commands/serve.js";
import { smokeTestCommand } from "./commands/smoke-test.js";
import { trainCommand } from "./commands/train.js";
import { undeployCommand } from "./commands/undeploy.js";
import { waitCommand } from "./commands/wait.js";

/** Builds the whole `lenet5` command line. */
export function createProgram(version: string): Command {
  const program = new Command("lenet5")
    .description("Train LeNet-5 on libtorch, run it, and take it to other tools.")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "show help")
    .exitOverride()
    // Errors are written in one shape by failure.ts; commander's own wording is its raw material.
    .configureOutput({ writeErr: () => {} })
    .configureHelp({ helpWidth: 110 })
    .addHelpText(
      "after",
      `
Results go to stdout, progress and logs to stderr. Exit status: 0 done, 1 failed, 2 wrong usage, 3 a gate is closed,
130 interrupted (143 by SIGTERM).
Options that show (env: …) take their default from that environment variable.`,
    );
  trainCommand(program);
  evaluateCommand(program);
  predictCommand(program);
  serveCommand(program);
  exportCommand(program);
  gateCommand(program);
  deployCommand(program);
  waitCommand(program);
  smokeTestCommand(program);
  undeployCommand(program);
  reportCommand(program);
  inspectCommand(program);
  dataCommand(program);
  installCommand(program);
  doctorCommand(program);
  return program;
}
