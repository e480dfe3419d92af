// `lenet5 undeploy`
import { isLeNet5Error } from "../../errors.js";
import { addExamples, perform } from "../command.js";
import type { Command } from "../commander.js";
import {
  addDeployedModelOptions,
  addRepositoryOption,
  asOnlyWriter,
  type DeployedModelOptions,
  readModelFile,
  takeAway,
} from "../deployment.js";
import { addJsonOption, textOption } from "../options.js";
import { addServerOptions, ServerClient, type ServerOptions } from "../server-client.js";

interface UndeployOptions extends DeployedModelOptions, ServerOptions {
  model: string;
  modelRepository: string;
}

/** Adds the command. */
export function undeployCommand(program: Command): void {
  const command = program
    .command("undeploy")
    .description(
      "Take a version that deploy put there out of a server's folder; the one before it answers again. A version that is another model's stays.",
    )
    .addOption(textOption("--model <file>", "the file that was deployed").makeOptionMandatory());
  addDeployedModelOptions(addRepositoryOption(command));
  addJsonOption(addServerOptions(command));
  addExamples(
    command,
    "lenet5 undeploy --model lenet5.pt --model-repository models --model-name digits --model-version 8 \\\n      --url http://127.0.0.1:8080",
  );
  perform<UndeployOptions>(command, async ({ options, output, signal }) => {
    const { modelName, modelVersion, modelRepository } = options;
    const client = await ServerClient.of(options);
    const model = await readModelFile(options.model);
    const removed = await asOnlyWriter(modelRepository, modelName, { signal, wait: true }, async (held) => {
      const was = await takeAway(modelRepository, options, model);
      // At once, where it runs; a server that is away will not find the version when it is back.
      if (was) await client.unregister(modelName, modelVersion, held).catch(ifUnreachable(output.log));
      return was;
    });
    output.print(removed ? `Took ${modelName} ${modelVersion} away` : `${modelName} ${modelVersion} was not there`);
    output.finish({ name: modelName, version: modelVersion, removed });
  });
}

function ifUnreachable(log: (text: string) => void): (error: unknown) => void {
  return (error) => {
    if (!isLeNet5Error(error) || error.code !== "LENET5_SERVER_UNREACHABLE") throw error;
    log(error.message);
  };
}
