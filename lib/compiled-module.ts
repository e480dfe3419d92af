// A package that PyTorch compiled ahead of time (AOTInductor, `.pt2`): load, look into, call.
import { abortError, throwIfAborted } from "./abort.js";
import { checkMachine, dropFolder, unchecked, withFolder, withPackage } from "./compiled-module/package.js";
import { assemble, type Leaf, leafCount, leavesOf, parseTree, signatureOf, type Tree } from "./compiled-module/tree.js";
import { expected, expectedButGot, type LeNet5Error } from "./errors.js";
import { type ModelSource, modelName } from "./formats/model-bytes.js";
import { inUse, needsOf, withNeeds } from "./libtorch/library-needs.js";
import { loadedAddon } from "./libtorch/load-addon.js";
import { loadOperators, operatorPaths, operatorsOfEnvironment } from "./libtorch/operators.js";
import type { EncodedValue, NativeCompiledModule } from "./native/types.js";
import { libtorch, nativeCall, nativeCallSync } from "./native.js";
import { optionalSignal, readOptions, wholeNumber } from "./options.js";
import { BoundedQueue } from "./queue.js";
import { deviceName, disposedError, readRunOptions } from "./script-module/call-options.js";
import type { ScriptTensorInfo } from "./script-module/inspection.js";
import { type TensorHandle, wrapTensor } from "./script-module/tensor-handle.js";
import { ArgumentEncoder, type ScriptInput, type ScriptValue } from "./script-module/values.js";

/** Options of {@link CompiledModule.load}. */
export interface CompiledModuleOptions {
  /** Which of the package's models. @defaultValue "model", PyTorch's name for the only one */
  model?: string;
  /** Where it runs: `"auto"`, the kind of device it was made for, or one of that kind, `"cuda:1"`. @defaultValue "auto" */
  device?: string;
  /** Calls that may wait for their turn; one more is refused with LENET5_QUEUE_FULL. @defaultValue 1024 */
  maxQueue?: number;
  /** Calls that may run at once, each on its own copy of what is no constant. @defaultValue 1 */
  concurrency?: number;
  /** As {@link ScriptModuleOptions.operators}. @defaultValue [] */
  operators?: readonly (string | URL)[];
  /** Aborts the loading; libtorch's own part of it is never cut off. */
  signal?: AbortSignal;
}

/** Options of {@link CompiledModule.run}. */
export interface CompiledRunOptions {
  /** Arguments by name, as the model had them in Python. */
  keywords?: Readonly<Record<string, ScriptInput>>;
  /** Takes the call back while it waits for its turn; a call that runs is never cut off. */
  signal?: AbortSignal;
  /** Leaves the result's tensors in native memory, as {@link TensorHandle}s. @defaultValue false */
  keep?: boolean;
}

/** What a package says of itself; its tensors are known once it is loaded. */
export interface PackageInspection {
  /** Its models, each with its metadata: PyTorch's (`AOTI_DEVICE_KEY`, `AOTI_CPU_ISA`, …) and its maker's. */
  models: { name: string; metadata: Record<string, string> }[];
}

/** What a loaded package has. */
export interface CompiledModuleInspection {
  /** The model's name in the package. */
  model: string;
  /** Where it runs. */
  device: string;
  /** Number of arguments by place. */
  positional: number;
  /** Names of arguments by name. */
  keywords: string[];
  /** Parameters and buffers by their names in the state dict; not those that the compiler has folded into others. */
  constants: ScriptTensorInfo[];
  /** PyTorch's metadata (`AOTI_DEVICE_KEY`, `AOTI_CPU_ISA`, …) and its maker's. */
  metadata: Record<string, string>;
}

const LOAD_OPTIONS = ["model", "device", "maxQueue", "concurrency", "operators", "signal"] as const;
const RUN_SYNC_OPTIONS = ["keywords", "keep"] as const;
const RUN_OPTIONS = [...RUN_SYNC_OPTIONS, "signal"] as const;

/** What is known of a loaded package, beside its library. */
interface Known {
  inspection: CompiledModuleInspection;
  positional: readonly Tree[];
  keywords: ReadonlyMap<string, Tree>;
  outputs: Tree;
  /** The folder that it was unpacked into; gone unless its library reads from it. */
  files: string;
}

/**
 * A model that PyTorch compiled (`torch._inductor.aoti_compile_and_package`), for one kind of processor or graphics card.
 * **A package is a native library**: loading one from a stranger runs a stranger's code, with the rights of this process.
 *
 * Calls take tensors and lists and dictionaries of them, as the exported model did, of the shapes that it was exported
 * for: the package checks that. What was no tensor (numbers, flags) was fixed when it was made, and is left out or null. Calls run off the
 * event loop, in order of arrival, or here and now ({@link CompiledModule.runSync}); inputs are copied when a call is made.
 */
export class CompiledModule {
  readonly #native: NativeCompiledModule;
  readonly #queue: BoundedQueue;
  readonly #known: Known;
  #disposed = false;

  private constructor(module: NativeCompiledModule, queue: BoundedQueue, known: Known) {
    this.#native = module;
    this.#queue = queue;
    this.#known = known;
  }

  /**
   * Loads a package from a file or from a file's contents. It needs libtorch 2.13 or later.
   * @throws LENET5_MODEL_NOT_FOUND; LENET5_MODEL_CORRUPT for anything but a whole package; LENET5_SCRIPT_UNSUPPORTED for one
   * of another kind of machine, one that this libtorch refuses, and by a libtorch that knows no packages;
   * LENET5_DEVICE_UNAVAILABLE; LENET5_FILE_WRITE_FAILED where it cannot be unpacked in the folder for temporary files;
   * LENET5_OPERATORS_NOT_FOUND and LENET5_OPERATORS_UNUSABLE; LENET5_ABORTED; the errors of opening libtorch, as for
   * `libtorchVersion`
   */
  static async load(source: ModelSource, options: CompiledModuleOptions = {}): Promise<CompiledModule> {
    const read = readOptions(options, LOAD_OPTIONS, "CompiledModule.load");
    const { model = "model", device = "auto", maxQueue = 1024, concurrency = 1, operators = [], signal } = read;
    optionalSignal(signal);
    deviceName(device);
    if (typeof model !== "string") throw expected("INVALID_OPTION", "a model's name", "model", model);
    const capacity = wholeNumber(maxQueue, "maxQueue", 0);
    wholeNumber(concurrency, "concurrency", 1, 1024);
    const libraries = [...operatorsOfEnvironment(), ...operatorPaths(operators)];
    const where = modelName(source);
    return await withPackage(source, "CompiledModule.load", { where, signal }, async ({ models, unpack }) => {
      const metadata = models.get(model);
      if (metadata === undefined) {
        const names = [...models.keys()].map((name) => JSON.stringify(name)).join(", ");
        throw expected("INVALID_OPTION", `one of the package's models (${names})`, "model", model);
      }
      checkMachine(metadata, where);
      const addon = libtorch("CompiledModule.load");
      if (addon.CompiledModule === undefined) {
        const received = `libtorch ${addon.libtorchVersion}`;
        throw expectedButGot("SCRIPT_UNSUPPORTED", "libtorch 2.13 or later", "CompiledModule.load", received);
      }
      const { CompiledModule: Native } = addon;
      await loadOperators(libraries);
      const { module, files, checksDimensions } = await withFolder(async (folder) => {
        const { library, needed, checksDimensions } = await unpack(folder, model, signal);
        throwIfAborted(signal);
        openNeeds(library, where);
        const { AOTI_DEVICE_KEY: madeFor = "cpu", AOTI_CPU_ISA: instructions = "" } = metadata;
        const unpacked = { folder, model, device, madeFor, instructions, runners: concurrency, where };
        return { module: await nativeCall(() => Native.load(unpacked)), files: folder, needed, checksDimensions };
      });
      try {
        if (signal?.aborted) throw abortError(signal);
        const { inputs, outputs, ...found } = nativeCallSync(() => module.inspect());
        const { positional, keywords } = signatureOf(parseTree(inputs, `the arguments of ${where}`), where);
        if (!checksDimensions && [...positional, ...keywords.values()].some((each) => leafCount(each) > 0)) {
          const fix = "make it again with PyTorch 2.13 or later, and with size_asserts on";
          throw unchecked(`how many dimensions its inputs have: ${fix}`, where);
        }
        const inspection = {
          model,
          device: found.device,
          positional: positional.length,
          keywords: [...keywords.keys()],
          constants: found.constants,
          metadata,
        };
        const known = {
          inspection,
          positional,
          keywords,
          outputs: parseTree(outputs, `the results of ${where}`),
          files,
        };
        return new CompiledModule(module, new BoundedQueue({ capacity, concurrency }), known);
      } catch (error) {
        module.dispose();
        dropFolder(files);
        throw error;
      }
    });
  }

  /**
   * What a package says of itself; neither libtorch nor anything of the package is run.
   * @throws LENET5_MODEL_NOT_FOUND, LENET5_MODEL_CORRUPT, LENET5_ABORTED
   */
  static async inspect(
    source: ModelSource,
    options: Pick<CompiledModuleOptions, "signal"> = {},
  ): Promise<PackageInspection> {
    const { signal } = readOptions(options, ["signal"], "CompiledModule.inspect");
    optionalSignal(signal);
    const how = { where: modelName(source), signal };
    return await withPackage(source, "CompiledModule.inspect", how, async ({ models }) => ({
      models: [...models].map(([name, metadata]) => ({ name, metadata })),
    }));
  }

  /** Calls the model; see {@link run} for errors. */
  forward(...inputs: ScriptInput[]): Promise<ScriptValue> {
    return this.run(inputs);
  }

  /** The synchronous twin of {@link forward}; see {@link runSync}. */
  forwardSync(...inputs: ScriptInput[]): ScriptValue {
    return this.runSync(inputs);
  }

  /**
   * Calls the model with options.
   * @param inputs - the arguments by place
   * @returns the result, lists, tuples and dictionaries as in Python; a number among it is a tensor, as there
   * @throws LENET5_SCRIPT_ARGUMENTS for arguments of another number, shape or dtype than the model was compiled for;
   * LENET5_INVALID_SHAPE and LENET5_INVALID_DTYPE for tensors that contradict themselves, LENET5_INVALID_SHAPE for more than
   * five dimensions; LENET5_INVALID_ARGUMENT for a handle of a
   * tensor on another device; LENET5_SCRIPT_RAISED; LENET5_SCRIPT_UNSUPPORTED for a result that JavaScript has nothing for;
   * LENET5_QUEUE_FULL, LENET5_ABORTED, LENET5_DISPOSED
   */
  run(inputs: readonly ScriptInput[], options: CompiledRunOptions & { keep: true }): Promise<ScriptValue<TensorHandle>>;
  run(inputs?: readonly ScriptInput[], options?: CompiledRunOptions): Promise<ScriptValue>;
  async run(inputs: readonly ScriptInput[] = [], options: CompiledRunOptions = {}): Promise<unknown> {
    const { signal, ...rest } = readOptions(options, RUN_OPTIONS, "run");
    optionalSignal(signal);
    const { keywords, keep } = readRunOptions(rest);
    // Before anything is copied for a call that cannot run.
    this.#queue.check(signal);
    const { names, values } = this.#encode(inputs, keywords);
    const call = nativeCallSync(() => libtorch("CompiledModule").prepareCall([], names, values));
    const results = await this.#queue.run(() => nativeCall(() => this.#native.run(call, keep, wrapTensor)), {
      signal,
      onDropped: () => libtorch("CompiledModule").dropCall(call),
    });
    return this.#assemble(results);
  }

  /**
   * Calls the model on the calling thread and returns its result; the same values as {@link run}.
   * @throws as {@link run}; LENET5_MODEL_BUSY instead of LENET5_QUEUE_FULL, while as many calls run as `concurrency` lets
   */
  runSync(
    inputs: readonly ScriptInput[],
    options: Omit<CompiledRunOptions, "signal"> & { keep: true },
  ): ScriptValue<TensorHandle>;
  runSync(inputs?: readonly ScriptInput[], options?: Omit<CompiledRunOptions, "signal">): ScriptValue;
  runSync(inputs: readonly ScriptInput[] = [], options: Omit<CompiledRunOptions, "signal"> = {}): unknown {
    const { keywords, keep } = readRunOptions(readOptions(options, RUN_SYNC_OPTIONS, "runSync"));
    return this.#queue.runSync(() => {
      const { names, values } = this.#encode(inputs, keywords);
      return this.#assemble(nativeCallSync(() => this.#native.runSync(names, values, keep, wrapTensor)));
    });
  }

  /** The model's arguments, constants and metadata. @throws LENET5_DISPOSED */
  inspect(): CompiledModuleInspection {
    if (this.#disposed) throw disposedError();
    return structuredClone(this.#known.inspection);
  }

  /** Where the model runs, for example `cpu` or `cuda:0`. */
  get device(): string {
    return this.#known.inspection.device;
  }

  /** Calls that wait for their turn. */
  get queued(): number {
    return this.#queue.waiting;
  }

  /** True once {@link dispose} was called. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * Frees the model's memory and closes its library once its running calls are done. Calls that wait are rejected with
   * LENET5_DISPOSED, as are later ones; a second dispose does nothing.
   */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#queue.close(disposedError());
    this.#native.dispose();
    // Calls that run may read from it yet: then it goes with the process.
    if (this.#queue.running === 0) dropFolder(this.#known.files);
  }

  /** {@link dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The tensors in the order of the tree, checked. */
  #encode(
    inputs: readonly ScriptInput[],
    keywords: Readonly<Record<string, unknown>>,
  ): { names: string[]; values: EncodedValue[] } {
    if (!Array.isArray(inputs)) throw expected("INVALID_ARGUMENT", "an array of arguments", "inputs", inputs);
    const { positional, keywords: known } = this.#known;
    if (inputs.length > positional.length) {
      const most = `at most ${positional.length} by place`;
      throw expectedButGot("SCRIPT_ARGUMENTS", most, "the arguments", String(inputs.length));
    }
    for (const name of Object.keys(keywords)) {
      if (known.has(name)) continue;
      const names = [...known.keys()].map((each) => `"${each}"`).join(", ");
      throw expected("SCRIPT_ARGUMENTS", `the names of arguments (${names || "it has none"})`, "keywords", name);
    }
    const leaves: Leaf[] = [];
    for (const [i, tree] of positional.entries()) take(tree, inputs[i], `argument ${i}`, leaves);
    for (const [name, tree] of known) take(tree, keywords[name] as ScriptInput, `argument ${name}`, leaves);
    const encoder = new ArgumentEncoder("the model");
    return {
      names: leaves.map(({ name }) => name),
      values: leaves.map(({ name, value }) => encoder.encode(value, name.replace(/^argument /, ""))),
    };
  }

  #assemble(results: readonly unknown[]): unknown {
    const leaves = leafCount(this.#known.outputs);
    if (results.length !== leaves) {
      throw expectedButGot("SCRIPT_UNSUPPORTED", `${leaves} results`, "the model's tree", String(results.length));
    }
    return assemble(this.#known.outputs, results.values());
  }
}

/** The leaves of an argument; one that was left out has none. */
function take(tree: Tree, input: ScriptInput, name: string, leaves: Leaf[]): void {
  if (input !== undefined) leavesOf(tree, input, name, leaves);
}

/** Opens what a package's library needs; libtorch itself is open. @throws LENET5_SCRIPT_UNSUPPORTED */
function openNeeds(library: string, where: string): void {
  const addon = loadedAddon()!;
  const refuse = (received: string): LeNet5Error =>
    expectedButGot(
      "SCRIPT_UNSUPPORTED",
      `a package for ${inUse(addon.libtorch.libtorch)}`,
      where,
      `one whose library is ${received}`,
    );
  const needs = needsOf(library, addon.libtorch.libtorch, refuse);
  const names = needs.standIns.map(({ name }) => name);
  // By these names and not by their contents: what stands in for a library is the same for every package.
  withNeeds(needs, (first) => {
    if (first.length > 0) addon.open(first, `for compiled packages: ${[...needs.own, ...names].join(", ")}`);
  });
}
