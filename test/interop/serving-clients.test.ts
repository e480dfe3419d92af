// The clients that people have, against one server with a trained LeNet-5: Python's tritonclient and kserve over HTTP and gRPC, curl as
// TorchServe's documentation has it, JSON as TensorFlow Serving's has it. All name the same ten digits.
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { packageRoot } from "#package-root";
import { decodeDigits, exportModelArchive } from "../../lib/index.js";
import { describeWithPython, python } from "../python.js";
import { cleanUp, emptyRepository, serve } from "../server/models.js";
import { tenDigits, trainedModel } from "./trained-model.js";

const DIGITS = Array.from({ length: 10 }, (_, digit) => digit);
const run = promisify(execFile);

let url: string;
/** Host and port of gRPC. */
let grpc: string;
let digits: string[];
/** The digits' pixels, 0 to 255. */
let pixels: Uint8Array;
/** A file of them. */
let images: string;
beforeAll(async () => {
  const folder = await emptyRepository();
  const files = await emptyRepository();
  const { model, test } = await trainedModel();
  const place = path.join(folder, "lenet5", "1");
  await mkdir(place, { recursive: true });
  digits = await tenDigits(test, files);
  await exportModelArchive(model, path.join(place, "model.mar"));
  expect([...(await model.predict(digits)).labels]).toEqual(DIGITS);
  model.dispose();
  images = path.join(files, "pixels");
  pixels = await decodeDigits(digits);
  await writeFile(images, pixels);
  const { server, url: address } = await serve(folder, { ports: { grpc: 0 } });
  url = address;
  grpc = new URL(server.addresses.find(({ name }) => name === "grpc")!.url).host;
});
afterAll(cleanUp);

/** Row after row of a digit, 0 to 1. */
function rows(digit: number): number[][] {
  const image = pixels.subarray(digit * 784, (digit + 1) * 784);
  return Array.from({ length: 28 }, (_, y) => Array.from(image.subarray(28 * y, 28 * (y + 1)), (value) => value / 255));
}

const largest = (values: number[]): number => values.indexOf(Math.max(...values));

describeWithPython("Python's clients", () => {
  it("tritonclient[http] asks about server, model and repository, and infers in JSON and in binary", async () => {
    const answers = await python<Record<string, unknown>>(TRITON, [new URL(url).host, images]);
    expect(answers).toEqual({
      live: true,
      ready: true,
      model_ready: [true, true, false],
      server: ["lenet5-libtorch", ["binary_tensor_data", "model_repository"]],
      metadata: ["lenet5", ["1"], "pytorch_torchscript", [-1, 1, 28, 28]],
      index: [["lenet5", "1", "READY"]],
      json: DIGITS,
      binary: DIGITS,
      mixed: [DIGITS, ["label"]],
      same: true,
      many: Array(20).fill(DIGITS),
      async: DIGITS,
      unloaded: ["UNAVAILABLE", false],
      loaded: ["READY", true],
      errors: {
        unknown: ["404", true],
        version: ["404", true],
        output: ["400", true],
        shape: ["400", true],
        bytes: ["501", true],
        classification: ["501", true],
      },
    });
  });

  it("kserve asks about server and model, and infers by protocols v2 and v1", async () => {
    const answers = await python<Record<string, unknown>>(KSERVE, [url, images]);
    expect(answers).toEqual({
      live: true,
      ready: true,
      model_ready: true,
      unknown_ready: false,
      json: DIGITS,
      binary: DIGITS,
      id: "42",
      v1: DIGITS,
      error: 404,
    });
  });

  it("tritonclient[grpc] asks about the model, and infers", async () => {
    const answers = await python<Record<string, unknown>>(GRPC, [grpc, images]);
    expect(answers).toEqual({
      metadata: [["1"], [-1, 1, 28, 28], ["output0", "probabilities", "label"]],
      all: [DIGITS, DIGITS, DIGITS],
      one_by_one: DIGITS,
      same: true,
    });
  });

  it("kserve's gRPC client infers with typed and raw contents", async () => {
    const answers = await python<Record<string, unknown>>(KSERVE_GRPC, [grpc, images]);
    expect(answers).toEqual({ live: true, ready: true, model_ready: true, typed: DIGITS, raw: DIGITS, id: "42" });
  });

  it("the lines of docs/serving.md name the digit", async () => {
    const text = await readFile(path.join(packageRoot, "docs", "serving.md"), "utf8");
    const program = /```python\n([\s\S]*?)```/.exec(text)![1]!.replace("127.0.0.1:8081", grpc);
    const printed = await python<number[][]>(
      `${program.replace(/print\((.*)\)\n$/, "import json\nprint(json.dumps($1.tolist()))\n")}`,
    );
    expect(printed).toEqual([expect.any(Array)]);
    expect(printed[0]).toHaveLength(10);
  });
});

it("curl -T sends PNGs as TorchServe's documentation does, and -F as forms", async () => {
  for (const send of [["-T"], ["-F"]]) {
    const labels: string[] = [];
    for (const png of digits) {
      const what = send[0] === "-F" ? `data=@${png}` : png;
      const { stdout } = await run("curl", [
        "-sS",
        "--fail",
        "--max-time",
        "30",
        ...send,
        what,
        `${url}/predictions/lenet5`,
      ]);
      const answer = JSON.parse(stdout) as { label: string; probability: number; probabilities: number[] };
      expect(answer.probabilities).toHaveLength(10);
      expect(answer.probabilities[Number(answer.label)]).toBe(answer.probability);
      labels.push(answer.label);
    }
    expect(labels.map(Number)).toEqual(DIGITS);
  }
});

it("curl -d sends JSON and base64 as TensorFlow Serving's documentation does", async () => {
  const post = async (body: object): Promise<{ predictions: number[][]; outputs: number[][] }> => {
    const file = path.join(path.dirname(images), "request.json");
    await writeFile(file, JSON.stringify(body));
    const { stdout } = await run("curl", [
      "-sS",
      "--fail",
      "-d",
      `@${file}`,
      "-X",
      "POST",
      `${url}/v1/models/lenet5:predict`,
    ]);
    return JSON.parse(stdout);
  };
  const instances = DIGITS.map((digit) => [rows(digit)]);
  const byRows = await post({ signature_name: "serving_default", instances });
  expect(byRows.predictions.map(largest)).toEqual(DIGITS);
  const byColumns = await post({ inputs: { input0: instances } });
  expect(byColumns.outputs).toEqual(byRows.predictions);
  const files = await Promise.all(digits.map(async (png) => ({ b64: await readFile(png, "base64") })));
  expect((await post({ instances: files })).predictions.map(largest)).toEqual(DIGITS);
});

const TRITON = `
import json, sys
import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

host, file = sys.argv[1:]
images = np.fromfile(file, np.uint8).reshape(10, 1, 28, 28).astype(np.float32) / 255
client = http.InferenceServerClient(host, concurrency=4)
answers = {"live": client.is_server_live(), "ready": client.is_server_ready()}
answers["model_ready"] = [client.is_model_ready("lenet5"), client.is_model_ready("lenet5", "1"), client.is_model_ready("none")]
server = client.get_server_metadata()
answers["server"] = [server["name"], server["extensions"]]
metadata = client.get_model_metadata("lenet5")
answers["metadata"] = [metadata["name"], metadata["versions"], metadata["platform"], metadata["inputs"][0]["shape"]]
answers["index"] = [[one["name"], one["version"], one["state"]] for one in client.get_model_repository_index()]

def given(values, binary, datatype="FP32"):
    tensor = http.InferInput("input0", list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return [tensor]

def asked(binary, name="output0"):
    return [http.InferRequestedOutput(name, binary_data=binary)]

def digits(result):
    return result.as_numpy("output0").argmax(1).tolist()

plain = client.infer("lenet5", given(images, False), outputs=asked(False), request_id="42")
binary = client.infer("lenet5", given(images, True), outputs=asked(True), model_version="1")
answers["json"] = digits(plain)
answers["binary"] = digits(binary)
answers["same"] = bool((plain.as_numpy("output0") == binary.as_numpy("output0")).all()) and plain.get_response()["id"] == "42"
mixed = client.infer("lenet5", given(images, True), outputs=asked(False, "label"))
answers["mixed"] = [mixed.as_numpy("label").tolist(), [one["name"] for one in mixed.get_response()["outputs"]]]
answers["many"] = [digits(client.infer("lenet5", given(images, True))) for _ in range(20)]
answers["async"] = [digits(client.async_infer("lenet5", given(images[i : i + 1], True)).get_result())[0] for i in range(10)]

def refused(call):
    try:
        call()
    except InferenceServerException as error:
        return [error.status(), len(error.message()) > 10]

small = np.zeros([1, 5], np.float32)
words = np.array([["a"]], dtype=object)
answers["errors"] = {
    "unknown": refused(lambda: client.infer("none", given(images, True))),
    "version": refused(lambda: client.infer("lenet5", given(images, True), model_version="9")),
    "output": refused(lambda: client.infer("lenet5", given(images, True), outputs=asked(True, "nothing"))),
    "shape": refused(lambda: client.infer("lenet5", given(small, True))),
    "bytes": refused(lambda: client.infer("lenet5", given(words, True, "BYTES"))),
    "classification": refused(lambda: client.infer("lenet5", given(images, True), outputs=[http.InferRequestedOutput("output0", class_count=3)])),
}

def state():
    return [client.get_model_repository_index()[0]["state"], client.is_model_ready("lenet5")]

client.unload_model("lenet5")
answers["unloaded"] = state()
client.load_model("lenet5")
answers["loaded"] = state()
print(json.dumps(answers))
`;

const GRPC = `
import json, sys
import numpy as np
import tritonclient.grpc as triton

host, file = sys.argv[1:]
images = np.fromfile(file, np.uint8).reshape(10, 1, 28, 28).astype(np.float32) / 255
client = triton.InferenceServerClient(host)
metadata = client.get_model_metadata("lenet5")
answers = {"metadata": [list(metadata.versions), list(metadata.inputs[0].shape), [output.name for output in metadata.outputs]]}

def given(values):
    tensor = triton.InferInput("input0", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values)
    return [tensor]

result = client.infer("lenet5", given(images))
logs, probabilities = result.as_numpy("output0"), result.as_numpy("probabilities")
answers["all"] = [logs.argmax(1).tolist(), probabilities.argmax(1).tolist(), result.as_numpy("label").tolist()]
answers["same"] = bool(np.allclose(np.exp(logs), probabilities, atol=1e-6))
answers["one_by_one"] = [client.infer("lenet5", given(images[i : i + 1])).as_numpy("label").tolist()[0] for i in range(10)]
print(json.dumps(answers))
`;

// A process of its own: two clients that bring the same messages do not get on in one.
const KSERVE_GRPC = `
import asyncio, json, sys
import numpy as np
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceGRPCClient

host, file = sys.argv[1:]
images = np.fromfile(file, np.uint8).reshape(10, 1, 28, 28).astype(np.float32) / 255

def request(binary):
    tensor = InferInput("input0", list(images.shape), "FP32")
    tensor.set_data_from_numpy(images, binary_data=binary)
    return InferRequest(model_name="lenet5", infer_inputs=[tensor], request_id="42")

def digits(answer):
    return next(output for output in answer.outputs if output.name == "output0").as_numpy().reshape(10, 10).argmax(1).tolist()

async def main():
    async with InferenceGRPCClient(host) as kserve:
        typed = await kserve.infer(request(False))
        raw = await kserve.infer(request(True))
        return {
            "live": await kserve.is_server_live(),
            "ready": await kserve.is_server_ready(),
            "model_ready": await kserve.is_model_ready("lenet5"),
            "typed": digits(typed),
            "raw": digits(raw),
            "id": typed.id,
        }

print(json.dumps(asyncio.run(main())))
`;

const KSERVE = `
import asyncio, json, sys
import httpx
import numpy as np
from kserve import InferInput, InferRequest, InferenceRESTClient, RESTConfig

url, file = sys.argv[1:]
images = np.fromfile(file, np.uint8).reshape(10, 1, 28, 28).astype(np.float32) / 255

def request(binary):
    tensor = InferInput("input0", list(images.shape), "FP32")
    tensor.set_data_from_numpy(images, binary_data=binary)
    return InferRequest(model_name="lenet5", infer_inputs=[tensor], request_id="42")

def digits(answer):
    return next(output for output in answer.outputs if output.name == "output0").as_numpy().reshape(10, 10).argmax(1).tolist()

async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    plain = await client.infer(url, request(False), model_name="lenet5")
    binary = await client.infer(url, request(True), model_name="lenet5")
    answers = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model_ready": await client.is_model_ready(url, "lenet5"),
        "unknown_ready": await client.is_model_ready(url, "none"),
        "json": digits(plain),
        "binary": digits(binary),
        "id": plain.id,
    }
    try:
        await client.infer(url, request(False), model_name="none")
    except httpx.HTTPStatusError as error:
        answers["error"] = error.response.status_code
    older = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    rows = await older.infer(url, {"instances": images.tolist()}, model_name="lenet5")
    answers["v1"] = np.array(rows["predictions"]).argmax(1).tolist()
    print(json.dumps(answers))

asyncio.run(main())
`;
