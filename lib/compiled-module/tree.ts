// PyTorch's trees of arguments and results (`torch.utils._pytree`): which lists and dictionaries a package's tensors come
// from and go to.
import { expected, expectedButGot, type LeNet5Error } from "../errors.js";
import { isBranded, isMap, isObject } from "../is.js";
import { isTensorHandle } from "../script-module/tensor-handle.js";
import type { ScriptInput } from "../script-module/values.js";

/** A tree: a leaf, which is a tensor or what the package holds fixed; a list of trees; or a dictionary of them. */
export type Tree =
  | { kind: "leaf" }
  | { kind: "list"; items: readonly Tree[] }
  | { kind: "dict"; keys: readonly Key[]; items: readonly Tree[] };

type Key = string | number | boolean;

/** A tensor among a call's arguments, and how messages call it. */
export interface Leaf {
  name: string;
  value: unknown;
}

/** Python's types, by the names that PyTorch writes them under. */
const LISTS = new Set([
  "builtins.tuple",
  "builtins.list",
  "collections.namedtuple",
  "collections.deque",
  "torch.fx.immutable_collections.immutable_list",
]);
const DICTIONARIES = new Set([
  "builtins.dict",
  "collections.OrderedDict",
  "collections.defaultdict",
  "torch.fx.immutable_collections.immutable_dict",
]);

const DEEPEST = 64;

/** Reads a tree as PyTorch writes it. @throws LENET5_SCRIPT_UNSUPPORTED */
export function parseTree(json: string, where: string): Tree {
  const unsupported = (received: string): LeNet5Error =>
    expectedButGot("SCRIPT_UNSUPPORTED", "lists, tuples and dictionaries of tensors", where, received);
  const node = (value: unknown, depth: number): Tree => {
    if (!isObject(value) || !Array.isArray(value.children_spec) || depth > DEEPEST) {
      throw unsupported("a tree that cannot be read");
    }
    const { type, context, children_spec: children } = value;
    if (type === null) return { kind: "leaf" };
    const items = children.map((child) => node(child, depth + 1));
    if (LISTS.has(String(type))) return { kind: "list", items };
    if (!DICTIONARIES.has(String(type))) throw unsupported(String(type).slice(0, 200));
    const keys = keysOf(context);
    if (keys?.length !== items.length) throw unsupported("a dictionary whose keys are no strings, numbers or booleans");
    return { kind: "dict", keys, items };
  };
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    throw unsupported("a tree that cannot be read");
  }
  return node(Array.isArray(parsed) ? parsed[1] : undefined, 1);
}

function keysOf(context: unknown): Key[] | undefined {
  try {
    const read: unknown = JSON.parse(String(context));
    const keys = isObject(read) && !Array.isArray(read) ? read.dict_context : read;
    if (!Array.isArray(keys)) return undefined;
    return keys.every((key) => ["string", "number", "boolean"].includes(typeof key)) ? (keys as Key[]) : undefined;
  } catch {
    return undefined;
  }
}

/** The trees of arguments by place and by name. @throws LENET5_SCRIPT_UNSUPPORTED */
export function signatureOf(tree: Tree, where: string): { positional: readonly Tree[]; keywords: Map<string, Tree> } {
  const [byPlace, byName] = tree.kind === "list" ? tree.items : [];
  if (byPlace?.kind !== "list" || byName?.kind !== "dict") {
    throw expectedButGot("SCRIPT_UNSUPPORTED", "arguments by place and by name", where, "another tree");
  }
  return {
    positional: byPlace.items,
    keywords: new Map(byName.keys.map((key, i) => [String(key), byName.items[i]!])),
  };
}

/**
 * The tensors of an argument, in the tree's order. Null and undefined are left out: what is no tensor was fixed when the
 * package was made, and its tensors are counted by itself.
 * @throws LENET5_SCRIPT_ARGUMENTS
 */
export function leavesOf(tree: Tree, input: ScriptInput, name: string, found: Leaf[] = []): Leaf[] {
  if (tree.kind === "leaf") {
    if (input === null || input === undefined) return found;
    const isTensor = isObject(input) && (isTensorHandle(input) || ("data" in input && "shape" in input));
    if (!isTensor || isBranded(input, "FloatValue")) {
      throw expected("SCRIPT_ARGUMENTS", "a tensor, or null for what the package holds fixed,", name, input);
    }
    found.push({ name, value: input });
  } else if (tree.kind === "list") {
    if (!Array.isArray(input) || input.length !== tree.items.length) {
      throw expected("SCRIPT_ARGUMENTS", `an array of ${tree.items.length}`, name, input);
    }
    for (const [i, item] of tree.items.entries()) leavesOf(item, input[i] as ScriptInput, `${name}[${i}]`, found);
  } else {
    const entries = entriesOf(input);
    if (entries === undefined || !tree.keys.every((key) => entries.has(key)) || entries.size !== tree.keys.length) {
      const keys = tree.keys.map((key) => JSON.stringify(key)).join(", ");
      throw expected("SCRIPT_ARGUMENTS", `a dictionary with the keys ${keys}`, name, input);
    }
    for (const [i, key] of tree.keys.entries()) {
      leavesOf(tree.items[i]!, entries.get(key) as ScriptInput, `${name}[${JSON.stringify(key)}]`, found);
    }
  }
  return found;
}

/** A Map as it is, an object with its keys; numbers among a tree's keys are to be given as a Map. */
function entriesOf(input: unknown): ReadonlyMap<unknown, unknown> | undefined {
  if (isMap(input)) return input as ReadonlyMap<unknown, unknown>;
  if (!isObject(input) || Array.isArray(input) || isTensorHandle(input)) return undefined;
  return new Map(Object.entries(input));
}

/** The number of a tree's leaves. */
export function leafCount(tree: Tree): number {
  return tree.kind === "leaf" ? 1 : tree.items.reduce((sum, item) => sum + leafCount(item), 0);
}

/** A tree with values in its leaves: arrays, plain objects where all keys are strings, and Maps. */
export function assemble(tree: Tree, values: Iterator<unknown>): unknown {
  if (tree.kind === "leaf") return values.next().value;
  const items = tree.items.map((item) => assemble(item, values));
  if (tree.kind === "list") return items;
  const entries = tree.keys.map((key, i) => [key, items[i]] as const);
  return tree.keys.every((key) => typeof key === "string") ? Object.fromEntries(entries) : new Map(entries);
}
