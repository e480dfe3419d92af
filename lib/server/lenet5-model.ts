// LeNet-5 behind the server's interface: images in, log-probabilities, probabilities and labels out.
//
// One pass through the network gives the log-probabilities, from which the rest is made. A batch of the usual size takes a
// fraction of a millisecond on the fused engine, less than the way to another thread and back: it runs here and now.
import { expected, expectedButGot, LeNet5Error } from "../errors.js";
import { decodeDigit, decodeDigitSync, imageFormatOf, type LeNet5 } from "../index.js";
import { isFloat32Array, isObject } from "../is.js";
import { readTensor, type Tensor } from "../tensor.js";
import { Batcher, type BatchInput } from "./batcher.js";
import { checkImage } from "./image-body.js";
import type { LoadedModel, LoadedModelOptions } from "./loaded-model.js";
import { jsonOf } from "./raw-body.js";
import type { InferOptions, Inputs, RawRequest, TensorSpec } from "./served-model.js";
import { shapeOfNested, tensorFromJson } from "./tensor-json.js";

/** Images up to which a pass runs on the calling thread. */
const QUICK = 256;
const SIDE = 28;
const PIXELS = SIDE * SIDE;
const INPUT = "input0";
/** Elements of a slab: 64 images. */
const SLAB = 64 * PIXELS;

interface Images extends BatchInput {
  readonly data: Float32Array | Uint8Array;
  /** Pixels of an image: 784 or 1024. */
  readonly size: number;
}

/** A LeNet-5 that is served. */
export class LeNet5Model implements LoadedModel {
  readonly kind = "lenet5";
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly classNames: readonly string[];
  readonly #model: LeNet5;
  readonly #batcher: Batcher<Images, Float32Array>;
  readonly #quick: boolean;
  readonly #floats = new Slab(Float32Array);
  readonly #bytes = new Slab(Uint8Array);
  #answers = new Float32Array(0);

  constructor(model: LeNet5, { limits, observer }: LoadedModelOptions) {
    this.#model = model;
    this.#quick = model.engine === "fused";
    this.classNames = model.classNames;
    const classes = [-1, model.numClasses];
    this.inputs = [{ name: INPUT, dtype: "float32", shape: [-1, 1, SIDE, SIDE] }];
    this.outputs = [
      { name: "output0", dtype: "float32", shape: classes },
      { name: "probabilities", dtype: "float32", shape: classes },
      { name: "label", dtype: "int64", shape: [-1] },
    ];
    this.#batcher = new Batcher((batch) => this.#run(batch), limits, observer);
  }

  get queued(): number {
    return this.#batcher.queued;
  }

  async infer(inputs: Inputs, options?: InferOptions): Promise<ReadonlyMap<string, Tensor>> {
    let logs: Float32Array;
    if (typeof inputs === "function") {
      logs = await this.#batcher.submitMade(async () => this.#imagesOf(await inputs()), options);
    } else {
      const images = this.#imagesOf(inputs);
      logs = images.rows === 0 ? new Float32Array(0) : await this.#batcher.submit(images, options);
    }
    return this.#outputsOf(logs, logs.length / this.#model.numClasses, options?.outputs);
  }

  /** What is asked for: exponentials and 64-bit integers take as long as the network. */
  #outputsOf(logs: Float32Array, count: number, asked: readonly string[] | undefined): Map<string, Tensor> {
    const classes = this.#model.numClasses;
    const isAsked = (name: string): boolean => asked === undefined || asked.includes(name);
    const outputs = new Map<string, Tensor>();
    if (isAsked("output0")) outputs.set("output0", { data: logs, shape: [count, classes], dtype: "float32" });
    if (isAsked("probabilities")) {
      outputs.set("probabilities", { data: logs.map(Math.exp), shape: [count, classes], dtype: "float32" });
    }
    if (isAsked("label")) {
      const labels = new BigInt64Array(count);
      for (let i = 0; i < count; i++) labels[i] = BigInt(best(logs, i * classes, classes));
      outputs.set("label", { data: labels, shape: [count], dtype: "int64" });
    }
    return outputs;
  }

  async respond({ body }: RawRequest, options?: InferOptions): Promise<unknown> {
    this.#batcher.checkRoom();
    const images = pixelsOf(body);
    const logs = await (images === undefined
      ? this.#batcher.submitMade(async () => digit(await decodeDigit({ image: body })), options)
      : this.#batcher.submit(images, options));
    // In single precision, as a tensor has it; one loop takes a fifth of the time of map and Array.from.
    const probabilities: number[] = [];
    for (const log of logs) probabilities.push(Math.fround(Math.exp(log)));
    const label = best(logs, 0, logs.length);
    return { label: this.classNames[label], probability: probabilities[label], probabilities };
  }

  /** A copy of the images of a request's tensor. @throws LENET5_SCRIPT_ARGUMENTS, LENET5_INVALID_DTYPE, LENET5_INVALID_SHAPE */
  #imagesOf(inputs: ReadonlyMap<string, Tensor>): Images {
    const tensor = inputs.get(INPUT);
    if (tensor === undefined || inputs.size !== 1) {
      throw expected("SCRIPT_ARGUMENTS", `one tensor, ${INPUT},`, "the inputs", [...inputs.keys()]);
    }
    const { data, shape, dtype } = readTensor(tensor, INPUT);
    if (dtype !== "float32" && dtype !== "uint8") {
      throw expected("INVALID_DTYPE", "float32 or uint8", `${INPUT}.dtype`, dtype);
    }
    const size = imageSize(shape);
    if (size === undefined) {
      const received = `[${shape.slice(0, 8).join(", ")}${shape.length > 8 ? ", …" : ""}]`;
      throw expectedButGot("INVALID_SHAPE", "[N, 1, 28, 28] (or [N, 1, 32, 32])", `${INPUT}.shape`, received);
    }
    const copy = isFloat32Array(data) ? this.#floats.copyOf(data) : this.#bytes.copyOf(data as Uint8Array);
    return { kind: `${dtype} ${size}`, rows: copy.length / size, data: copy, size };
  }

  async warmUp(): Promise<void> {
    await this.#run([digit(new Uint8Array(PIXELS))]);
  }

  idle(): Promise<void> {
    return this.#batcher.idle();
  }

  dispose(): void {
    this.#model.dispose();
  }

  #run(batch: readonly Images[]): Float32Array[] | Promise<Float32Array[]> {
    const { size } = batch[0]!;
    let rows = 0;
    for (const one of batch) rows += one.rows;
    const pixels = this.#joined(batch, rows * size);
    if (this.#quick && rows <= QUICK) {
      const length = rows * this.#model.numClasses;
      if (this.#answers.length < length) this.#answers = new Float32Array(2 * length);
      const answer = this.#model.forwardSync(tensorOf(pixels, rows, size), { output: this.#answers });
      return this.#split(batch, answer, rows);
    }
    return this.#model.forward(tensorOf(pixels, rows, size)).then((answer) => this.#split(batch, answer, rows));
  }

  /** The pixels of a batch in one array; where its requests came one after the other, they lie so already. */
  #joined(batch: readonly Images[], length: number): Float32Array | Uint8Array {
    const { data: first } = batch[0]!;
    if (batch.length === 1) return first;
    let end = first.byteOffset;
    const isOne = batch.every(({ data }) => {
      const follows = data.buffer === first.buffer && data.byteOffset === end;
      end += data.byteLength;
      return follows;
    });
    const isFloats = isFloat32Array(first);
    if (isOne) return new (isFloats ? Float32Array : Uint8Array)(first.buffer as ArrayBuffer, first.byteOffset, length);
    const joined = new (isFloats ? Float32Array : Uint8Array)(length);
    let at = 0;
    for (const { data } of batch) {
      joined.set(data, at);
      at += data.length;
    }
    return joined;
  }

  #split(batch: readonly Images[], { data, shape }: Tensor<"float32">, rows: number): Float32Array[] {
    const classes = this.#model.numClasses;
    // Rather no answer than a neighbour's.
    if (shape[0] !== rows || data.length !== rows * classes) {
      throw new LeNet5Error("NATIVE_FAILURE", `Expected ${rows} predictions but received ${shape[0]}`);
    }
    let at = 0;
    return batch.map((one) => {
      const start = at;
      at += one.rows * classes;
      return data.slice(start, at);
    });
  }
}

/** Hands out parts of larger arrays: an array of its own for each request costs more than the copy into it. */
class Slab<T extends Float32Array | Uint8Array> {
  readonly #make: new (
    length: number,
  ) => T;
  #array: T;
  #at = 0;

  constructor(make: new (length: number) => T) {
    this.#make = make;
    this.#array = new make(0);
  }

  copyOf(source: ArrayLike<number>): T {
    const { length } = source;
    if (length > SLAB / 8) {
      const own = new this.#make(length);
      own.set(source);
      return own;
    }
    if (this.#at + length > this.#array.length) {
      this.#array = new this.#make(SLAB);
      this.#at = 0;
    }
    const part = this.#array.subarray(this.#at, this.#at + length) as T;
    this.#at += length;
    part.set(source);
    return part;
  }
}

function tensorOf(data: Float32Array | Uint8Array, rows: number, size: number): Tensor<"float32"> | Tensor<"uint8"> {
  const shape = [rows, size];
  return isFloat32Array(data) ? { data, shape, dtype: "float32" } : { data, shape, dtype: "uint8" };
}

function digit(data: Uint8Array): Images {
  return { kind: "uint8 784", rows: 1, data, size: PIXELS };
}

/** Pixels of an image, by the rules of LeNet5 itself. */
function imageSize(shape: readonly number[]): number | undefined {
  const width = shape.at(-1);
  if (shape.length === 2 && (width === PIXELS || width === 1024)) return width;
  const isSquare = shape.length >= 2 && shape.length <= 4 && shape.at(-2) === width && (width === SIDE || width === 32);
  return isSquare && (shape.length < 4 || shape[1] === 1) ? width! * width! : undefined;
}

/** Pixels as they are, or of a plain small PNG; undefined where an image is to be decoded that takes longer. */
function pixelsOf(body: Uint8Array): Images | undefined {
  if (body.length === 0) throw expectedButGot("REQUEST_INVALID", "an image", "the request body", "none");
  if (imageFormatOf(body) !== undefined) {
    checkImage(body, "the request body");
    const pixels = decodeDigitSync({ image: body });
    return pixels === undefined ? undefined : digit(pixels);
  }
  if (body.length === PIXELS) return digit(new Uint8Array(body));
  if (body.length === PIXELS * 4) {
    // Little-endian, as is every platform that this package runs on; the copy is aligned.
    return floats(new Float32Array(new Uint8Array(body).buffer));
  }
  const json = jsonOf(body);
  if (json === undefined) {
    checkImage(body, "the request body");
    return undefined;
  }
  const pixels = isObject(json.value) && !Array.isArray(json.value) ? json.value.pixels : json.value;
  const tensor = tensorFromJson(pixels, shapeOfNested(pixels, "the pixels"), "float32", "the pixels");
  return floats(tensor.data as Float32Array);
}

function floats(data: Float32Array): Images {
  if (data.length !== PIXELS) {
    throw expectedButGot("INVALID_SHAPE", "784 pixels (28×28)", "the request body", `${data.length}`);
  }
  for (const value of data) {
    if (!(value >= 0 && value <= 1)) throw expected("INVALID_PIXELS", "pixels in 0..1", "the request body", value);
  }
  return { kind: "float32 784", rows: 1, data, size: PIXELS };
}

/** The first of the largest. */
function best(values: Float32Array, start: number, count: number): number {
  let at = 0;
  for (let i = 1; i < count; i++) if (values[start + i]! > values[start + at]!) at = i;
  return at;
}
