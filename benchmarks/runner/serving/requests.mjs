// The requests that are measured, and what a right answer to each is.

/** `post` sends one request and gives its answer. */
export async function post(url, { body, contentType, headers = {} }) {
  const response = await fetch(url, {
    method: "POST",
    body,
    headers: { "content-type": contentType, ...headers },
    signal: AbortSignal.timeout(30_000),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  return { status: response.status, headers: response.headers, bytes };
}

/** Whether probabilities name the label, and sum up to 1. */
function areRight(probabilities, label) {
  if (probabilities.length !== 10 || !probabilities.every(Number.isFinite)) return false;
  const sum = probabilities.reduce((all, one) => all + one, 0);
  return Math.abs(sum - 1) < 1e-3 && probabilities.indexOf(Math.max(...probabilities)) === label;
}

/** A PNG of the digit, as TorchServe's clients send it. */
export function pngRequest(png, label) {
  return {
    what: "PNG digit",
    path: "/predictions/lenet5",
    body: png,
    contentType: "image/png",
    isRight({ status, bytes }) {
      if (status !== 200) return false;
      const answer = JSON.parse(bytes.toString());
      return answer.label === String(label) && areRight(answer.probabilities, label);
    },
  };
}

/** The pixels as a binary tensor of the Open Inference Protocol, answered by one. */
export function binaryRequest(pixels, label, model = "lenet5") {
  const tensor = Buffer.from(Float32Array.from(pixels).buffer);
  const json = Buffer.from(
    JSON.stringify({
      inputs: [
        { name: "input0", shape: [1, 1, 28, 28], datatype: "FP32", parameters: { binary_data_size: tensor.length } },
      ],
      outputs: [{ name: "output0", parameters: { binary_data: true } }],
    }),
  );
  return {
    what: "v2 binary tensor",
    path: `/v2/models/${model}/infer`,
    body: Buffer.concat([json, tensor]),
    contentType: "application/octet-stream",
    headers: { "inference-header-content-length": String(json.length) },
    isRight({ status, headers, bytes }) {
      const at = Number(headers.get("inference-header-content-length"));
      if (status !== 200 || !(at > 0) || bytes.length !== at + 40) return false;
      const [{ name, shape }] = JSON.parse(bytes.subarray(0, at).toString()).outputs;
      const logs = Array.from({ length: 10 }, (_, i) => bytes.readFloatLE(at + 4 * i));
      return name === "output0" && shape.join() === "1,10" && areRight(logs.map(Math.exp), label);
    },
  };
}

/** The pixels as TensorFlow Serving's clients send them: rows of JSON, answered by log-probabilities. */
export function tensorFlowRequest(pixels, label) {
  const rows = Array.from({ length: 28 }, (_, y) => Array.from(pixels.slice(y * 28, y * 28 + 28), (p) => [p]));
  return {
    what: "JSON rows",
    path: ":predict",
    body: Buffer.from(JSON.stringify({ instances: [rows] })),
    contentType: "application/json",
    isRight({ status, bytes }) {
      if (status !== 200) return false;
      const [row] = JSON.parse(bytes.toString()).predictions;
      return Array.isArray(row) && row.indexOf(Math.max(...row)) === label;
    },
  };
}

/** Any answer, of a handler that has read the body. */
export function emptied(request) {
  return { ...request, isRight: ({ status, bytes }) => status === 200 && bytes.toString() === "{}" };
}
