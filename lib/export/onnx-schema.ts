// The part of ONNX's protobuf schema that our graphs use, for protobufjs's reflection: no file to be found at run time.
// Field numbers and enum values are those of onnx.proto (IR version 8), https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
import type Protobuf from "protobufjs";
import { lazily } from "../lazily.js";

const protobuf = lazily<typeof Protobuf>("protobufjs/light.js");

/** TensorProto.DataType. */
export const ELEMENT_TYPE = { float: 1, int64: 7 } as const;
/** AttributeProto.AttributeType. */
export const ATTRIBUTE_TYPE = { int: 2, ints: 7 } as const;

export interface OnnxTensor {
  name: string;
  dims: number[];
  dataType: number;
  rawData: Uint8Array;
}

export interface OnnxAttribute {
  name: string;
  type: number;
  i?: number;
  ints?: number[];
}

export interface OnnxNode {
  name: string;
  opType: string;
  input: string[];
  output: string[];
  attribute: OnnxAttribute[];
}

/** A dimension with a fixed length, or one that has a name only. */
export type OnnxDimension = { dimValue: number } | { dimParam: string };

export interface OnnxValueInfo {
  name: string;
  type: { tensorType: { elemType: number; shape: { dim: OnnxDimension[] } } };
}

export interface OnnxModel {
  irVersion: number;
  producerName: string;
  producerVersion: string;
  docString: string;
  opsetImport: { domain: string; version: number }[];
  metadataProps: { key: string; value: string }[];
  graph: {
    name: string;
    node: OnnxNode[];
    initializer: OnnxTensor[];
    input: OnnxValueInfo[];
    output: OnnxValueInfo[];
  };
}

type FieldRule = "repeated" | undefined;
const field = (id: number, type: string, rule?: FieldRule): { id: number; type: string; rule?: string } =>
  rule === undefined ? { id, type } : { id, type, rule };

const SCHEMA = {
  nested: {
    ModelProto: {
      fields: {
        irVersion: field(1, "int64"),
        producerName: field(2, "string"),
        producerVersion: field(3, "string"),
        docString: field(6, "string"),
        graph: field(7, "GraphProto"),
        opsetImport: field(8, "OperatorSetIdProto", "repeated"),
        metadataProps: field(14, "StringStringEntryProto", "repeated"),
      },
    },
    OperatorSetIdProto: { fields: { domain: field(1, "string"), version: field(2, "int64") } },
    StringStringEntryProto: { fields: { key: field(1, "string"), value: field(2, "string") } },
    GraphProto: {
      fields: {
        node: field(1, "NodeProto", "repeated"),
        name: field(2, "string"),
        initializer: field(5, "TensorProto", "repeated"),
        input: field(11, "ValueInfoProto", "repeated"),
        output: field(12, "ValueInfoProto", "repeated"),
      },
    },
    NodeProto: {
      fields: {
        input: field(1, "string", "repeated"),
        output: field(2, "string", "repeated"),
        name: field(3, "string"),
        opType: field(4, "string"),
        attribute: field(5, "AttributeProto", "repeated"),
      },
    },
    AttributeProto: {
      fields: {
        name: field(1, "string"),
        i: field(3, "int64"),
        ints: { ...field(8, "int64", "repeated"), options: { packed: false } }, // proto2: unpacked
        type: field(20, "int32"),
      },
    },
    TensorProto: {
      fields: {
        dims: { ...field(1, "int64", "repeated"), options: { packed: false } },
        dataType: field(2, "int32"),
        name: field(8, "string"),
        rawData: field(9, "bytes"),
      },
    },
    ValueInfoProto: { fields: { name: field(1, "string"), type: field(2, "TypeProto") } },
    TypeProto: {
      fields: { tensorType: field(1, "TensorType") },
      nested: { TensorType: { fields: { elemType: field(1, "int32"), shape: field(2, "TensorShapeProto") } } },
    },
    TensorShapeProto: {
      fields: { dim: field(1, "Dimension", "repeated") },
      nested: {
        Dimension: {
          oneofs: { value: { oneof: ["dimValue", "dimParam"] } },
          fields: { dimValue: field(1, "int64"), dimParam: field(2, "string") },
        },
      },
    },
  },
};

let model: Protobuf.Type | undefined;
function modelProto(): Protobuf.Type {
  model ??= protobuf().Root.fromJSON(SCHEMA).lookupType("ModelProto");
  return model;
}

/** The model as protobuf bytes. */
export function encodeOnnx(model: OnnxModel): Uint8Array {
  const type = modelProto();
  return type.encode(type.fromObject(model)).finish();
}

/** Protobuf bytes as a model; throws protobufjs's errors for bytes that are none. Fields that we never write are left out. */
export function decodeOnnx(bytes: Uint8Array): OnnxModel {
  // `arrays`: an absent repeated field is an empty one; `longs`: our 64-bit numbers are all small.
  const type = modelProto();
  return type.toObject(type.decode(bytes), { arrays: true, longs: Number }) as OnnxModel;
}
