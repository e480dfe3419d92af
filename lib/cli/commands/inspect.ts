// `lenet5 inspect`
import { basename, extname } from "node:path";
import { writeFileAtomically } from "../../files.js";
import { addExamples, perform } from "../command.js";
import type { Command } from "../commander.js";
import { usageError } from "../failure.js";
import { addJsonOption, addOperatorsOption, operatorsOf, textOption } from "../options.js";

interface InspectOptions {
  emitTypes?: boolean;
  name?: string;
  operators?: string;
  output?: string;
}

/** Adds the command. */
export function inspectCommand(program: Command): void {
  const command = program
    .command("inspect")
    .description(
      "Show what a TorchScript file has: methods with their signatures, parameters, extra files. Loading a file may run code that is in it. Of a compiled package (.pt2): its models and what they were made for; nothing of it is run.",
    )
    .argument("<file>", "TorchScript file or compiled package, anyone's")
    .option("--emit-types", "write a TypeScript declaration of its methods instead")
    .addOption(textOption("--name <name>", "with --emit-types: the interface's name (default: from the file's)"))
    .addOption(textOption("--output <file>", "with --emit-types: where to write it (default: stdout)"));
  addOperatorsOption(command);
  addJsonOption(command);
  addExamples(
    command,
    "lenet5 inspect resnet.pt",
    "lenet5 inspect faster-rcnn.pt --operators site-packages/torchvision/_C.so",
    "lenet5 inspect resnet.pt --emit-types --name Resnet --output resnet.d.ts",
  );
  perform<InspectOptions>(command, async ({ options, operands: [file], output, signal }) => {
    if (!options.emitTypes && (options.output ?? options.name) !== undefined) {
      const flag = options.output === undefined ? "--name" : "--output";
      throw usageError("INVALID_OPTION", "--emit-types beside it", flag, undefined);
    }
    await output.leaveStdoutTo(options.output);
    if (extname(file!) === ".pt2" && !options.emitTypes) {
      const { CompiledModule } = await import("../../compiled-module.js");
      const found = await CompiledModule.inspect(file!, { signal });
      for (const { name, metadata } of found.models) {
        output.print(`${name}: compiled by PyTorch (AOTInductor)`);
        for (const [key, value] of Object.entries(metadata)) output.print(`  ${key}: ${value}`);
      }
      output.finish(found);
      return;
    }
    const { ScriptModule } = await import("../../script-module.js");
    const inspection = await ScriptModule.inspect(file!, { operators: operatorsOf(options.operators), signal });
    if (!options.emitTypes) {
      const { formatInspection } = await import("../../script-module/format-inspection.js");
      output.print(formatInspection(inspection));
      output.finish(inspection);
      return;
    }
    const { emitTypes } = await import("../../script-module/emit-types.js");
    const types = emitTypes(inspection, options.name ?? interfaceName(file!));
    if (options.output === undefined) output.print(types.trimEnd());
    else {
      await writeFileAtomically(options.output, types, { signal });
      output.print(`Wrote ${options.output}`);
    }
    output.finish({ types, ...(options.output === undefined ? {} : { output: options.output }) });
  });
}

/** `traced-frozen.pt` → `TracedFrozen`. */
function interfaceName(file: string): string {
  const words = basename(file, extname(file)).match(/[A-Za-z0-9]+/g) ?? [];
  const name = words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join("");
  return /^[A-Za-z]/.test(name) ? name : `Module${name}`;
}
