// LeNet-5 as an ONNX file: the whole network, from pixels in 0..1 to log-probabilities, for ONNX Runtime and its like.
//
// The graph repeats the network step by step, padding and normalisation included, and its weights are the state dict's
// own, under the same names: whoever opens the file finds PyTorch's numbers in it, and whoever runs it cannot get the
// normalisation wrong.
import { expectedButGot } from "../errors.js";
import { isUint8Array } from "../is.js";
import { METADATA_NAME, type ModelMetadata, readMetadata, writeMetadata } from "../lenet5/metadata.js";
import { joinParameters, parameterShapes, type StateDict } from "../lenet5/state-dict.js";
import type { Tensor } from "../tensor.js";
import { packageVersion } from "../version.js";
import {
  deliver,
  type ExportableModel,
  type ExportOptions,
  exportRequest,
  requireSameTensors,
} from "./exportable-model.js";
import {
  ATTRIBUTE_TYPE,
  decodeOnnx,
  ELEMENT_TYPE,
  encodeOnnx,
  type OnnxAttribute,
  type OnnxDimension,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensor,
  type OnnxValueInfo,
} from "./onnx-schema.js";

/** Opset 17 is read by ONNX Runtime from 1.12 on; IR version 8 belongs to it. */
const OPSET = 17;
const IR_VERSION = 8;

/**
 * The bytes of LeNet-5 as an ONNX model. Input `input`: float32 `[batch, 1, 28, 28]`, pixels in 0..1, light ink on black;
 * output `log_probabilities`: float32 `[batch, numClasses]`; the batch is free. `metadata_props` has class names and
 * normalisation under `lenet5.json`.
 *
 * @param stateDict - LeNet-5's parameters
 * @param metadata - class names and normalisation
 * @throws LENET5_MODEL_MISMATCH when the state dict is not LeNet-5's
 */
export function onnxBytes(stateDict: StateDict, metadata: ModelMetadata): Uint8Array {
  const { numClasses } = joinParameters(stateDict, "stateDict");
  const { mean, std } = metadata.normalization;
  const model: OnnxModel = {
    irVersion: IR_VERSION,
    producerName: "lenet5-libtorch",
    producerVersion: packageVersion,
    docString: "LeNet-5: pixels in 0..1, light ink on black, in; log-probabilities out",
    opsetImport: [{ domain: "", version: OPSET }],
    metadataProps: [{ key: METADATA_NAME, value: writeMetadata(metadata) }],
    graph: {
      name: "LeNet-5",
      node: nodes(),
      initializer: [
        int64Tensor("padding", [0, 0, 2, 2, 0, 0, 2, 2]), // top and left of each axis, then bottom and right
        floatTensor("mean", { data: Float32Array.of(mean), shape: [], dtype: "float32" }),
        floatTensor("std", { data: Float32Array.of(std), shape: [], dtype: "float32" }),
        ...parameterShapes(numClasses).map(([name]) => floatTensor(name, stateDict[name]!)),
      ],
      input: [floatValue("input", [{ dimParam: "batch" }, ...[1, 28, 28].map((dimValue) => ({ dimValue }))])],
      output: [floatValue("log_probabilities", [{ dimParam: "batch" }, { dimValue: numClasses }])],
    },
  };
  return encodeOnnx(model);
}

/**
 * A model as ONNX: resolves to the bytes, or with a path writes the file, whole or not at all. Either is read back and
 * compared with the model first.
 * @throws LENET5_INVALID_ARGUMENT, LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_FILE_BUSY,
 * LENET5_FILE_WRITE_FAILED, LENET5_EXPORT_UNVERIFIED, LENET5_ABORTED
 */
export function exportOnnx(model: ExportableModel, options?: ExportOptions): Promise<Uint8Array>;
export function exportOnnx(model: ExportableModel, path: string, options?: ExportOptions): Promise<void>;
export async function exportOnnx(model: ExportableModel, ...rest: unknown[]): Promise<unknown> {
  const request = exportRequest<ExportOptions>(model, rest, ["signal"], "exportOnnx");
  const stateDict = model.stateDict();
  return deliver(onnxBytes(stateDict, model), request, (bytes, where) =>
    requireSameTensors(stateDict, readOnnx(bytes, where).stateDict, where),
  );
}

/**
 * Reads back the parameters and metadata of an ONNX file that {@link onnxBytes} made, and checks that its graph is the one
 * that we write. It reads no other ONNX file.
 * @throws LENET5_MODEL_CORRUPT for bytes that are no whole ONNX model, LENET5_MODEL_MISMATCH for another model
 */
export function readOnnx(bytes: Uint8Array, where = "model"): { stateDict: StateDict; metadata: ModelMetadata } {
  let model: OnnxModel;
  try {
    model = decodeOnnx(bytes);
  } catch (cause) {
    throw expectedButGot(
      "MODEL_CORRUPT",
      "an ONNX model",
      where,
      `bytes that do not decode (${(cause as Error).message})`,
    );
  }
  const foreign = (received: string): Error =>
    expectedButGot("MODEL_MISMATCH", "a LeNet-5 exported by this package", where, received);
  const { graph } = model;
  if (graph === undefined) throw expectedButGot("MODEL_CORRUPT", "an ONNX model", where, "one without a graph");
  if (JSON.stringify(graph.node) !== JSON.stringify(decodeOnnx(emptyModel()).graph.node))
    throw foreign("another graph");
  const stateDict: StateDict = {};
  const constants = new Map<string, OnnxTensor>();
  for (const tensor of graph.initializer) {
    if (["padding", "mean", "std"].includes(tensor.name)) constants.set(tensor.name, tensor);
    else stateDict[tensor.name] = readFloats(tensor, where);
  }
  const { numClasses } = joinParameters(stateDict, where);
  const text = model.metadataProps.find(({ key }) => key === METADATA_NAME)?.value;
  const metadata = readMetadata(text, numClasses, where);
  if (metadata === undefined) throw foreign(`one without ${METADATA_NAME}`);
  for (const name of ["mean", "std"] as const) {
    const constant = constants.get(name);
    const value = constant === undefined ? undefined : readFloats(constant, where).data[0];
    if (value !== Math.fround(metadata.normalization[name]))
      throw foreign(`one whose ${name} contradicts its metadata`);
  }
  const padding = constants.get("padding");
  const own = int64Tensor("padding", [0, 0, 2, 2, 0, 0, 2, 2]);
  if (padding === undefined || !Buffer.from(own.rawData).equals(padding.rawData))
    throw foreign("one with other padding");
  return { stateDict, metadata };
}

/** The network's steps, in order. */
function nodes(): OnnxNode[] {
  const pool = { kernel_shape: [2, 2], strides: [2, 2] };
  const dense = { transB: 1 }; // PyTorch's weights are [out, in]
  return [
    node("Pad", ["input", "padding"], "padded"),
    node("Sub", ["padded", "mean"], "centred"),
    node("Div", ["centred", "std"], "normalised"),
    node("Conv", ["normalised", "c1.weight", "c1.bias"], "c1"),
    node("Relu", ["c1"], "c1_relu"),
    node("MaxPool", ["c1_relu"], "s2", pool),
    node("Conv", ["s2", "c3.weight", "c3.bias"], "c3"),
    node("Relu", ["c3"], "c3_relu"),
    node("MaxPool", ["c3_relu"], "s4", pool),
    node("Conv", ["s4", "c5.weight", "c5.bias"], "c5"),
    node("Relu", ["c5"], "c5_relu"),
    node("Flatten", ["c5_relu"], "flat", { axis: 1 }),
    node("Gemm", ["flat", "f6.weight", "f6.bias"], "f6", dense),
    node("Relu", ["f6"], "f6_relu"),
    node("Gemm", ["f6_relu", "output.weight", "output.bias"], "logits", dense),
    node("LogSoftmax", ["logits"], "log_probabilities", { axis: 1 }),
  ];
}

function node(
  opType: string,
  input: string[],
  output: string,
  attributes: Record<string, number | number[]> = {},
): OnnxNode {
  const attribute = Object.entries(attributes).map(
    ([name, value]): OnnxAttribute =>
      typeof value === "number"
        ? { name, type: ATTRIBUTE_TYPE.int, i: value }
        : { name, type: ATTRIBUTE_TYPE.ints, ints: value },
  );
  return { name: output, opType, input, output: [output], attribute };
}

/** Nodes as a decoder gives them back, to compare with. */
function emptyModel(): Uint8Array {
  const graph = { name: "", node: nodes(), initializer: [], input: [], output: [] };
  return encodeOnnx({
    irVersion: 0,
    producerName: "",
    producerVersion: "",
    docString: "",
    opsetImport: [],
    metadataProps: [],
    graph,
  });
}

function floatTensor(name: string, { data, shape }: Tensor<"float32">): OnnxTensor {
  const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { name, dims: [...shape], dataType: ELEMENT_TYPE.float, rawData };
}

function int64Tensor(name: string, values: number[]): OnnxTensor {
  const rawData = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  return { name, dims: [values.length], dataType: ELEMENT_TYPE.int64, rawData };
}

function floatValue(name: string, dim: OnnxDimension[]): OnnxValueInfo {
  return { name, type: { tensorType: { elemType: ELEMENT_TYPE.float, shape: { dim } } } };
}

/** @throws LENET5_MODEL_CORRUPT when sizes contradict the bytes that are there */
function readFloats(tensor: OnnxTensor, where: string): Tensor<"float32"> {
  const { name, dims, dataType, rawData } = tensor;
  const declared = dims.reduce((product, length) => product * length, 4);
  if (dataType !== ELEMENT_TYPE.float || !isUint8Array(rawData) || rawData.length !== declared) {
    throw expectedButGot(
      "MODEL_CORRUPT",
      "float32 values that fill their shape",
      `${where}: ${name}`,
      `[${dims.join(", ")}] of type ${dataType}`,
    );
  }
  return { data: new Float32Array(new Uint8Array(rawData).buffer), shape: dims, dtype: "float32" };
}
