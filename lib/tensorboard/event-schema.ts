// The part of TensorBoard's protobuf schema that our events use, for protobufjs's reflection. Field numbers are those of event.proto,
// summary.proto, graph.proto, tensor.proto and of the hparams plugin's plugin_data.proto and api.proto:
// https://github.com/tensorflow/tensorboard/tree/master/tensorboard/compat/proto
import type Protobuf from "protobufjs";
import { lazily } from "../lazily.js";

const protobuf = lazily<typeof Protobuf>("protobufjs/light.js");

/** DataType of a tensor. */
export const TENSOR_TYPE = { float: 1, string: 7 } as const;
/** DataType of a hyper-parameter. */
export const HPARAM_TYPE = { string: 1, boolean: 2, number: 3 } as const;

interface Field {
  id: number;
  type: string;
  rule?: string;
  keyType?: string;
}
const field = (id: number, type: string): Field => ({ id, type });
const repeated = (id: number, type: string): Field => ({ id, type, rule: "repeated" });
const map = (id: number, type: string): Field => ({ id, type, keyType: "string" });

const SCHEMA = {
  Event: {
    wallTime: field(1, "double"),
    step: field(2, "int64"),
    fileVersion: field(3, "string"),
    graphDef: field(4, "bytes"),
    summary: field(5, "Summary"),
  },
  Summary: { value: repeated(1, "Value") },
  Value: {
    tag: field(1, "string"),
    simpleValue: field(2, "float"),
    image: field(4, "Image"),
    histo: field(5, "Histogram"),
    tensor: field(8, "Tensor"),
    metadata: field(9, "Metadata"),
  },
  Metadata: { pluginData: field(1, "PluginData") },
  PluginData: { pluginName: field(1, "string"), content: field(2, "bytes") },
  Image: {
    height: field(1, "int32"),
    width: field(2, "int32"),
    colorspace: field(3, "int32"),
    encoded: field(4, "bytes"),
  },
  Histogram: {
    min: field(1, "double"),
    max: field(2, "double"),
    num: field(3, "double"),
    sum: field(4, "double"),
    sumSquares: field(5, "double"),
    bucketLimit: { ...repeated(6, "double"), options: { packed: true } },
    bucket: { ...repeated(7, "double"), options: { packed: true } },
  },
  Tensor: { dtype: field(1, "int32"), shape: field(2, "Shape"), stringVal: repeated(8, "bytes") },
  Shape: { dim: repeated(2, "Dimension") },
  Dimension: { size: field(1, "int64") },
  Graph: { node: repeated(1, "Node"), versions: field(4, "Versions") },
  Versions: { producer: field(1, "int32") },
  Node: {
    name: field(1, "string"),
    op: field(2, "string"),
    input: repeated(3, "string"),
    device: field(4, "string"),
    attr: map(5, "Attribute"),
  },
  Attribute: { list: field(1, "List"), s: field(2, "bytes"), type: field(6, "int32") },
  List: { shape: repeated(7, "Shape") },
  HParamsData: {
    version: field(1, "int32"),
    experiment: field(2, "Experiment"),
    sessionStartInfo: field(3, "SessionStart"),
    sessionEndInfo: field(4, "SessionEnd"),
  },
  Experiment: { hparamInfos: repeated(4, "HParamInfo"), metricInfos: repeated(5, "MetricInfo") },
  HParamInfo: { name: field(1, "string"), type: field(4, "int32") },
  MetricInfo: { name: field(1, "MetricName") },
  MetricName: { group: field(1, "string"), tag: field(2, "string") },
  SessionStart: { hparams: map(1, "HParamValue"), startTimeSecs: field(5, "double") },
  SessionEnd: { status: field(1, "int32"), endTimeSecs: field(2, "double") },
  HParamValue: {
    numberValue: field(2, "double"),
    stringValue: field(3, "string"),
    boolValue: field(4, "bool"),
  },
};

/** Of which a 0 or a false is written too: that the field is there says what kind of value it is. */
const ONEOFS: Partial<Record<keyof typeof SCHEMA, string[]>> = {
  Value: ["simpleValue", "image", "histo", "tensor"],
  HParamValue: ["numberValue", "stringValue", "boolValue"],
};

let root: Protobuf.Root | undefined;

/** A message as protobuf bytes. */
export function encode(name: keyof typeof SCHEMA, message: object): Uint8Array {
  root ??= protobuf().Root.fromJSON({
    nested: Object.fromEntries(
      Object.entries(SCHEMA).map(([type, fields]) => {
        const oneof = ONEOFS[type as keyof typeof SCHEMA];
        return [type, oneof === undefined ? { fields } : { fields, oneofs: { value: { oneof } } }];
      }),
    ),
  });
  const type = root.lookupType(name);
  return type.encode(type.fromObject(message)).finish();
}
