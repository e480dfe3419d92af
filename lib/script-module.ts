// Anyone's TorchScript module: load, look into, call.
import { isExternal } from "node:util/types";
import { abortError } from "./abort.js";
import { expected } from "./errors.js";
import { type ModelSource, modelName } from "./formats/model-bytes.js";
import { operatorPaths, operatorsOfEnvironment } from "./libtorch/operators.js";
import type { EncodedValue, NativeCallArguments, NativeScriptModule } from "./native/types.js";
import { libtorch, nativeCall, nativeCallSync } from "./native.js";
import { optionalSignal, readOptions, trueOrFalse, wholeNumber } from "./options.js";
import { BoundedQueue } from "./queue.js";
import { deviceName, disposedError, type ResultOptions, readRunOptions } from "./script-module/call-options.js";
import type { ModuleInspection } from "./script-module/inspection.js";
import { loadArchive } from "./script-module/load-archive.js";
import { holdingUpLoop, loopTurn, mayHoldUpLoop } from "./script-module/loop-time.js";
import { type TensorHandle, wrapTensor } from "./script-module/tensor-handle.js";
import { ArgumentEncoder, type ScriptInput, type ScriptValue } from "./script-module/values.js";
import type { Tensor } from "./tensor.js";

/** Options of {@link ScriptModule.load}. */
export interface ScriptModuleOptions {
  /** Where the module runs: `"auto"` (an accelerator where there is one), `"cpu"`, `"cuda"`, … @defaultValue "auto" */
  device?: string;
  /** Calls that may wait for their turn; one more is refused with LENET5_QUEUE_FULL. @defaultValue 1024 */
  maxQueue?: number;
  /**
   * Calls that may run at once. More than 1 only for modules whose methods leave their own state alone; Node's thread
   * pool, which runs them, has 4 threads unless UV_THREADPOOL_SIZE says otherwise. @defaultValue 1
   */
  concurrency?: number;
  /**
   * Paths of libraries with operators that libtorch itself does not have, torchvision's `_C.so` for example, made for the
   * libtorch in use. Opened before the module, once a process, and never closed. **Such a library is code**: opening one
   * from a stranger runs a stranger's code. Those that the environment variable `LENET5_OPERATORS` names come first.
   * @defaultValue []
   */
  operators?: readonly (string | URL)[];
  /** Aborts the loading; libtorch's own part of it is never cut off. */
  signal?: AbortSignal;
}

/** Options of {@link ScriptModule.run}. */
export interface RunOptions {
  /** Arguments by name, beside or instead of those by place. */
  keywords?: Readonly<Record<string, ScriptInput>>;
  /** Takes the call back while it waits for its turn; a call that runs is never cut off. */
  signal?: AbortSignal;
  /** Leaves tensors of the result in native memory, as {@link TensorHandle}s. @defaultValue false */
  keep?: boolean;
  /** How ints come back: as numbers where 53 bits hold them, or always as bigints. @defaultValue "number" */
  integers?: "number" | "bigint";
}

/** Options of {@link ScriptModule.runSync}; as {@link RunOptions}, without `signal`: nothing can abort what blocks. */
export type RunSyncOptions = Omit<RunOptions, "signal">;

/** Options of {@link ScriptModule.parameters} and {@link ScriptModule.buffers}. */
export interface TensorsOptions {
  /** As handles of the module's own tensors instead of copies. @defaultValue false */
  keep?: boolean;
  /** Takes the call back while it waits for its turn. */
  signal?: AbortSignal;
}

/** Options of {@link ScriptModule.warmUp}. */
export interface WarmUpOptions {
  /** Method to call. @defaultValue "forward" */
  method?: string;
  /** Number of calls, at most 1,000. @defaultValue 3 */
  runs?: number;
  /** Aborts the call before its next run. */
  signal?: AbortSignal;
}

const LOAD_OPTIONS = ["device", "maxQueue", "concurrency", "operators", "signal"] as const;
const RUN_SYNC_OPTIONS = ["keywords", "keep", "integers"] as const;
const RUN_OPTIONS = [...RUN_SYNC_OPTIONS, "signal"] as const;

/**
 * A TorchScript module that PyTorch saved (`torch.jit.save`). **A TorchScript file is code**: loading and calling one
 * from a stranger runs a stranger's code, with the rights of this process.
 *
 * Calls run off the event loop, in order of arrival, or here and now ({@link ScriptModule.runSync}); inputs are copied
 * when a call is made, so their arrays may change at once. Where nearly all calls before it, with arguments of the same
 * shapes and values, took less than 0.75 ms, an awaited call on the CPU runs on the calling thread, which is quicker than
 * the way to another; after 1 ms of such calls one of them leaves the event loop its turn. The module is in evaluation
 * mode and computes no gradients.
 */
export class ScriptModule {
  readonly #native: NativeScriptModule;
  readonly #queue: BoundedQueue;
  readonly #extraFiles: ReadonlyMap<string, Uint8Array>;
  #inspection: ModuleInspection;
  #disposed = false;
  /** Whether a call that is under way waits for the event loop before it takes the module: one at a time does. */
  #turning = false;

  private constructor(module: NativeScriptModule, queue: BoundedQueue) {
    this.#native = module;
    this.#queue = queue;
    this.#extraFiles = new Map(module.extraFiles());
    this.#inspection = this.#described(module.inspect());
  }

  /**
   * Loads a module from a file or from a file's contents. `ScriptModule.load<Mlp>(…)` gives it the type that
   * `lenet5 inspect --emit-types` wrote; nothing checks that the file fits.
   * @throws LENET5_MODEL_NOT_FOUND; LENET5_MODEL_CORRUPT for anything but a whole archive; LENET5_SCRIPT_UNSUPPORTED for
   * operators or a file version that this libtorch does not know; LENET5_OPERATORS_NOT_FOUND and
   * LENET5_OPERATORS_UNUSABLE for libraries of operators, LENET5_LIBTORCH_MIXED for one that brings a libtorch along;
   * LENET5_DEVICE_UNAVAILABLE; LENET5_ABORTED; the errors of opening libtorch, as for `libtorchVersion`
   */
  static load(source: ModelSource, options?: ScriptModuleOptions): Promise<ScriptModule>;
  static load<M extends Omit<ScriptModule, "forward" | "call">>(
    source: ModelSource,
    options?: ScriptModuleOptions,
  ): Promise<M>;
  static async load(source: ModelSource, options: ScriptModuleOptions = {}): Promise<ScriptModule> {
    const read = readOptions(options, LOAD_OPTIONS, "ScriptModule.load");
    const { device = "auto", maxQueue = 1024, concurrency = 1, operators = [], signal } = read;
    optionalSignal(signal);
    deviceName(device);
    const capacity = wholeNumber(maxQueue, "maxQueue", 0);
    wholeNumber(concurrency, "concurrency", 1, 1024);
    const libraries = [...operatorsOfEnvironment(), ...operatorPaths(operators)];
    const where = modelName(source);
    const module = await loadArchive(source, "ScriptModule.load", { where, device, libraries, signal });
    if (signal?.aborted) {
      module.dispose();
      throw abortError(signal);
    }
    return new ScriptModule(module, new BoundedQueue({ capacity, concurrency }));
  }

  /**
   * What a file has, as {@link inspect} tells it of a loaded module: without its weights, so that a file of any size takes
   * next to no memory. Where loading may look at them (a `__setstate__`, quantized parameters) they are read nevertheless.
   * @throws as {@link load}
   */
  static async inspect(
    source: ModelSource,
    options: Pick<ScriptModuleOptions, "operators" | "signal"> = {},
  ): Promise<ModuleInspection> {
    const { operators = [], signal } = readOptions(options, ["operators", "signal"], "ScriptModule.inspect");
    optionalSignal(signal);
    const libraries = [...operatorsOfEnvironment(), ...operatorPaths(operators)];
    const how = { where: modelName(source), device: "cpu", libraries, signal, withoutTensors: true };
    let extraFiles: ModuleInspection["extraFiles"] = [];
    const module = await loadArchive(source, "ScriptModule.inspect", how, (archive) => {
      extraFiles = [...archive.extraFiles];
    });
    try {
      if (signal?.aborted) throw abortError(signal);
      return { ...nativeCallSync(() => module.inspect()), extraFiles };
    } finally {
      module.dispose();
    }
  }

  /** Calls `forward`; see {@link run} for errors. */
  forward(...inputs: ScriptInput[]): Promise<ScriptValue> {
    return this.run("forward", inputs);
  }

  /** The synchronous twin of {@link forward}; see {@link runSync}. */
  forwardSync(...inputs: ScriptInput[]): ScriptValue {
    return this.runSync("forward", inputs);
  }

  /** Calls any method; see {@link run} for errors. */
  call(method: string, ...args: ScriptInput[]): Promise<ScriptValue> {
    return this.run(method, args);
  }

  /**
   * Calls a method with options.
   * @throws LENET5_SCRIPT_METHOD_NOT_FOUND; LENET5_SCRIPT_ARGUMENTS, LENET5_INVALID_SHAPE and LENET5_INVALID_DTYPE for
   * arguments that do not fit; LENET5_INVALID_ARGUMENT for a handle of a tensor on another device; LENET5_SCRIPT_RAISED
   * with the model's own message and source line (the whole TorchScript traceback is in `detail`);
   * LENET5_SCRIPT_UNSUPPORTED for a result that JavaScript has nothing for; LENET5_QUEUE_FULL, LENET5_ABORTED,
   * LENET5_DISPOSED
   */
  run(
    method: string,
    args: readonly ScriptInput[],
    options: RunOptions & { keep: true },
  ): Promise<ScriptValue<TensorHandle>>;
  run(method: string, args?: readonly ScriptInput[], options?: RunOptions): Promise<ScriptValue>;
  async run(method: string, args: readonly ScriptInput[] = [], options: RunOptions = {}): Promise<unknown> {
    this.#checkCall(method, args);
    const { signal, ...rest } = readOptions(options, RUN_OPTIONS, "run");
    optionalSignal(signal);
    const { keywords, ...results } = readRunOptions(rest);
    // Before anything is copied for a call that cannot run.
    this.#queue.check(signal);
    const call = this.#encode(method, args, keywords);
    // Reading the arguments may run the caller's code, which may make calls of its own.
    if (!this.#queue.idle) return this.#start(method, prepared(call), results, signal);
    if (!mayHoldUpLoop()) return this.#startNextTurn(method, prepared(call), results, signal);
    const { positional, names, values } = call;
    const { keep, bigIntegers } = results;
    const made = this.#queue.runSync(() =>
      holdingUpLoop(() =>
        nativeCallSync(() => this.#native.runIfShort(method, positional, names, values, keep, bigIntegers, wrapTensor)),
      ),
    );
    return isExternal(made) ? this.#start(method, made as NativeCallArguments, results, signal) : made;
  }

  /**
   * Calls a method on the calling thread and returns its result: for small modules, where the way to another thread and
   * back takes longer than the call, and where no event loop is to be kept free. The same values as {@link run}.
   * @throws as {@link run}; LENET5_MODEL_BUSY instead of LENET5_QUEUE_FULL, while as many calls run as `concurrency` lets
   */
  runSync(
    method: string,
    args: readonly ScriptInput[],
    options: RunSyncOptions & { keep: true },
  ): ScriptValue<TensorHandle>;
  runSync(method: string, args?: readonly ScriptInput[], options?: RunSyncOptions): ScriptValue;
  runSync(method: string, args: readonly ScriptInput[] = [], options: RunSyncOptions = {}): unknown {
    this.#checkCall(method, args);
    const { keywords, keep, bigIntegers } = readRunOptions(readOptions(options, RUN_SYNC_OPTIONS, "runSync"));
    return this.#queue.runSync(() => {
      const { positional, names, values } = this.#encode(method, args, keywords);
      return nativeCallSync(() =>
        this.#native.runSync(method, positional, names, values, keep, bigIntegers, wrapTensor),
      );
    });
  }

  #checkCall(method: unknown, args: unknown): void {
    if (typeof method !== "string") throw expected("INVALID_ARGUMENT", "a method's name", "method", method);
    if (!Array.isArray(args)) throw expected("INVALID_ARGUMENT", "an array of arguments", "args", args);
  }

  #start(
    method: string,
    call: NativeCallArguments,
    { keep, bigIntegers }: ResultOptions,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    const run = () => nativeCall(() => this.#native.run(method, call, keep, bigIntegers, wrapTensor));
    return this.#queue.run(run, { signal, onDropped: () => libtorch("ScriptModule").dropCall(call) });
  }

  /**
   * Has the event loop turn once; then a short call is made here, another one as by {@link #start}. So is one beside which
   * another has begun meanwhile, where several may run: that may have the module to itself for long (`to`, `parameters`).
   */
  #startNextTurn(
    method: string,
    call: NativeCallArguments,
    { keep, bigIntegers }: ResultOptions,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    const run = async () => {
      this.#turning = true;
      await loopTurn();
      try {
        if (mayHoldUpLoop() && this.#queue.running === 1) {
          const made = holdingUpLoop(() =>
            nativeCallSync(() => this.#native.runPreparedIfShort(method, call, keep, bigIntegers, wrapTensor)),
          );
          if (made !== call) return made;
        }
        // It has taken the module when it returns its promise.
        return nativeCall(() => this.#native.run(method, call, keep, bigIntegers, wrapTensor));
      } finally {
        this.#turning = false;
        if (this.#disposed) this.#native.dispose();
      }
    };
    return this.#queue.run(run, { signal, onDropped: () => libtorch("ScriptModule").dropCall(call) });
  }

  /**
   * Calls a method a few times and drops the results: the first two runs of TorchScript code are slow, because libtorch
   * watches the one and optimises before the other. Not for a module whose calls change its state.
   * @param inputs - typical inputs: libtorch optimises for their dtypes and shapes; copied before the call returns
   * @throws as {@link run}
   */
  async warmUp(inputs: readonly ScriptInput[], options: WarmUpOptions = {}): Promise<void> {
    const { method = "forward", runs = 3, signal } = readOptions(options, ["method", "runs", "signal"], "warmUp");
    wholeNumber(runs, "runs", 1, 1000);
    optionalSignal(signal);
    this.#checkCall(method, inputs);
    this.#queue.check(signal);
    // Copied here and now, once a run: the caller may write into the inputs while the first one is under way.
    const calls = Array.from({ length: runs }, () => this.#prepare(method, inputs, {}));
    try {
      for (let call = calls.shift(); call !== undefined; call = calls.shift()) {
        await this.#start(method, call, { keep: true, bigIntegers: false }, signal);
      }
    } finally {
      for (const call of calls) libtorch("ScriptModule").dropCall(call);
    }
  }

  /** Methods with their signatures, parameters, buffers, attributes and extra files: as of load, or of the last `to`. */
  inspect(): ModuleInspection {
    this.#check();
    return structuredClone(this.#inspection);
  }

  /** Files that were saved with the module (`_extra_files` in Python), by name. */
  get extraFiles(): ReadonlyMap<string, Uint8Array> {
    return this.#extraFiles;
  }

  /**
   * Moves the module when its running calls are done.
   * @param options - `signal`: takes the call back while it waits for its turn
   * @throws LENET5_DEVICE_UNAVAILABLE, LENET5_QUEUE_FULL, LENET5_ABORTED, LENET5_DISPOSED
   */
  async to(device: string, options: { signal?: AbortSignal } = {}): Promise<this> {
    const name = deviceName(device);
    const { signal } = readOptions(options, ["signal"], "to");
    optionalSignal(signal);
    const inspection = await this.#queue.run(() => nativeCall(() => this.#native.to(name)), { signal });
    this.#inspection = this.#described(inspection);
    return this;
  }

  /** The parameters by their state-dict names, as copies. */
  parameters(options: TensorsOptions & { keep: true }): Promise<Record<string, TensorHandle>>;
  parameters(options?: TensorsOptions): Promise<Record<string, Tensor>>;
  parameters(options: TensorsOptions = {}): Promise<unknown> {
    return this.#tensors("parameters", options);
  }

  /** The buffers (tensors that are state but not trained) by their state-dict names, as copies. */
  buffers(options: TensorsOptions & { keep: true }): Promise<Record<string, TensorHandle>>;
  buffers(options?: TensorsOptions): Promise<Record<string, Tensor>>;
  buffers(options: TensorsOptions = {}): Promise<unknown> {
    return this.#tensors("buffers", options);
  }

  /** Where the module runs, for example `cpu` or `cuda:0`. */
  get device(): string {
    return this.#inspection.device;
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
   * Frees the module's memory once its running calls are done. Calls that wait are rejected with LENET5_DISPOSED, as are
   * later ones; a second dispose does nothing.
   */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#queue.close(disposedError());
    if (!this.#turning) this.#native.dispose();
  }

  /** {@link dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #check(): void {
    if (this.#disposed) throw disposedError();
  }

  #described(inspection: ModuleInspection): ModuleInspection {
    const extraFiles = [...this.#extraFiles].map(([name, contents]) => ({ name, bytes: contents.length }));
    return { ...inspection, extraFiles };
  }

  async #tensors(which: "parameters" | "buffers", options: TensorsOptions): Promise<unknown> {
    const { keep = false, signal } = readOptions(options, ["keep", "signal"], which);
    trueOrFalse(keep, "keep");
    optionalSignal(signal);
    return this.#queue.run(() => nativeCall(() => this.#native.tensors(which, keep, wrapTensor)), { signal });
  }

  /** Checks the arguments and copies them into native memory. */
  #prepare(method: string, args: readonly unknown[], keywords: Readonly<Record<string, unknown>>): NativeCallArguments {
    return prepared(this.#encode(method, args, keywords));
  }

  /** Checks the arguments. */
  #encode(method: string, args: readonly unknown[], keywords: Readonly<Record<string, unknown>>): EncodedCall {
    const known = this.#inspection.methods.find((each) => each.name === method);
    const encoder = new ArgumentEncoder(method);
    const positional = Array.from(args, (each, i) => encoder.encode(each, known?.arguments[i]?.name ?? String(i)));
    const names: string[] = [];
    const values: EncodedValue[] = [];
    for (const [name, value] of Object.entries(keywords)) {
      if (value === undefined) continue;
      names.push(name);
      values.push(encoder.encode(value, name));
    }
    return { positional, names, values };
  }
}

interface EncodedCall {
  positional: EncodedValue[];
  names: string[];
  values: EncodedValue[];
}

/** Copies checked arguments into native memory. */
function prepared({ positional, names, values }: EncodedCall): NativeCallArguments {
  return nativeCallSync(() => libtorch("ScriptModule").prepareCall(positional, names, values));
}
