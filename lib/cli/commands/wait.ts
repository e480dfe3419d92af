// `lenet5 wait`
import { delay } from "../../abort.js";
import { isLeNet5Error, LeNet5Error } from "../../errors.js";
import { addExamples, perform } from "../command.js";
import type { Command } from "../commander.js";
import { addDeployedModelOptions, type DeployedModelOptions } from "../deployment.js";
import { addJsonOption, wholeOption } from "../options.js";
import { addServerOptions, ServerClient, type ServerOptions } from "../server-client.js";

interface WaitOptions extends DeployedModelOptions, ServerOptions {
  timeout: number;
}

/** Milliseconds between two questions. */
const POLL = 200;
const DAY_IN_SECONDS = 86_400;

/** Adds the command. */
export function waitCommand(program: Command): void {
  const command = program.command("wait").description("Wait until a version of a model answers on a server.");
  addServerOptions(addDeployedModelOptions(command)).addOption(
    wholeOption("--timeout <s>", "seconds until it is given up", 1, DAY_IN_SECONDS).default(60),
  );
  addJsonOption(command);
  addExamples(command, "lenet5 wait --url http://127.0.0.1:8080 --model-name digits --model-version 8 --timeout 60");
  perform<WaitOptions>(command, async ({ options, output, signal }) => {
    const { modelName, modelVersion, timeout } = options;
    const client = await ServerClient.of(options);
    const start = performance.now();
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), timeout * 1000);
    try {
      await untilReady(client, options, { signal, late: late.signal });
    } finally {
      clearTimeout(timer);
    }
    const seconds = (performance.now() - start) / 1000;
    output.print(`${modelName} ${modelVersion} is ready at ${client.url} after ${seconds.toFixed(1)} s`);
    output.finish({ name: modelName, version: modelVersion, ready: true, seconds, url: client.url });
  });
}

async function untilReady(
  client: ServerClient,
  { modelName, modelVersion, timeout }: WaitOptions,
  { signal, late }: { signal: AbortSignal; late: AbortSignal },
): Promise<void> {
  const either = AbortSignal.any([signal, late]);
  let last = "a version that is not ready";
  try {
    for (;;) {
      try {
        if (await client.isReady(modelName, modelVersion, either)) return;
        last = "a version that is not ready";
      } catch (error) {
        if (!isLeNet5Error(error) || error.code !== "LENET5_SERVER_UNREACHABLE") throw error;
        last = error.message.replace(/^.* but received /, "");
      }
      await delay(POLL, either);
    }
  } catch (error) {
    if (signal.aborted || !late.aborted) throw error;
    const what = `${modelName} ${modelVersion} to be ready within ${timeout} s`;
    throw new LeNet5Error("SERVER_UNREACHABLE", `Expected ${what} for ${client.url} but received ${last}`);
  }
}
