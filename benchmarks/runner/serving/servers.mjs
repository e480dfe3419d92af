// The servers that are compared, each with the requests that it answers.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { packageEntry, pythonExecutable, root, systems } from "../paths.mjs";
import { emptied, post } from "./requests.mjs";
import { freePorts, ServerProcess } from "./server-process.mjs";

/** Batches of every server: as many requests as come together, none waited for. */
export const BATCHING = { batchSize: 64, delay: 0, queue: 1000 };

const ready = (output) => /Ready at (http:\/\/[\d.:]+)/.exec(output)?.[1];

/** `lenet5 serve` on a repository with the measured weights. */
export async function startOurs(folder, model, requests, environment) {
  const repository = join(folder, "models");
  await mkdir(join(repository, "lenet5", "1"), { recursive: true });
  await copyFile(model.torchscript, join(repository, "lenet5", "1", "model.pt"));
  const { batchSize, delay, queue } = BATCHING;
  const server = new ServerProcess(
    process.execPath,
    [
      join(dirname(packageEntry), "cli", "main.js"),
      ...["serve", "--model-repository", repository, "--port", "0"],
      ...["--max-batch-size", batchSize, "--max-queue-delay", delay, "--max-queue-size", queue].map(String),
    ],
    { env: environment },
  );
  const url = await server.until(ready);
  return { system: "lenet5-serve", server, url, requests, settings: "its defaults" };
}

/** The ceiling. */
export async function startEmpty(requests, environment) {
  const server = new ServerProcess(process.execPath, [join(systems, "empty_server.mjs")], { env: environment });
  const url = await server.until(ready);
  return { system: "fastify-empty", server, url, requests: requests.map(emptied), settings: "the body read, {}" };
}

/** Python with TorchServe in it, or why there is none. */
export function findTorchServe() {
  const python = process.env.LENET5_PYTHON ?? join(root, ".venv", "bin", "python");
  const torchserve = join(dirname(python), "torchserve");
  if (!existsSync(torchserve)) return { why: "torchserve is not installed: run `npm run setup:python`" };
  const java = process.env.JAVA_HOME ? join(process.env.JAVA_HOME, "bin", "java") : "java";
  if (spawnSync(java, ["-version"]).status !== 0) return { why: "Java 17 is not installed" };
  return { torchserve };
}

/** TorchServe with the archive that this package exports. */
export async function startTorchServe(folder, torchserve, archive, workers, requests, environment) {
  for (const name of ["store", "logs", "temporary"]) await mkdir(join(folder, name), { recursive: true });
  await copyFile(archive, join(folder, "store", "lenet5.mar"));
  const [inference, management, metrics, grpcInference, grpcManagement] = await freePorts(5);
  const { batchSize, delay, queue } = BATCHING;
  const model = {
    defaultVersion: true,
    marName: "lenet5.mar",
    minWorkers: workers,
    maxWorkers: workers,
    batchSize,
    maxBatchDelay: delay,
    responseTimeout: 120,
  };
  await writeFile(
    join(folder, "config.properties"),
    [
      `inference_address=http://127.0.0.1:${inference}`,
      `management_address=http://127.0.0.1:${management}`,
      `metrics_address=http://127.0.0.1:${metrics}`,
      `grpc_inference_port=${grpcInference}`,
      `grpc_management_port=${grpcManagement}`,
      `job_queue_size=${queue}`,
      "load_models=lenet5.mar",
      `models={"lenet5":{"1.0":${JSON.stringify(model)}}}`,
      "",
    ].join("\n"),
  );
  const logs = join(folder, "logs");
  const server = new ServerProcess(
    torchserve,
    [
      ...["--foreground", "--disable-token-auth", "--enable-model-api", "--no-config-snapshots"],
      ...["--model-store", join(folder, "store"), "--ts-config", join(folder, "config.properties")],
    ],
    {
      cwd: folder,
      env: {
        ...environment,
        PATH: `${dirname(torchserve)}:${environment.PATH}`,
        LOG_LOCATION: logs,
        METRICS_LOCATION: logs,
        TEMP: join(folder, "temporary"),
        TMPDIR: join(folder, "temporary"), // where its pid file is, one a machine otherwise
      },
    },
  );
  const url = `http://127.0.0.1:${inference}`;
  const [request] = requests;
  try {
    await server.until(async () => request.isRight(await post(url + request.path, request)));
  } catch (error) {
    await server.end();
    throw error;
  }
  return { system: "torchserve", server, url, requests, settings: `${workers} worker${workers > 1 ? "s" : ""}` };
}

/** The version of an installed Python package beside an executable. */
export function torchServeVersion(torchserve) {
  const python = join(dirname(torchserve), "python");
  const code = "import importlib.metadata as m; print(m.version('torchserve'))";
  return spawnSync(python, ["-c", code], { encoding: "utf8" }).stdout.trim();
}

/** A TensorFlow Serving that runs (TFSERVING_URL), or the binary and what makes its model; or why there is none. */
export function findTensorFlowServing() {
  const url = process.env.TFSERVING_URL?.replace(/(:predict)?\/?$/, "");
  if (url) return { url };
  const binary = "tensorflow_model_server";
  if (spawnSync(binary, ["--version"]).status !== 0) {
    return {
      why: `neither TFSERVING_URL (a model's address: http://host:8501/v1/models/lenet5) nor ${binary} is there`,
    };
  }
  if (!existsSync(pythonExecutable)) return { why: "TensorFlow, which writes its model, is not installed" };
  return { binary };
}

/** TensorFlow Serving, as it was started elsewhere or with the measured weights. */
export async function startTensorFlowServing(folder, { url, binary }, requests, { modelFiles, environment }) {
  if (url !== undefined) return { system: "tensorflow-serving", url, requests, settings: "as it was started" };
  const models = join(folder, "tensorflow", "lenet5");
  const code = join(systems, "tensorflow_saved_model.py");
  const made = spawnSync(pythonExecutable, [code, modelFiles.description, modelFiles.parameters, join(models, "1")], {
    env: environment,
  });
  if (made.status !== 0) throw new Error(`no model for TensorFlow Serving: ${made.stderr.toString().slice(-500)}`);
  const [grpc, rest] = await freePorts(2);
  const { batchSize, delay } = BATCHING;
  const batching = join(folder, "tensorflow", "batching.txt");
  await writeFile(
    batching,
    `max_batch_size { value: ${batchSize} }\nbatch_timeout_micros { value: ${delay} }\nmax_enqueued_batches { value: 1000 }\n`,
  );
  const server = new ServerProcess(
    binary,
    [
      ...[`--port=${grpc}`, `--rest_api_port=${rest}`, "--model_name=lenet5", `--model_base_path=${models}`],
      ...["--enable_batching=true", `--batching_parameters_file=${batching}`],
    ],
    { env: environment },
  );
  const at = `http://127.0.0.1:${rest}/v1/models/lenet5`;
  const [request] = requests;
  try {
    await server.until(async () => request.isRight(await post(at + request.path, request)));
  } catch (error) {
    await server.end();
    throw error;
  }
  return { system: "tensorflow-serving", server, url: at, requests, settings: "batches as ours" };
}
