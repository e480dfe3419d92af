// Python's real client, tritonclient[grpc], against the gRPC server.
import { afterAll, beforeAll, expect, it } from "vitest";
import { SCHEMA } from "../../../lib/server/grpc/messages.js";
import { describeWithPython, python } from "../../python.js";
import { onlyWith, type Served, serve } from "./client.js";

describeWithPython("tritonclient[grpc]", () => {
  let served: Served;
  beforeAll(async () => {
    served = await serve({ authorize: onlyWith("secret") });
  });
  afterAll(async () => {
    served.client.close();
    await served.server.close(1000);
  });

  it("asks about the server, and infers with every datatype", async () => {
    const answers = await python<Record<string, unknown>>(CALLS, [`127.0.0.1:${served.server.port}`]);
    expect(answers).toEqual({
      live: true,
      ready: true,
      model_ready: [true, false],
      extensions: ["model_repository"],
      metadata: { versions: ["1", "2"], shape: ["-1", "1", "28", "28"] },
      index: ["sums", "sums", "echo"],
      unloaded: ["UNAVAILABLE", "READY"],
      sums: [[[392, -392]], "2", "abc"],
      many: Array.from({ length: 50 }, (_, i) => 784 * i),
      echoed: ["BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "FP16", "FP32", "FP64"],
      errors: {
        unknown: "StatusCode.NOT_FOUND",
        shape: "StatusCode.INVALID_ARGUMENT",
        bytes: "StatusCode.UNIMPLEMENTED",
        token: "StatusCode.UNAUTHENTICATED",
        statistics: "StatusCode.UNIMPLEMENTED",
      },
    });
  });

  it("has the very messages of our schema", async () => {
    const theirs = await python<Record<string, Record<string, string>>>(DESCRIPTORS);
    const nested: Record<string, string> = {
      TensorMetadata: "ModelMetadataResponse.TensorMetadata",
      InferOutputTensor: "ModelInferResponse.InferOutputTensor",
      ModelIndex: "RepositoryIndexResponse.ModelIndex",
      RepositoryModelRequest: "RepositoryModelLoadRequest",
      RepositoryParameter: "RepositoryModelLoadRequest.ParametersEntry",
    };
    const compared = Object.entries(SCHEMA).filter(([name]) => name !== "Empty" && !name.startsWith("Health"));
    expect(compared.length).toBeGreaterThan(12);
    for (const [name, fields] of compared) {
      for (const [field, text] of Object.entries(fields)) {
        const snake = field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
        const their = theirs[nested[name] ?? name]?.[snake];
        // What is a message inside a message there is bytes, or a message by another name, here.
        const [type, number] = text.split(" ");
        const scalar = ["string", "int64", "bool"].includes(type!.replace("*", ""));
        expect(their, `${name}.${field}`).toBe(`${scalar ? type : (their ?? "").split(" ")[0]} ${number}`);
      }
    }
    expect(theirs.RepositoryModelUnloadRequest).toEqual(theirs.RepositoryModelLoadRequest);
  });
});

const CALLS = `
import json, sys
import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

client = triton.InferenceServerClient(sys.argv[1])
token = {"authorization": "Bearer secret"}
out = {"live": client.is_server_live(), "ready": client.is_server_ready()}
out["model_ready"] = [client.is_model_ready(name, headers=token) for name in ("sums", "nobody")]
out["extensions"] = list(client.get_server_metadata(headers=token).extensions)
metadata = client.get_model_metadata("sums", headers=token, as_json=True)
out["metadata"] = {"versions": metadata["versions"], "shape": metadata["inputs"][0]["shape"]}
out["index"] = [model.name for model in client.get_model_repository_index(headers=token).models]
states = lambda: client.get_model_repository_index(headers=token).models[2].state
client.unload_model("echo", headers=token)
out["unloaded"] = [states()]
client.load_model("echo", headers=token)
out["unloaded"].append(states())

def tensor(name, array, datatype=None):
    given = triton.InferInput(name, array.shape, datatype or np_to_triton_dtype(array.dtype))
    given.set_data_from_numpy(array)
    return given

def sums(value):
    return tensor("input0", np.full((1, 1, 28, 28), value, np.float32))

result = client.infer("sums", [sums(0.5)], outputs=[triton.InferRequestedOutput("output0")], request_id="abc", headers=token)
response = result.get_response()
out["sums"] = [result.as_numpy("output0").tolist(), response.model_version, response.id]

import queue
answers = queue.Queue()
for i in range(50):
    client.async_infer("sums", [sums(i)], lambda result, error, i=i: answers.put((i, result, error)), headers=token)
many = dict()
for _ in range(50):
    i, result, error = answers.get(timeout=30)
    assert error is None, error
    many[i] = float(result.as_numpy("output0")[0][0])
out["many"] = [many[i] for i in range(50)]

out["echoed"] = []
for dtype in (np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.float16, np.float32, np.float64):
    array = (np.arange(24) % 7).astype(dtype).reshape(2, 3, 4)
    back = client.infer("echo", [tensor("input", array)], headers=token).as_numpy("echo")
    assert back.dtype == array.dtype and np.array_equal(back, array), dtype
    out["echoed"].append(np_to_triton_dtype(array.dtype))

def error(call):
    try:
        call()
    except InferenceServerException as raised:
        return raised.status()

wrong = tensor("input0", np.zeros((1, 784), np.float32))
texts = tensor("input", np.array([b"text"], object), "BYTES")
out["errors"] = {
    "unknown": error(lambda: client.infer("nobody", [sums(1)], headers=token)),
    "shape": error(lambda: client.infer("sums", [wrong], headers=token)),
    "bytes": error(lambda: client.infer("echo", [texts], headers=token)),
    "token": error(lambda: client.infer("sums", [sums(1)])),
    "statistics": error(lambda: client.get_inference_statistics("sums", headers=token)),
}
print(json.dumps(out))
`;

const DESCRIPTORS = `
import json
from tritonclient.grpc import service_pb2

names = {8: "bool", 9: "string", 3: "int64", 11: "message", 12: "bytes"}
def collect(message, prefix, into):
    repeated = lambda field: "*" if field.is_repeated else ""
    into[prefix] = {f.name: f"{names.get(f.type, f.type)}{repeated(f)} {f.number}" for f in message.fields}
    for nested in message.nested_types:
        collect(nested, prefix + "." + nested.name, into)
into = {}
for name, message in service_pb2.DESCRIPTOR.message_types_by_name.items():
    collect(message, name, into)
print(json.dumps(into))
`;
