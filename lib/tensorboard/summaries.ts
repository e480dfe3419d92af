// The kinds of summary, each as TensorBoard's plugins read them: from plain values to messages, with the checks of those values.
import { expected, expectedButGot } from "../errors.js";
import { isObject, isTypedArray, isUint8Array, isUint8ClampedArray } from "../is.js";
import { encode, HPARAM_TYPE, TENSOR_TYPE } from "./event-schema.js";

/** A hyper-parameter's value. */
export type HyperParameter = string | number | boolean;

/** An operation of a graph. */
export interface GraphNode {
  /** Unique; slashes make groups, as in `c1/weight`. */
  readonly name: string;
  /** The kind of operation, such as `Conv2D`. */
  readonly op: string;
  /** Names of the nodes whose results it takes. @defaultValue none */
  readonly inputs?: readonly string[];
  /** Shape of its result; -1 is a dimension that is not known. @defaultValue not known */
  readonly shape?: readonly number[];
}

/** Pixels of an image, eight bits a channel. */
export interface PixelImage {
  /** Row-major, channels together: height × width × channels. */
  readonly data: Uint8Array | Uint8ClampedArray;
  /** Pixels in a row. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** 1: grey, 3: RGB, 4: RGBA. @defaultValue what the length of `data` says */
  readonly channels?: 1 | 3 | 4;
}

/** Buckets of a histogram at most, of the same width. */
const BUCKETS = 64;
/** What HTML pages and the reader of event files still handle. */
const MAX_SIDE = 16_384;

/** @throws LENET5_INVALID_ARGUMENT */
export function checkTag(tag: unknown): string {
  if (typeof tag !== "string" || tag === "") throw expected("INVALID_ARGUMENT", "a name", "tag", tag);
  return tag;
}

/** @throws LENET5_INVALID_ARGUMENT */
export function checkStep(step: unknown): number {
  if (!Number.isSafeInteger(step) || (step as number) < 0)
    throw expected("INVALID_ARGUMENT", "a whole number of at least 0", "step", step);
  return step as number;
}

/** @throws LENET5_INVALID_ARGUMENT */
export function scalarValue(tag: string, value: unknown): object {
  // NaN and infinity are what a diverging training has, and TensorBoard marks them.
  if (typeof value !== "number") throw expected("INVALID_ARGUMENT", "a number", tag, value);
  return { tag, simpleValue: value };
}

/** @throws LENET5_INVALID_ARGUMENT */
export function histogramValue(tag: string, values: unknown): object {
  if (!Array.isArray(values) && !(isTypedArray(values) && !/^Big/.test(values.constructor.name)))
    throw expected("INVALID_ARGUMENT", "an array of numbers", tag, values);
  const numbers = values as ArrayLike<unknown>;
  if (numbers.length === 0) throw expectedButGot("INVALID_ARGUMENT", "at least one number", tag, "none");
  let [min, max, sum, sumSquares] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0];
  for (let i = 0; i < numbers.length; i++) {
    const value = numbers[i];
    if (typeof value !== "number" || !Number.isFinite(value))
      throw expected("INVALID_ARGUMENT", "finite numbers", `${tag}[${i}]`, value);
    if (value < min) min = value;
    if (value > max) max = value;
    sum += value;
    sumSquares += value * value;
  }
  // Two halves: the whole range of doubles is no double.
  const width = max / BUCKETS - min / BUCKETS;
  const count = width > 0 ? BUCKETS : 1;
  const bucket = new Array<number>(count).fill(0);
  for (let i = 0; i < numbers.length; i++) {
    const at = width > 0 ? Math.floor((numbers[i] as number) / width - min / width) : 0;
    bucket[Math.min(Math.max(at, 0), count - 1)]!++;
  }
  const bucketLimit = bucket.map((_, i) => (i === count - 1 ? max : min + width * (i + 1)));
  return { tag, histo: { min, max, num: numbers.length, sum, sumSquares, bucketLimit, bucket } };
}

/** @throws LENET5_INVALID_ARGUMENT */
export function textValue(tag: string, text: unknown): object {
  if (typeof text !== "string") throw expected("INVALID_ARGUMENT", "a text", tag, text);
  return {
    tag: `${tag}/text_summary`,
    metadata: { pluginData: { pluginName: "text", content: new Uint8Array() } },
    tensor: { dtype: TENSOR_TYPE.string, shape: { dim: [{ size: 1 }] }, stringVal: [Buffer.from(text)] },
  };
}

/** An encoded image. @throws LENET5_INVALID_ARGUMENT */
export function imageValue(tag: string, png: Uint8Array): object {
  const header = Buffer.from(png.buffer, png.byteOffset, png.length);
  if (
    png.length < 33 ||
    header.toString("latin1", 0, 8) !== "\x89PNG\r\n\x1a\n" ||
    header.toString("latin1", 12, 16) !== "IHDR"
  )
    throw expectedButGot("INVALID_ARGUMENT", "a PNG or pixels", tag, `${png.length} bytes that are no PNG`);
  const [width, height] = [header.readUInt32BE(16), header.readUInt32BE(20)];
  requireSides(tag, width, height);
  // Grey, RGB, palette (which is RGB), grey with alpha, RGBA.
  const colorspace = { 0: 1, 2: 3, 3: 3, 4: 2, 6: 4 }[header[25]!] ?? 3;
  return { tag, image: { width, height, colorspace, encoded: png } };
}

/** Pixels that are what they say. @throws LENET5_INVALID_ARGUMENT, LENET5_INVALID_SHAPE */
export function checkPixels(tag: string, image: unknown): Required<PixelImage> {
  if (!isObject(image) || !(isUint8Array(image.data) || isUint8ClampedArray(image.data)))
    throw expected("INVALID_ARGUMENT", "a PNG or pixels", tag, image);
  const { data, width, height } = image as unknown as PixelImage;
  requireSides(tag, width, height);
  const { channels = data.length / (width * height) } = image as { channels?: number };
  if (channels !== 1 && channels !== 3 && channels !== 4)
    throw expected("INVALID_SHAPE", "1, 3 or 4 channels", tag, channels);
  const length = width * height * channels;
  if (data.length !== length)
    throw expectedButGot("INVALID_SHAPE", `${length} bytes (${height}×${width}×${channels})`, tag, String(data.length));
  return { data, width, height, channels };
}

function requireSides(tag: string, ...sides: number[]): void {
  for (const side of sides) {
    if (!Number.isSafeInteger(side) || side < 1 || side > MAX_SIDE)
      throw expected("INVALID_SHAPE", `a width and a height from 1 to ${MAX_SIDE}`, tag, side);
  }
}

/** The three records of the hparams plugin. @throws LENET5_INVALID_ARGUMENT */
export function hparamsValues(
  parameters: Readonly<Record<string, HyperParameter>>,
  metrics: readonly string[],
  times: { start: number; end: number },
): object[] {
  const hparams: Record<string, object> = {};
  const hparamInfos: object[] = [];
  for (const [name, value] of Object.entries(parameters)) {
    if (typeof value === "number") hparams[name] = { numberValue: value };
    else if (typeof value === "boolean") hparams[name] = { boolValue: value };
    else if (typeof value === "string") hparams[name] = { stringValue: value };
    else throw expected("INVALID_ARGUMENT", "a text, a number, true or false", `hparams.${name}`, value);
    hparamInfos.push({ name, type: HPARAM_TYPE[typeof value as keyof typeof HPARAM_TYPE] });
  }
  const metricInfos = metrics.map((tag) => ({ name: { tag } }));
  const value = (tag: string, data: object): object => ({
    tag: `_hparams_/${tag}`,
    metadata: { pluginData: { pluginName: "hparams", content: encode("HParamsData", { version: 0, ...data }) } },
  });
  const SUCCESS = 1;
  return [
    value("experiment", { experiment: { hparamInfos, metricInfos } }),
    value("session_start_info", { sessionStartInfo: { hparams, startTimeSecs: times.start } }),
    value("session_end_info", { sessionEndInfo: { status: SUCCESS, endTimeSecs: times.end } }),
  ];
}

/** A GraphDef. @throws LENET5_INVALID_ARGUMENT */
export function graphBytes(nodes: readonly GraphNode[]): Uint8Array {
  if (!Array.isArray(nodes)) throw expected("INVALID_ARGUMENT", "an array of nodes", "graph", nodes);
  const names = new Set<string>();
  for (const [i, node] of nodes.entries()) {
    if (!isObject(node)) throw expected("INVALID_ARGUMENT", "a node", `graph[${i}]`, node);
    if (typeof node.name !== "string" || node.name === "" || names.has(node.name))
      throw expected("INVALID_ARGUMENT", "a name of its own", `graph[${i}].name`, node.name);
    if (typeof node.op !== "string")
      throw expected("INVALID_ARGUMENT", "a kind of operation", `graph[${i}].op`, node.op);
    names.add(node.name);
  }
  for (const [i, { inputs = [] }] of (nodes as GraphNode[]).entries()) {
    const unknown = inputs.find((name) => !names.has(name));
    if (unknown !== undefined) throw expected("INVALID_ARGUMENT", "names of nodes", `graph[${i}].inputs`, unknown);
  }
  const node = (nodes as GraphNode[]).map(({ name, op, inputs = [], shape }) => ({
    name,
    op,
    input: inputs,
    attr:
      shape === undefined ? {} : { _output_shapes: { list: { shape: [{ dim: shape.map((size) => ({ size })) }] } } },
  }));
  return encode("Graph", { node, versions: { producer: 22 } });
}
