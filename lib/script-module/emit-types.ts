// A TypeScript declaration of a module's methods, from its inspection: what `lenet5 inspect --emit-types` writes.
import { expected } from "../errors.js";
import {
  checkInspection,
  type ModuleInspection,
  type ScriptArgument,
  type ScriptMethod,
  type ScriptType,
} from "./inspection.js";

/** Words that TypeScript does not take as a parameter's name. */
const RESERVED = new Set(
  (
    "arguments await break case catch class const continue debugger default delete do else enum eval export extends " +
    "false finally for function if implements import in instanceof interface let new null package private protected " +
    "public return static super switch this throw true try typeof var void while with yield"
  ).split(" "),
);
const IDENTIFIER = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;
const TYPES = ["FloatValue", "ScriptInput", "ScriptModule", "ScriptValue", "Tensor", "TensorHandle"];

/**
 * Writes a declaration that gives `forward` and `call` the types of the module's own methods. Use:
 * `const model = await ScriptModule.load<Mlp>("mlp.pt");`
 * @param name - the interface's name, an identifier
 * @throws LENET5_INVALID_ARGUMENT for a name that is no identifier and what is no inspection
 */
export function emitTypes(inspection: ModuleInspection, name: string): string {
  if (typeof name !== "string" || !IDENTIFIER.test(name) || RESERVED.has(name) || TYPES.includes(name)) {
    throw expected("INVALID_ARGUMENT", "an identifier", "the name of the interface", name);
  }
  checkInspection(inspection, "emitTypes");
  const members: string[] = [];
  for (const method of inspection.methods) {
    const comment = `  /** ${method.signature.replace(/\*\//g, "*\\/").replace(/[\r\n\u2028\u2029]/g, " ")} */`;
    if (method.name === "forward") members.push(comment, `  forward(${parameters(method)}): ${result(method)};`);
    const first = `method: ${JSON.stringify(method.name)}`;
    members.push(comment, `  call(${[first, parameters(method)].filter(Boolean).join(", ")}): ${result(method)};`);
  }
  const body = members.join("\n");
  const used = TYPES.filter(
    (type) => type === "ScriptModule" || new RegExp(`(?<![\\w$"])${type}(?![\\w$"])`).test(body),
  );
  return [
    "// Written by lenet5 inspect --emit-types. Do not edit: write it again when the model changes.",
    `import type { ${used.join(", ")} } from "lenet5-libtorch";`,
    "",
    `export interface ${name} extends Omit<ScriptModule, "forward" | "call"> {`,
    body,
    "}",
    "",
  ].join("\n");
}

function parameters(method: ScriptMethod): string {
  const taken = new Set(["method"]);
  // A parameter may be left out only where all that follow may be, too.
  const lastRequired = method.arguments.findLastIndex((each) => !each.optional);
  return method.arguments
    .map((each, i) => {
      const type = inputType(each.type);
      if (i > lastRequired) return `${parameterName(each, i, taken)}?: ${type}`;
      return `${parameterName(each, i, taken)}: ${each.optional ? `${type} | undefined` : type}`;
    })
    .join(", ");
}

function parameterName({ name }: ScriptArgument, index: number, taken: Set<string>): string {
  let chosen = IDENTIFIER.test(name) ? name : `argument${index}`;
  while (RESERVED.has(chosen) || taken.has(chosen)) chosen += "_";
  taken.add(chosen);
  return chosen;
}

function result(method: ScriptMethod): string {
  return `Promise<${outputType(method.returns)}>`;
}

function inputType(type: ScriptType): string {
  const inner = (i: number): string => inputType(type.inner?.[i] ?? ANY);
  switch (type.kind) {
    case "Tensor":
      return "Tensor | TensorHandle";
    case "int":
      return "number | bigint";
    case "float":
      return "number | FloatValue";
    case "number":
      return "number | bigint | FloatValue";
    case "Optional":
      return `${inner(0)} | null`;
    case "List":
      return `readonly (${inner(0)})[]`;
    case "Tuple":
    case "NamedTuple":
      return `readonly [${elements(type, inputType)}]`;
    case "Dict": {
      const map = `ReadonlyMap<${inner(0)}, ${inner(1)}>`;
      return type.inner?.[0]?.kind === "str" ? `{ readonly [key: string]: ${inner(1)} } | ${map}` : map;
    }
    case "Union":
      return (type.inner ?? []).map(inputType).join(" | ") || "ScriptInput";
    default:
      return simpleType(type) ?? "ScriptInput";
  }
}

function outputType(type: ScriptType): string {
  const inner = (i: number): string => outputType(type.inner?.[i] ?? ANY);
  switch (type.kind) {
    case "Tensor":
      return "Tensor";
    case "int":
    case "number":
      return "number | bigint";
    case "float":
      return "number";
    case "Optional":
      return `${inner(0)} | null`;
    case "List":
      return `(${inner(0)})[]`;
    case "Tuple":
    case "NamedTuple":
      return `[${elements(type, outputType)}]`;
    case "Dict":
      return type.inner?.[0]?.kind === "str" ? `{ [key: string]: ${inner(1)} }` : `Map<${inner(0)}, ${inner(1)}>`;
    case "Union":
      return (type.inner ?? []).map(outputType).join(" | ") || "ScriptValue";
    default:
      return simpleType(type) ?? "ScriptValue";
  }
}

/** What is the same in both directions; undefined for what is not known. */
function simpleType(type: ScriptType): string | undefined {
  switch (type.kind) {
    case "bool":
      return "boolean";
    case "str":
    case "Device":
      return "string";
    case "None":
      return "null";
    case "Enum":
      return type.names?.map((name) => JSON.stringify(name)).join(" | ") ?? "string";
    default:
      return undefined;
  }
}

/** A tuple's elements, labelled where they have names. */
function elements(type: ScriptType, convert: (type: ScriptType) => string): string {
  const inner = type.inner ?? [];
  const labelled = type.names?.length === inner.length && type.names.every((name) => IDENTIFIER.test(name));
  return inner.map((each, i) => (labelled ? `${type.names![i]}: ${convert(each)}` : convert(each))).join(", ");
}

const ANY: ScriptType = { kind: "Any", text: "Any" };
