// How commands open a model.
import type { LeNet5 } from "../lenet5.js";
import type { Command } from "./commander.js";
import { type ComputeOptions, textOption } from "./options.js";

/** `--model`. */
export function addModelOption(command: Command): Command {
  return command.addOption(
    textOption("--model <file>", "model to load: TorchScript (.pt) or safetensors").makeOptionMandatory(),
  );
}

/** Loads a model where the options say. */
export async function openModel(options: ComputeOptions & { model: string }, signal: AbortSignal): Promise<LeNet5> {
  const { LeNet5, setNumThreads } = await import("../index.js");
  if (options.threads !== undefined) setNumThreads(options.threads);
  return await LeNet5.load(options.model, { device: options.device, engine: options.engine, signal });
}
