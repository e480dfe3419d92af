// `lenet5 serve`
import { once } from "node:events";
import { join } from "node:path";
import type { Command, Option } from "commander";
import { LeNet5Error } from "../../errors.js";
import type { LogLevel, PortName, Server, ServerAddress, ServerOptions } from "../../server.js";
import { addExamples, perform } from "../command.js";
import { addJsonOption, fromEnvironment, textOption, wholeOption, wordOption } from "../options.js";
import type { Output } from "../output.js";
import { tokenOf } from "../token.js";

interface ServeOptions {
  modelRepository: string;
  allowEmpty?: boolean;
  host: string;
  port: number;
  grpcPort?: number;
  torchservePort?: number;
  torchserveManagementPort?: number;
  tensorflowServingPort?: number;
  openInferencePort?: number;
  metricsPort?: number;
  page: boolean;
  management?: boolean;
  inferenceTokenFile?: string;
  managementTokenFile?: string;
  device: string;
  threads?: number;
  maxBatchSize?: number;
  maxQueueDelay?: number;
  maxQueueSize?: number;
  timeout?: number;
  bodyLimit?: number;
  maxConnections?: number;
  requestTimeout?: number;
  pollInterval?: number;
  drainTimeout?: number;
  shutdownDelay?: number;
  logLevel: LogLevel;
}

const PORT = 65_535;
const DAY = 86_400_000;

/** Adds the command. */
export function serveCommand(program: Command): void {
  const command = program
    .command("serve")
    .description(
      "Serve a folder of models over HTTP: Open Inference Protocol v2 (Triton, KServe), TorchServe's and TensorFlow Serving's REST APIs. Loading a TorchScript module runs code that is in it.",
    )
    .addOption(
      fromEnvironment(
        textOption(
          "--model-repository <dir>",
          "folder of models: <dir>/<name>/<version>/model.pt (.mar, .safetensors)",
        ),
      ).makeOptionMandatory(),
    );
  const option = (each: Option): void => {
    command.addOption(fromEnvironment(each));
  };
  // Not from the environment: Kubernetes sets LENET5_PORT=tcp://… where a service is called lenet5.
  const port = (flags: string, what: string, otherwise?: number): void => {
    command.addOption(wholeOption(`${flags} <n>`, what, 0, PORT).default(otherwise));
  };
  command.option("--allow-empty", "start although there is no model yet, and serve what is put there");
  option(textOption("--host <address>", "address to listen on").default("127.0.0.1"));
  port("--port", "port of all REST protocols; 0 is any that is free", 8080);
  port("--grpc-port", "port of the Open Inference Protocol over gRPC (default: no gRPC)");
  port("--torchserve-port", "a port of its own for TorchServe's inference API, beside --port");
  port("--torchserve-management-port", "the same for its management API");
  port("--tensorflow-serving-port", "the same for TensorFlow Serving's API");
  port("--open-inference-port", "the same for the Open Inference Protocol");
  port("--metrics-port", "the same for /metrics, /livez and /readyz");
  command.option("--no-page", "no page at /");
  command.option("--management", "load, unload and register models by HTTP (default: on a loopback address only)");
  command.option("--no-management", "never do that");
  option(
    textOption("--inference-token-file <file>", "file with the bearer token for inference; or LENET5_INFERENCE_TOKEN"),
  );
  option(textOption("--management-token-file <file>", "the same for management; or LENET5_MANAGEMENT_TOKEN"));
  option(textOption("--device <device>", "where models compute: auto, cpu, cuda, cuda:N").default("auto"));
  option(wholeOption("--threads <n>", "threads of libtorch and of the kernels", 1, 1024));
  option(wholeOption("--max-batch-size <n>", "largest batch of LeNet-5 (default: 64)", 1, 65_536));
  option(
    wholeOption("--max-queue-delay <us>", "longest wait for company, in microseconds (default: 0)", 0, 60_000_000),
  );
  option(wholeOption("--max-queue-size <n>", "requests of a model that may wait (default: 1000)", 1, 1_000_000));
  option(wholeOption("--timeout <ms>", "until a request is given up (default: 30000)", 1, DAY));
  option(wholeOption("--body-limit <bytes>", "largest body (default: 16777216)", 1, 2 ** 31 - 1));
  option(wholeOption("--max-connections <n>", "connections at once (default: 4096)", 1, 1_000_000));
  option(wholeOption("--request-timeout <ms>", "until a client must have sent its request (default: 30000)", 100, DAY));
  option(
    wholeOption("--poll-interval <ms>", "how often the folder is looked through, 0 never (default: 1000)", 0, DAY),
  );
  option(wholeOption("--drain-timeout <ms>", "how long requests may take after SIGTERM (default: 10000)", 0, DAY));
  const delay = "how long to go on taking requests before that, with /readyz at 503 for load balancers (default: 0)";
  option(wholeOption("--shutdown-delay <ms>", delay, 0, DAY));
  option(
    wordOption("--log-level <level>", "how much is logged on stderr, as lines of JSON", [
      "silent",
      "error",
      "warn",
      "info",
      "debug",
      "trace",
    ]).default("warn"),
  );
  addJsonOption(command);
  addExamples(
    command,
    "lenet5 serve --model-repository models",
    "lenet5 serve --model-repository models --host 0.0.0.0 --grpc-port 8081 --inference-token-file token",
    "curl -T seven.png http://127.0.0.1:8080/predictions/digits",
  );
  perform<ServeOptions>(
    command,
    async ({ options, output, signal }) => {
      const { createServer } = await import("../../server.js");
      if (options.threads !== undefined) (await import("../../index.js")).setNumThreads(options.threads);
      const server = createServer(await serverOptions(options));
      const stopped = once(signal, "abort").catch(() => {});
      try {
        const addresses = await Promise.race([server.listen(), stopped]);
        if (signal.aborted) return;
        report(server, addresses as readonly ServerAddress[], options, output);
        await stopped;
      } finally {
        await server.close();
        // What native code still computes then, for nobody, does not hold the process.
        setTimeout(() => process.exit(), 200).unref();
      }
    },
    ({ shutdownDelay = 0 }) => {
      const first = shutdownDelay === 0 ? "" : `Taking requests for ${shutdownDelay} ms more. `;
      return `${first}Stopping when the requests under way are answered; again: at once.`;
    },
  );
}

/** What is served, a line for each model, and where. */
function report(
  server: Server,
  addresses: readonly ServerAddress[],
  { modelRepository, allowEmpty }: ServeOptions,
  output: Output,
): void {
  const models = server.repository.statuses();
  if (models.length === 0 && !allowEmpty) {
    const place = join(modelRepository, "<name>", "<version>", "model.pt");
    throw new LeNet5Error("MODEL_NOT_FOUND", `Expected a model at ${place} but received an empty repository`);
  }
  for (const { name, version, state, reason, file } of models) {
    const words = `${name} ${version} from ${file}`;
    output.print(state === "ready" ? `Loaded ${words}` : `Cannot load ${words}: ${reason}`);
  }
  const where = addresses.map(({ name, url }) => (name === "main" ? url : `${url} (${name})`));
  output.print(`Ready at ${where.join(", ")}`);
  output.finish({
    addresses,
    models: models.map(({ name, version, state, reason }) => ({ name, version, state, reason })),
  });
}

async function serverOptions(options: ServeOptions): Promise<ServerOptions> {
  const ports: Partial<Record<PortName, number | undefined>> = {
    grpc: options.grpcPort,
    torchserve: options.torchservePort,
    "torchserve-management": options.torchserveManagementPort,
    "tensorflow-serving": options.tensorflowServingPort,
    "open-inference": options.openInferencePort,
    metrics: options.metricsPort,
  };
  const given: { [K in keyof ServerOptions]?: ServerOptions[K] | undefined } = {
    modelRepository: options.modelRepository,
    host: options.host,
    port: options.port,
    page: options.page,
    management: options.management,
    inferenceToken: await tokenOf(options.inferenceTokenFile, "LENET5_INFERENCE_TOKEN"),
    managementToken: await tokenOf(options.managementTokenFile, "LENET5_MANAGEMENT_TOKEN"),
    device: options.device,
    maxBatchSize: options.maxBatchSize,
    maxQueueDelayMicroseconds: options.maxQueueDelay,
    maxQueueSize: options.maxQueueSize,
    timeoutMilliseconds: options.timeout,
    bodyLimit: options.bodyLimit,
    maxConnections: options.maxConnections,
    requestTimeoutMilliseconds: options.requestTimeout,
    pollMilliseconds: options.pollInterval,
    drainMilliseconds: options.drainTimeout,
    shutdownDelayMilliseconds: options.shutdownDelay,
    logLevel: options.logLevel,
  };
  return { ...(withoutUndefined(given) as ServerOptions), ports: withoutUndefined(ports) };
}

function withoutUndefined<T extends object>(given: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}
