// What a TorchScript module has, as `ScriptModule.inspect()` tells it.
import { expected } from "../errors.js";
import { isObject } from "../is.js";

/** A type of a signature, as a tree. */
export interface ScriptType {
  /** What the type is; `other` is one that JavaScript has no values for. */
  kind:
    | "Tensor"
    | "int"
    | "float"
    | "bool"
    | "str"
    | "None"
    | "Any"
    | "number"
    | "Device"
    | "Optional"
    | "List"
    | "Dict"
    | "Tuple"
    | "NamedTuple"
    | "Union"
    | "Enum"
    | "other";
  /** As Python writes it, for example `Dict[str, List[int]]`. */
  text: string;
  /** Element types: one for Optional and List, key and value for Dict, all members for tuples and Union. */
  inner?: ScriptType[];
  /** Field names of a NamedTuple, member names of an Enum. */
  names?: string[];
}

/** One argument of a method, without `self`. */
export interface ScriptArgument {
  /** As in Python. */
  name: string;
  /** What it takes. */
  type: ScriptType;
  /** True where it may be left out: it has a default, or is Optional. */
  optional: boolean;
  /** True after a bare `*` in the signature; by place it is taken here nevertheless. */
  keywordOnly: boolean;
  /** The default, where there is one, as Python writes it: `1.0`, `None`, `"text"`. */
  default?: string;
}

/** One method of a module. */
export interface ScriptMethod {
  /** As in Python. */
  name: string;
  /** `forward(x: Tensor, scale: float = 1.0) -> Tensor` */
  signature: string;
  /** In order, without `self`. */
  arguments: ScriptArgument[];
  /** What it gives; several results are a Tuple. */
  returns: ScriptType;
}

/** A parameter or buffer. */
export interface ScriptTensorInfo {
  /** Dotted, as in PyTorch's state dict. */
  name: string;
  /** Sizes of the dimensions. */
  shape: number[];
  /** PyTorch's name; may be one that JavaScript has no array for. */
  dtype: string;
  /** Where it lies, for example `cpu` or `cuda:0`. */
  device: string;
  /** True for what training would change. */
  requiresGrad: boolean;
}

/** An attribute or constant that is not a tensor. */
export interface ScriptAttribute {
  /** Dotted, with the submodules it belongs to. */
  name: string;
  /** Its declared type. */
  type: ScriptType;
  /** Its value as Python writes it, where that is a number, string, boolean or None. */
  value?: string;
}

/** What a module has: as of its load, or of the last `to`. */
export interface ModuleInspection {
  /** The class's qualified name, for example `__torch__.model.Mlp`. */
  className: string;
  /** Where the module runs. */
  device: string;
  /** What can be called. */
  methods: ScriptMethod[];
  /** What training would change, submodules included. */
  parameters: ScriptTensorInfo[];
  /** Tensors that are state, a running mean for example. */
  buffers: ScriptTensorInfo[];
  /** Everything else that the code reads. */
  attributes: ScriptAttribute[];
  /** Files that were saved with the module, with their sizes in bytes. */
  extraFiles: { name: string; bytes: number }[];
}

/** Refuses what is no inspection, as far as a formatter depends on it. @throws LENET5_INVALID_ARGUMENT */
export function checkInspection(value: unknown, where: string): asserts value is ModuleInspection {
  const all = (name: string, ...holds: ((member: Record<PropertyKey, unknown>) => boolean)[]): boolean => {
    const members = isObject(value) ? value[name] : undefined;
    return (
      Array.isArray(members) && members.every((each) => isObject(each) && holds.every((hold) => hold(each))) === true
    );
  };
  const named = (each: Record<PropertyKey, unknown>): boolean => typeof each.name === "string";
  const shaped = (each: Record<PropertyKey, unknown>): boolean => Array.isArray(each.shape);
  const typed = (each: Record<PropertyKey, unknown>): boolean => isType(each.type);
  const isArgument = (each: unknown): boolean => isObject(each) && named(each) && isType(each.type);
  const called = ({ signature, arguments: given, returns }: Record<PropertyKey, unknown>): boolean =>
    typeof signature === "string" && Array.isArray(given) && given.every(isArgument) && isType(returns);
  const whole =
    all("methods", named, called) &&
    all("parameters", named, shaped) &&
    all("buffers", named, shaped) &&
    all("attributes", named, typed) &&
    all("extraFiles", named);
  if (!whole) throw expected("INVALID_ARGUMENT", "an inspection, as inspect() gives it,", where, value);
}

function isType(value: unknown): boolean {
  return isObject(value) && typeof value.kind === "string" && (value.inner === undefined || Array.isArray(value.inner));
}
