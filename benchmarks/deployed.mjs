#!/usr/bin/env node
// Measures a model on a server that runs: `node benchmarks/deployed.mjs --help`. The lifecycle's task `benchmark`.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { packageEntry } from "./runner/paths.mjs";
import { absentApacheBench } from "./runner/serving/apache-bench.mjs";
import { binaryRequest, post } from "./runner/serving/requests.mjs";
import { window } from "./runner/suites/serving.mjs";

const help = `Usage: node benchmarks/deployed.mjs --url ADDRESS --model-name NAME --model-version N --data DIR [options]

  --data DIR         MNIST's IDX files; the first test image is sent
  --concurrency N    connections at a time (default: 8)
  --seconds N        seconds of load (default: 3)

Needs ApacheBench. The last line of stdout is one JSON object; an answer that is not right counts as a failure.
`;

function arguments_() {
  const text = { type: "string" };
  const number = (otherwise) => ({ type: "string", default: otherwise });
  try {
    const { values } = parseArgs({
      options: {
        ...{ url: text, "model-name": text, "model-version": text, data: text },
        ...{ concurrency: number("8"), seconds: number("3"), help: { type: "boolean" } },
      },
    });
    if (values.help) return values;
    for (const name of ["url", "model-name", "model-version", "data"]) {
      if (!values[name]) throw new Error(`Expected a value for --${name} but received none`);
    }
    for (const name of ["concurrency", "seconds"]) {
      if (!/^[1-9]\d{0,3}$/.test(values[name])) {
        throw new Error(`Expected a whole number from 1 to 9999 for --${name} but received "${values[name]}"`);
      }
    }
    return values;
  } catch (error) {
    console.error(error.message);
    process.exit(2);
  }
}

async function firstTestImage(folder) {
  const { idx } = await import(packageEntry);
  const path = join(folder, "t10k-images-idx3-ubyte.gz");
  const { data } = await idx.read(path);
  return Float32Array.from(data.subarray(0, 784), (pixel) => pixel / 255);
}

/** The class that the server answers before the load: a smoke test has held it against the model's file. */
async function classOf(url, pixels, model) {
  for (let label = 0; label < 10; label += 1) {
    const request = binaryRequest(pixels, label, model);
    if (request.isRight(await post(url + request.path, request))) return request;
  }
  throw new Error(`Expected probabilities of ten classes for ${url} but received another answer`);
}

const values = arguments_();
if (values.help) console.log(help);
else {
  const folder = await mkdtemp(join(tmpdir(), "lenet5-deployed-"));
  try {
    const why = absentApacheBench();
    if (why !== undefined) throw new Error(why);
    const url = values.url.replace(/\/+$/, "");
    const model = `${values["model-name"]}/versions/${values["model-version"]}`;
    const request = await classOf(url, await firstTestImage(values.data), model);
    const [concurrency, seconds] = [Number(values.concurrency), Number(values.seconds)];
    const taken = await window({ url }, request, concurrency, seconds, folder);
    if (taken.wrong > 0) throw new Error(`${taken.wrong} of ${taken.complete} answers were not right`);
    const { requestsPerSecond, p50Ms, p99Ms, complete } = taken;
    console.log(
      JSON.stringify({ what: request.what, concurrency, requests: complete, requestsPerSecond, p50Ms, p99Ms }),
    );
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
