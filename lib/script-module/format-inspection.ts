// A module's inspection as text for people: what `lenet5 inspect FILE` prints.
import { textTable } from "../text-table.js";
import { checkInspection, type ModuleInspection, type ScriptAttribute, type ScriptTensorInfo } from "./inspection.js";

/** Formats an inspection: a heading, then methods, parameters, buffers, attributes and extra files, one a line. @throws LENET5_INVALID_ARGUMENT */
export function formatInspection(inspection: ModuleInspection): string {
  checkInspection(inspection, "formatInspection");
  const { className, device, methods, parameters, buffers, attributes, extraFiles } = inspection;
  const count = parameters.reduce((sum, each) => sum + elements(each), 0);
  const sections = [
    section(
      "Methods",
      methods.map((each) => printable(each.signature)),
    ),
    section(`Parameters (${count.toLocaleString("en")} values)`, table(parameters.map(tensorRow))),
    section("Buffers", table(buffers.map(tensorRow))),
    section("Attributes", table(attributes.map(attributeRow))),
    section("Extra files", table(extraFiles.map((each) => [printable(each.name), `${each.bytes} bytes`]))),
  ];
  const warning = methods.some((each) => each.name === "forward") ? [] : ["It has no method `forward`."];
  return [`TorchScript module ${className} on ${device}`, ...warning, ...sections.filter((each) => each !== "")]
    .join("\n\n")
    .concat("\n");
}

function section(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? "" : [title, ...lines.map((line) => `  ${line}`)].join("\n");
}

function table(rows: readonly (readonly string[])[]): string[] {
  return rows.length === 0 ? [] : textTable(rows, { align: "left", border: false }).split("\n");
}

function tensorRow({ name, shape, dtype }: ScriptTensorInfo): string[] {
  return [printable(name), dtype, `[${shape.join(", ")}]`];
}

function attributeRow({ name, type, value }: ScriptAttribute): string[] {
  return [printable(name), type.text, printable(value ?? "")];
}

function elements({ shape }: ScriptTensorInfo): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Names come from the file: control characters in them must not reach a terminal. */
function printable(name: string): string {
  return name.replace(/\p{Cc}/gu, "\ufffd");
}
