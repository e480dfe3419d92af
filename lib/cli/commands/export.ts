// `lenet5 export`
import { stat } from "node:fs/promises";
import { extname } from "node:path";
import type { Command } from "commander";
import type { LeNet5 } from "../../lenet5.js";
import { addExamples, perform } from "../command.js";
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

type Writer = (model: LeNet5, options: ExportOptions) => Promise<unknown>;

const WRITERS = {
  torchscript: (model, { output }) => model.save(output),
  onnx: async (model, { output }) => (await import("../../export/onnx.js")).exportOnnx(model, output),
  safetensors: async (model, { output }) =>
    (await import("../../export/export-safetensors.js")).exportSafetensors(model, output),
  mar: async (model, { output, modelName, modelVersion }) => {
    const { exportModelArchive } = await import("../../export/model-archive.js");
    await exportModelArchive(model, output, { modelName, version: modelVersion });
  },
} as const satisfies Record<string, Writer>;

const FORMATS = Object.keys(WRITERS) as (keyof typeof WRITERS)[];
const FORMAT_OF: Record<string, keyof typeof WRITERS> = {
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
  perform<ExportOptions>(command, async ({ options, output }) => {
    const format = options.format ?? FORMAT_OF[extname(options.output).toLowerCase()];
    if (format === undefined) throw usageError("INVALID_OPTION", FORMATS.join(", "), "--format", options.format);
    await output.leaveStdoutTo(options.output);
    using model = await openModel({ model: options.model, device: "cpu", engine: "auto" });
    await WRITERS[format](model, options);
    const written = await stat(options.output);
    const bytes = written.isFile() ? written.size : undefined; // a pipe or a device does not keep what went through it
    output.print(`Wrote ${options.output} (${format}${bytes === undefined ? "" : `, ${fileSize(bytes)}`})`);
    output.finish({ format, output: options.output, bytes });
  });
}
