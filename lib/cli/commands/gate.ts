// `lenet5 gate`
import { dirname, extname, join } from "node:path";
import { type ErrorName, isLeNet5Error, LeNet5Error } from "../../errors.js";
import type { Evaluation } from "../../lenet5/results.js";
import type { LeNet5 } from "../../lenet5.js";
import type { FoundVersion } from "../../server/model-files.js";
import { addExamples, perform } from "../command.js";
import type { Command } from "../commander.js";
import { addDataOptions, type DataOptions, inClassesOf, loadPart } from "../data-source.js";
import { addModelNameOption, addRepositoryOption, deployedVersion, NONE } from "../deployment.js";
import { addComputeOptions, addJsonOption, type ComputeOptions, numberOption } from "../options.js";
import { type Output, percent } from "../output.js";

interface GateOptions extends DataOptions, ComputeOptions {
  accuracy: number;
  loss: number;
  minAccuracy: number;
  modelRepository: string;
  modelName: string;
}

/** Exit status of a gate that is closed: nothing went wrong, and nothing is to be deployed. */
export const CLOSED = 3;

/** Adds the command. */
export function gateCommand(program: Command): void {
  const share = (flags: string, what: string) =>
    numberOption(flags, what, "from 0 to 1", (x) => x >= 0 && x <= 1).makeOptionMandatory();
  const command = program
    .command("gate")
    .description(
      `Decide whether a model may be deployed: accurate enough, and not worse than what is deployed, which is measured on the same images. Exit status ${CLOSED}: it may not.`,
    )
    .addOption(share("--accuracy <x>", "the model's accuracy, as evaluate gives it"))
    .addOption(
      numberOption(
        "--loss <x>",
        "its loss, as evaluate gives it",
        "of at least 0",
        (x) => x >= 0,
      ).makeOptionMandatory(),
    )
    .addOption(share("--min-accuracy <x>", "the least accuracy that is accepted"));
  addModelNameOption(addRepositoryOption(command));
  addJsonOption(addComputeOptions(addDataOptions(command)));
  addExamples(
    command,
    "lenet5 gate --accuracy 0.991 --loss 0.03 --min-accuracy 0.98 --data mnist --model-repository models --model-name digits",
  );
  perform<GateOptions>(command, async ({ options, output, signal }) => {
    const { accuracy, loss, minAccuracy, modelRepository, modelName } = options;
    const found = await deployedVersion(modelRepository, modelName);
    const deployed = found && {
      version: found.version,
      ...(await measure(found, options, output, signal)),
    };
    const reason = reasonAgainst({ accuracy, minAccuracy, deployed });
    output.print(reason === undefined ? "Open" : `Closed: ${reason}`);
    output.finish({
      open: reason === undefined,
      reason: reason ?? "",
      ...{ accuracy, loss, minAccuracy, deployed: deployed ?? null, replaces: found?.version ?? NONE },
    });
    return reason === undefined ? 0 : CLOSED;
  });
}

interface Measured {
  accuracy: number;
  minAccuracy: number;
  deployed: { version: string; accuracy: number } | undefined;
}

function reasonAgainst({ accuracy, minAccuracy, deployed }: Measured): string | undefined {
  if (accuracy < minAccuracy) return `an accuracy of ${percent(accuracy)}, below ${percent(minAccuracy)}`;
  if (deployed !== undefined && accuracy < deployed.accuracy) {
    return `an accuracy of ${percent(accuracy)}, below the ${percent(deployed.accuracy)} of version ${deployed.version}`;
  }
  return undefined;
}

/** The deployed model on the images that the new one was measured on. */
async function measure(
  found: FoundVersion,
  options: GateOptions,
  output: Output,
  signal: AbortSignal,
): Promise<Pick<Evaluation, "accuracy" | "loss">> {
  using model = await open(found, options, signal).catch(withAdvice(found));
  const { accuracy, loss } = await model.evaluate(inClassesOf(model.classNames, await loadPart(options, output)), {
    signal,
  });
  return { accuracy, loss };
}

async function open(found: FoundVersion, options: GateOptions, signal: AbortSignal): Promise<LeNet5> {
  if (found.problem !== undefined) throw found.problem;
  const { LeNet5, readModelArchive, setNumThreads } = await import("../../index.js");
  const { device, engine, modelRepository, threads } = options;
  if (threads !== undefined) setNumThreads(threads);
  const file = join(modelRepository, found.file);
  const isArchive = extname(file).toLowerCase() === ".mar";
  const archive = isArchive ? await readModelArchive(file, { signal }) : undefined;
  const names = archive?.classNames;
  return await LeNet5.load(archive?.model ?? file, { device, engine, signal, ...(names && { classNames: names }) });
}

/** Says of a deployed model that cannot be read how the gate comes to open again: until then it is closed to every model. */
function withAdvice({ version, file, problem }: FoundVersion): (error: unknown) => never {
  return (error) => {
    if (!isLeNet5Error(error) || !(error === problem || error.code.startsWith("LENET5_MODEL_"))) throw error;
    const name = error.code.slice("LENET5_".length) as ErrorName;
    const advice = `it is the deployed version ${version}: mend ${dirname(file)}, or take it out of the folder of models`;
    throw new LeNet5Error(name, `${error.message} (${advice})`, { cause: error });
  };
}
