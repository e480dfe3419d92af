// `lenet5 undeploy`
import { addExamples, perform } from "../command.js";
import type { Command } from "../commander.js";
import {
  addDeployedModelOptions,
  addRepositoryOption,
  asOnlyWriter,
  type DeployedModelOptions,
  readModelFile,
  type TakenAway,
  takeAway,
} from "../deployment.js";
import { addJsonOption, textOption } from "../options.js";
import { addServerOptions, nobodyListens, ServerClient, type ServerOptions } from "../server-client.js";

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
    const onWait = () => output.log(`Waiting for another writer of ${modelName}`);
    const { found, unregistered } = await asOnlyWriter(modelRepository, modelName, { signal, onWait }, async (held) => {
      const found = await takeAway(modelRepository, options, model);
      if (found === "another") return { found, unregistered: false };
      // Also where it was not there: an earlier call may have ended between the folder and the server.
      const unregistered = await client.unregister(modelName, modelVersion, held).then(
        () => true,
        (error: unknown) => {
          // A server that is away will not find the version when it is back; one that does not answer may still serve it.
          if (!nobodyListens(error)) throw error;
          output.log(error.message);
          return false;
        },
      );
      return { found, unregistered };
    });
    output.print(`${modelName} ${modelVersion} ${WORDS[found]}`);
    output.finish({ name: modelName, version: modelVersion, removed: found === "removed", unregistered });
  });
}

const WORDS: Readonly<Record<TakenAway, string>> = {
  removed: "was taken away",
  absent: "was not there",
  another: "is another model, which stays",
};
