// `lenet5 export`
import { stat } from "node:fs/promises";
import { extname } from "node:path";
import type { LeNet5 } from "../../lenet5.js";
import { addExamples, perform } from "../command.js";
import type { Command } from "../commander.js";
import { usageError } from "../failure.js";
import { addModelOption, openModel } from "../model.js";
import { addJsonOption, textOption, wordOption } from "../options.js";
import { fileSize } from "../output.js";

interface ExportOptions {
  model: string;
  format?: keyof typeof WRITERS;
  output: string;
  modelName: string;
  modelVersion: string;
}

type Writer = (model: LeNet5, options: ExportOptions & { signal: AbortSignal }) => Promise<unknown>;

const WRITERS = {
  torchscript: (model, { output, signal }) => model.save(output, { signal }),
  onnx: async (model, { output, signal }) =>
    (await import("../../export/onnx.js")).exportOnnx(model, output, { signal }),
  safetensors: async (model, { output, signal }) =>
    (await import("../../export/export-safetensors.js")).exportSafetensors(model, output, { signal }),
  mar: async (model, { output, modelName, modelVersion, signal }) => {
    const { exportModelArchive } = await import("../../export/model-archive.js");
    await exportModelArchive(model, output, { modelName, version: modelVersion, signal });
  },
} as const satisfies Record<string, Writer>;

const FORMATS = Object.keys(WRITERS) as (keyof typeof WRITERS)[];
/** The format that the ending of a file's name stands for. */
export const FORMAT_OF: Record<string, keyof typeof WRITERS> = {
  ".pt": "torchscript",
  ".onnx": "onnx",
  ".safetensors": "safetensors",
  ".mar": "mar",
};

/** Adds the command. */
export function exportCommand(program: Command): void {
  const command = program
    .command("export")
    .description("Write a model for other tools: PyTorch, ONNX Runtime, safetensors readers, TorchServe.");
  addModelOption(command)
    .addOption(wordOption("--format <format>", "what to write (default: by the ending of --output)", FORMATS))
    .addOption(textOption("--output <file>", "file to write").makeOptionMandatory())
    .addOption(textOption("--model-name <name>", "name in the .mar archive").default("lenet5"))
    .addOption(textOption("--model-version <version>", "version in the .mar archive").default("1.0"));
  addJsonOption(command);
  addExamples(
    command,
    "lenet5 export --model lenet5.pt --format onnx --output lenet5.onnx",
    "lenet5 export --model lenet5.pt --format mar --output lenet5.mar",
  );
  perform<ExportOptions>(command, async ({ options, output, signal }) => {
    const format = options.format ?? FORMAT_OF[extname(options.output).toLowerCase()];
    if (format === undefined) {
      const where = `--format (which the ending of ${options.output} does not say)`;
      throw usageError("INVALID_OPTION", FORMATS.join(", "), where, undefined);
    }
    await output.leaveStdoutTo(options.output);
    using model = await openModel({ model: options.model, device: "cpu", engine: "auto" }, signal);
    await WRITERS[format](model, { ...options, signal });
    const written = await stat(options.output);
    const bytes = written.isFile() ? written.size : undefined; // a pipe or a device does not keep what went through it
    output.print(`Wrote ${options.output} (${format}${bytes === undefined ? "" : `, ${fileSize(bytes)}`})`);
    output.finish({ format, output: options.output, bytes });
  });
}
