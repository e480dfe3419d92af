// `lenet5 deploy`
import { addExamples, perform } from "../command.js";
import type { Command } from "../commander.js";
import {
  addDeployedModelOptions,
  addReplacesOption,
  addRepositoryOption,
  asOnlyWriter,
  type DeployedModelOptions,
  place,
  readModelFile,
  takeAway,
} from "../deployment.js";
import { addJsonOption, textOption } from "../options.js";
import { addServerOptions, ServerClient, type ServerOptions } from "../server-client.js";

interface DeployOptions extends DeployedModelOptions, ServerOptions {
  model: string;
  modelRepository: string;
  replaces?: string;
}

/** Milliseconds that a server may take to let go of what was not deployed after all. */
const CLEARING = 5_000;

/** Adds the command. */
export function deployCommand(program: Command): void {
  const command = program
    .command("deploy")
    .description(
      "Put a new version of a model into a server's folder and have the server load it. What cannot be loaded is taken out again; the version before it answers all the while.",
    )
    .addOption(textOption("--model <file>", "the model: .pt, .mar or .safetensors").makeOptionMandatory());
  addReplacesOption(addDeployedModelOptions(addRepositoryOption(command)));
  addJsonOption(addServerOptions(command));
  addExamples(
    command,
    "lenet5 deploy --model lenet5.pt --model-repository models --model-name digits --model-version 8 \\\n      --replaces 7 --url http://127.0.0.1:8080",
  );
  perform<DeployOptions>(command, async ({ options, output, signal }) => {
    const { modelName, modelVersion, modelRepository, replaces } = options;
    const client = await ServerClient.of(options);
    const model = await readModelFile(options.model);
    const onWait = () => output.log(`Waiting for another writer of ${modelName}`);
    const { file, replaced } = await asOnlyWriter(modelRepository, modelName, { signal, onWait }, async (held) => {
      // Where nobody is there to load it, nothing is put there either.
      await client.requireLive(held);
      const placed = await place(modelRepository, options, model, replaces);
      try {
        await client.load(modelName, modelVersion, held);
        await client.requireLoaded(modelName, modelVersion, held);
        return placed;
      } catch (error) {
        // What an earlier call placed may answer already: that is undeploy's to take away.
        if (!placed.wasThere && (await takeAway(modelRepository, options, model)) === "removed") {
          // Where the answer was late, the server may have loaded it; where the call was interrupted, its signal has fired.
          const soon = AbortSignal.timeout(CLEARING);
          await client.unregister(modelName, modelVersion, soon).catch(() => {});
        }
        throw error;
      }
    });
    output.print(`Deployed ${modelName} ${modelVersion} at ${client.url} (before it: ${replaced})`);
    output.finish({ name: modelName, version: modelVersion, file, digest: model.digest, replaced, url: client.url });
  });
}
