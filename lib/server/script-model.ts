// Anyone's TorchScript module behind the server's interface: tensors by the names of forward's arguments, tensors out.
import { expected, expectedButGot, LeNet5Error } from "../errors.js";
import {
  imageFormatOf,
  imageTensor,
  type ModuleInspection,
  type ScriptModule,
  type ScriptType,
  type ScriptValue,
} from "../index.js";
import { isMap, isObject } from "../is.js";
import { ARRAY_OF, readTensor, type Tensor, type TensorData } from "../tensor.js";
import { Batcher, type BatchInput } from "./batcher.js";
import { checkImage } from "./image-body.js";
import type { LoadedModel, LoadedModelOptions } from "./loaded-model.js";
import type { ImageConfig } from "./model-config.js";
import { jsonOf } from "./raw-body.js";
import type { InferOptions, Inputs, RawRequest, TensorSpec } from "./served-model.js";
import { nestedValues, shapeOfNested, tensorFromJson } from "./tensor-json.js";

/** Product of the sizes of a tensor without elements, but for those that are 0. */
const LARGEST_EMPTY = 2 ** 24;

/** What a model's config.json says of a module. */
export interface ScriptModelOptions extends LoadedModelOptions {
  readonly inputs?: readonly TensorSpec[];
  readonly outputs?: readonly TensorSpec[];
  /** How an image becomes the one input. */
  readonly image?: ImageConfig;
  /** Shapes of typical inputs. */
  readonly warmUp?: readonly (readonly number[])[];
}

interface Arguments extends BatchInput {
  /** By place; undefined leaves an optional one out. */
  readonly tensors: readonly (Tensor | undefined)[];
}

interface Input extends TensorSpec {
  readonly optional: boolean;
}

type Named = readonly (readonly [string, Tensor])[];

/** A TorchScript module that is served. */
export class ScriptModel implements LoadedModel {
  readonly kind = "torchscript";
  readonly inputs: readonly Input[];
  readonly #module: ScriptModule;
  readonly #options: ScriptModelOptions;
  readonly #batcher: Batcher<Arguments, Named>;
  #outputs: readonly TensorSpec[];

  /** @throws LENET5_SCRIPT_UNSUPPORTED where forward takes something other than tensors */
  constructor(module: ScriptModule, options: ScriptModelOptions) {
    this.#module = module;
    this.#options = options;
    const forward = forwardOf(module.inspect());
    this.inputs = inputsOf(forward, options.inputs);
    this.#outputs = options.outputs ?? outputsOf(forward.returns);
    this.#batcher = new Batcher((batch) => this.#run(batch), options.limits, options.observer);
  }

  /** Those of config.json or of the signature; where neither says, those of the first answer. */
  get outputs(): readonly TensorSpec[] {
    return this.#outputs;
  }

  get queued(): number {
    return this.#batcher.queued;
  }

  async infer(inputs: Inputs, options?: InferOptions): Promise<ReadonlyMap<string, Tensor>> {
    const made =
      typeof inputs === "function"
        ? this.#batcher.submitMade(async () => this.#arguments(await inputs()), options)
        : this.#batcher.submit(this.#arguments(inputs), options);
    return new Map(await made);
  }

  async respond({ body, contentType }: RawRequest, options?: InferOptions): Promise<unknown> {
    const { image } = this.#options;
    const isImage = contentType.startsWith("image/") || imageFormatOf(body) !== undefined;
    let named: Named;
    if (isImage) {
      if (image === undefined) {
        const received = "an image, which config.json says nothing of (`image`)";
        throw expectedButGot("REQUEST_INVALID", "tensors as JSON", "the request body", received);
      }
      checkImage(body, "the request body");
      named = await this.#batcher.submitMade(async () => this.#fromImage(body, image), options);
    } else {
      const json = jsonOf(body);
      if (json === undefined) {
        throw expectedButGot("REQUEST_INVALID", "tensors as JSON", "the request body", `${body.length} other bytes`);
      }
      named = await this.#batcher.submit(this.#arguments(this.#tensorsOf(json.value)), options);
    }
    const plain = named.map(([name, tensor]) => [name, nestedValues(tensor)] as const);
    return plain.length === 1 ? plain[0]![1] : Object.fromEntries(plain);
  }

  async #fromImage(body: Uint8Array, image: ImageConfig): Promise<Arguments> {
    const tensor = await imageTensor([body], image);
    const { name } = this.inputs[0]!;
    return this.#arguments(new Map([[name, tensor]]));
  }

  #tensorsOf(value: unknown): Map<string, Tensor> {
    const byName = isObject(value) && !Array.isArray(value) ? value : { [this.inputs[0]?.name ?? "input"]: value };
    return new Map(
      Object.entries(byName).map(([name, nested]) => {
        const spec = this.inputs.find((input) => input.name === name);
        return [name, tensorFromJson(nested, shapeOfNested(nested, name), spec?.dtype ?? "float32", name)];
      }),
    );
  }

  async warmUp(): Promise<void> {
    const shapes = this.#options.warmUp;
    if (shapes === undefined) return;
    const inputs = this.inputs.slice(0, shapes.length).map(({ dtype = "float32" }, i) => zeros(shapes[i]!, dtype));
    await this.#module.warmUp(inputs);
    const value = await this.#module.run("forward", inputs);
    if (this.#outputs.length === 0) this.#outputs = namedTensors(value).map(([name]) => anyTensor(name));
  }

  idle(): Promise<void> {
    return this.#batcher.idle();
  }

  dispose(): void {
    this.#module.dispose();
  }

  /** Copies of a request's tensors, by place. */
  #arguments(given: ReadonlyMap<string, Tensor>): Arguments {
    let kind = "";
    let rows = 1;
    let taken = 0;
    const tensors = this.inputs.map((spec) => {
      const each = given.get(spec.name);
      if (each === undefined) {
        if (spec.optional) {
          kind += "-;";
          return undefined;
        }
        const received = [...given.keys()].slice(0, 8);
        throw expected("SCRIPT_ARGUMENTS", `the tensor ${spec.name}`, "the inputs", received);
      }
      const { data, shape, dtype } = readTensor(each, spec.name);
      checkAgainst(spec, shape, dtype);
      if (data.length === 0) checkEmpty(spec.name, shape);
      if (taken++ === 0) rows = shape[0] ?? 0;
      else if (rows !== (shape[0] ?? 0)) rows = 0;
      kind += `${dtype} ${shape.slice(1).join()};`;
      return { data: copyOf(data), shape, dtype } as Tensor;
    });
    if (taken !== given.size) {
      const names = this.inputs.map(({ name }) => name).join(", ");
      throw expected("SCRIPT_ARGUMENTS", `tensors of the names ${names}`, "the inputs", [...given.keys()].slice(0, 8));
    }
    // What has no common first dimension shares no pass: it fills one.
    if (rows === 0) return { kind: `alone ${kind}`, rows: this.#options.limits.maxBatchSize, tensors };
    return { kind, rows, tensors };
  }

  async #run(batch: readonly Arguments[]): Promise<Named[]> {
    const [first] = batch as readonly [Arguments];
    const inputs = batch.length === 1 ? first.tensors : first.tensors.map((_, at) => joined(batch, at));
    const named = this.#named(await this.#module.run("forward", inputs));
    if (batch.length === 1) return [named];
    let rows = 0;
    for (const one of batch) rows += one.rows;
    // Rather no answer than a neighbour's.
    for (const [name, { shape }] of named) {
      if (shape[0] === rows) continue;
      throw new LeNet5Error("NATIVE_FAILURE", `Expected ${rows} rows of ${name} but received [${shape.join(", ")}]`);
    }
    let start = 0;
    return batch.map((one) => {
      const rowsBefore = start;
      start += one.rows;
      return named.map(([name, tensor]) => [name, rowsOf(tensor, rowsBefore, start)] as const);
    });
  }

  #named(value: ScriptValue): Named {
    const named = namedTensors(value);
    const names = this.#outputs;
    if (names.length === 0) this.#outputs = named.map(([name]) => anyTensor(name));
    else if (names.length !== named.length) {
      throw new LeNet5Error(
        "NATIVE_FAILURE",
        `Expected ${names.length} tensors of forward but received ${named.length}`,
      );
    }
    // config.json may call them what it likes.
    return isDictionary(value) ? named : named.map(([name, tensor], i) => [names[i]?.name ?? name, tensor] as const);
  }
}

type Method = ModuleInspection["methods"][number];

function forwardOf({ methods }: ModuleInspection): Method {
  const forward = methods.find(({ name }) => name === "forward");
  if (forward === undefined)
    throw new LeNet5Error("SCRIPT_METHOD_NOT_FOUND", "Expected a module with forward but received one without");
  return forward;
}

/** Whether a type is a tensor, or an optional one. */
function isTensor({ kind, inner }: ScriptType): boolean {
  return kind === "Tensor" || (kind === "Optional" && inner?.[0]?.kind === "Tensor");
}

function inputsOf(forward: Method, given: readonly TensorSpec[] | undefined): Input[] {
  const taken = [];
  for (const argument of forward.arguments) {
    if (isTensor(argument.type)) taken.push(argument);
    else if (argument.optional) break;
    else {
      const received = `${argument.name}: ${argument.type.text}`;
      throw expectedButGot(
        "SCRIPT_UNSUPPORTED",
        "tensors alone",
        "the arguments of a served module's forward",
        received,
      );
    }
  }
  if (given !== undefined && given.length > taken.length) {
    throw expectedButGot(
      "INVALID_OPTION",
      `at most ${taken.length} tensors`,
      "inputs in config.json",
      `${given.length}`,
    );
  }
  return taken.map(({ name, optional }, i) => ({ ...(given?.[i] ?? anyTensor(name)), optional }));
}

/** By what forward is declared to return; empty where that leaves the number open. */
function outputsOf(type: ScriptType): TensorSpec[] {
  if (isTensor(type)) return [anyTensor("output0")];
  if ((type.kind !== "Tuple" && type.kind !== "NamedTuple") || !type.inner?.every(isTensor)) return [];
  return type.inner.map((_, i) => anyTensor(`output${i}`));
}

function anyTensor(name: string): TensorSpec {
  return { name, dtype: undefined, shape: undefined };
}

function checkAgainst(spec: TensorSpec, shape: readonly number[], dtype: string): void {
  if (spec.dtype !== undefined && dtype !== spec.dtype) {
    throw expected("INVALID_DTYPE", spec.dtype, `${spec.name}.dtype`, dtype);
  }
  if (spec.shape === undefined) return;
  const fits = spec.shape.length === shape.length && spec.shape.every((size, i) => size === -1 || size === shape[i]);
  if (!fits)
    throw expectedButGot("INVALID_SHAPE", `[${spec.shape.join(", ")}]`, `${spec.name}.shape`, `[${shape.join(", ")}]`);
}

/**
 * A tensor without elements costs its sender nothing, whatever its other sizes are; a module may make memory of them: the
 * sum over the last dimension of [1000000000, 0] is a thousand million zeros.
 */
function checkEmpty(name: string, shape: readonly number[]): void {
  const others = shape.reduce((product, size) => (size === 0 ? product : product * size), 1);
  if (others <= LARGEST_EMPTY) return;
  const want = `sizes beside the 0 of at most ${LARGEST_EMPTY} together`;
  throw expectedButGot("INVALID_SHAPE", want, `${name}.shape`, `[${shape.join(", ")}]`);
}

function copyOf(data: TensorData): TensorData {
  return new (data.constructor as new (from: TensorData) => TensorData)(data);
}

function zeros(shape: readonly number[], dtype: Tensor["dtype"]): Tensor {
  const count = shape.reduce((product, size) => product * size, dtype.startsWith("complex") ? 2 : 1);
  const Data = ARRAY_OF[dtype];
  return { data: new Data(new ArrayBuffer(count * bytesOf(dtype))), shape, dtype } as Tensor;
}

function bytesOf(dtype: Tensor["dtype"]): number {
  return (ARRAY_OF[dtype] as unknown as { BYTES_PER_ELEMENT: number }).BYTES_PER_ELEMENT;
}

/** One argument of all requests of a batch, one below the other. */
function joined(batch: readonly Arguments[], at: number): Tensor | undefined {
  const first = batch[0]!.tensors[at];
  if (first === undefined) return undefined;
  let length = 0;
  let rows = 0;
  for (const { tensors } of batch) {
    length += tensors[at]!.data.length;
    rows += tensors[at]!.shape[0]!;
  }
  const data = new ARRAY_OF[first.dtype](new ArrayBuffer(length * bytesOf(first.dtype)));
  let start = 0;
  for (const { tensors } of batch) {
    (data as Float32Array).set(tensors[at]!.data as Float32Array, start);
    start += tensors[at]!.data.length;
  }
  return { data, shape: [rows, ...first.shape.slice(1)], dtype: first.dtype } as Tensor;
}

/** Rows of a tensor, copied: none holds the memory of the whole batch. */
function rowsOf({ data, shape, dtype }: Tensor, start: number, end: number): Tensor {
  const width = shape[0] === 0 ? 0 : data.length / shape[0]!;
  const part = (data as Float32Array).slice(start * width, end * width);
  return { data: part, shape: [end - start, ...shape.slice(1)], dtype } as Tensor;
}

function isTensorValue(value: unknown): value is Tensor {
  return isObject(value) && "data" in value && "shape" in value && "dtype" in value;
}

function isDictionary(value: unknown): value is Record<string, unknown> {
  return isObject(value) && !Array.isArray(value) && !isMap(value) && !isTensorValue(value);
}

/** What forward gave: a tensor, several of them, or a dictionary of them. */
function namedTensors(value: ScriptValue): Named {
  const entries: [string, unknown][] = isDictionary(value)
    ? Object.entries(value)
    : (Array.isArray(value) ? value : [value]).map((each, i) => [`output${i}`, each]);
  for (const [name, each] of entries) {
    if (!isTensorValue(each)) {
      throw expected("SCRIPT_UNSUPPORTED", "tensors", `what a served module's forward gives (${name})`, each);
    }
  }
  return entries as [string, Tensor][];
}
