// The options of `createServer`, checked and completed.
import { isIP } from "node:net";
import { expected, expectedButGot } from "../errors.js";
import { isObject } from "../is.js";
import { oneOf, readOptions, trueOrFalse, wholeNumber } from "../options.js";
import type { QueueLimits } from "./batcher.js";
import { limitsOf } from "./model-config.js";

/** A protocol of the main address, by its name. */
export type ProtocolName = "open-inference" | "torchserve" | "tensorflow-serving";

/** What may have a port of its own. `torchserve-management` is the management half of TorchServe's. */
export type PortName = ProtocolName | "torchserve-management" | "grpc" | "metrics";

/** How much is logged. */
export type LogLevel = "silent" | "error" | "warn" | "info" | "debug" | "trace";

/** Options of {@link createServer}. */
export interface ServerOptions {
  /** The folder of models: `DIR/<name>/<version>/model.pt` (or `.mar`, `.safetensors`). */
  modelRepository: string;
  /** Address to listen on. @defaultValue "127.0.0.1" */
  host?: string;
  /** Port of the main address; 0 is any that is free. @defaultValue 8080 */
  port?: number;
  /** Protocols of the main address. @defaultValue all */
  protocols?: readonly ProtocolName[];
  /**
   * Ports of protocols of their own, beside the main address, for clients that insist on the usual one:
   * `{ torchserve: 8080, "torchserve-management": 8081, "tensorflow-serving": 8501 }`. gRPC has no other: `{ grpc: 8081 }`.
   * @defaultValue none
   */
  ports?: Readonly<Partial<Record<PortName, number>>>;
  /** Whether there is a page at `/`; it asks for inference over Open Inference. @defaultValue true */
  page?: boolean;
  /**
   * Whether models can be loaded, unloaded and registered over the network.
   * @defaultValue true on a loopback address, else false
   */
  management?: boolean;
  /** Token that inference asks for (`Authorization: Bearer …`). @defaultValue none is asked for */
  inferenceToken?: string;
  /** Token that management asks for. @defaultValue none is asked for */
  managementToken?: string;
  /** Where models compute: `auto`, `cpu`, `cuda`, `cuda:N`. @defaultValue "auto" */
  device?: string;
  /** Rows of a batch at most, of LeNet-5; TorchScript modules share batches where their config.json says so. @defaultValue 64 */
  maxBatchSize?: number;
  /** Longest wait for company, in microseconds; 0 takes what gathers while a batch is under way. @defaultValue 0 */
  maxQueueDelayMicroseconds?: number;
  /** Requests of a model that may wait; one more is answered 503 at once. @defaultValue 1000 */
  maxQueueSize?: number;
  /** Until a request is given up with 504. @defaultValue 30000 */
  timeoutMilliseconds?: number;
  /** Largest body, in bytes. @defaultValue 16777216 */
  bodyLimit?: number;
  /** Connections of each port at once; further ones are closed. @defaultValue 4096 */
  maxConnections?: number;
  /** How long a client may take to send one request, in milliseconds. @defaultValue 30000 */
  requestTimeoutMilliseconds?: number;
  /** How often the folder is looked through, in milliseconds; 0 is never. @defaultValue 1000 */
  pollMilliseconds?: number;
  /** How long requests under way may take when the server closes, in milliseconds. @defaultValue 10000 */
  drainMilliseconds?: number;
  /**
   * How long a server that was told to close goes on taking requests, in milliseconds, while `/readyz` says 503 and every answer
   * ends its connection: until load balancers send nothing more. `drainMilliseconds` begins after it.
   * @defaultValue 0
   */
  shutdownDelayMilliseconds?: number;
  /**
   * How much is logged, as lines of JSON on stderr; each request from `debug` on.
   * @defaultValue "warn"
   */
  logLevel?: LogLevel;
}

/** {@link ServerOptions}, complete. */
export interface ServerSettings {
  readonly modelRepository: string;
  readonly host: string;
  readonly port: number;
  readonly protocols: readonly ProtocolName[];
  readonly ports: Readonly<Partial<Record<PortName, number>>>;
  readonly page: boolean;
  readonly management: boolean;
  readonly inferenceToken: string | undefined;
  readonly managementToken: string | undefined;
  readonly device: string;
  readonly limits: QueueLimits;
  readonly bodyLimit: number;
  readonly maxConnections: number;
  readonly requestTimeoutMilliseconds: number;
  readonly pollMilliseconds: number;
  readonly drainMilliseconds: number;
  readonly shutdownDelayMilliseconds: number;
  readonly logLevel: LogLevel;
}

/** The protocols, in the order in which they are listed. */
export const PROTOCOLS: readonly ProtocolName[] = ["open-inference", "torchserve", "tensorflow-serving"];
/** Names of {@link ServerOptions.ports}. */
export const PORTS: readonly PortName[] = [...PROTOCOLS, "torchserve-management", "grpc", "metrics"];
/** Values of {@link ServerOptions.logLevel}. */
export const LOG_LEVELS: readonly LogLevel[] = ["silent", "error", "warn", "info", "debug", "trace"];

const NAMES = [
  "modelRepository",
  "host",
  "port",
  "protocols",
  "ports",
  "page",
  "management",
  "inferenceToken",
  "managementToken",
  "device",
  "maxBatchSize",
  "maxQueueDelayMicroseconds",
  "maxQueueSize",
  "timeoutMilliseconds",
  "bodyLimit",
  "maxConnections",
  "requestTimeoutMilliseconds",
  "pollMilliseconds",
  "drainMilliseconds",
  "shutdownDelayMilliseconds",
  "logLevel",
] as const;

const HIGHEST_PORT = 65_535;
const DAY = 86_400_000;

/** @throws LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_INVALID_ARGUMENT */
export function serverSettings(options: ServerOptions): ServerSettings {
  const read = readOptions(options, NAMES, "createServer");
  const { host = "127.0.0.1", port = 8080, protocols = PROTOCOLS, page = true, device = "auto" } = read;
  const { bodyLimit = 2 ** 24, maxConnections = 4096, requestTimeoutMilliseconds = 30_000 } = read;
  const {
    pollMilliseconds = 1000,
    drainMilliseconds = 10_000,
    shutdownDelayMilliseconds = 0,
    logLevel = "warn",
  } = read;
  const limits = {
    maxBatchSize: 64,
    maxQueueDelayMicroseconds: 0,
    maxQueueSize: 1000,
    timeoutMilliseconds: 30_000,
    ...limitsOf(read, "createServer"),
  };
  const listed: unknown = protocols;
  if (!Array.isArray(listed)) throw expected("INVALID_OPTION", "an array of names", "protocols", listed);
  const { management = isLoopback(host) } = read;
  return {
    modelRepository: text(read.modelRepository, "modelRepository"),
    host: text(host, "host"),
    port: wholeNumber(port, "port", 0, HIGHEST_PORT),
    protocols: listed.map((each) => oneOf(each, "protocols", PROTOCOLS)),
    ports: checkedPorts(read.ports),
    page: trueOrFalse(page, "page"),
    management: trueOrFalse(management, "management"),
    inferenceToken: token(read.inferenceToken, "inferenceToken"),
    managementToken: token(read.managementToken, "managementToken"),
    device: text(device, "device"),
    limits,
    bodyLimit: wholeNumber(bodyLimit, "bodyLimit", 1, 2 ** 31 - 1),
    maxConnections: wholeNumber(maxConnections, "maxConnections", 1, 1_000_000),
    requestTimeoutMilliseconds: wholeNumber(requestTimeoutMilliseconds, "requestTimeoutMilliseconds", 100, DAY),
    pollMilliseconds: wholeNumber(pollMilliseconds, "pollMilliseconds", 0, DAY),
    drainMilliseconds: wholeNumber(drainMilliseconds, "drainMilliseconds", 0, DAY),
    shutdownDelayMilliseconds: wholeNumber(shutdownDelayMilliseconds, "shutdownDelayMilliseconds", 0, DAY),
    logLevel: oneOf(logLevel, "logLevel", LOG_LEVELS),
  };
}

function text(value: unknown, where: string): string {
  if (typeof value !== "string" || value === "") throw expected("INVALID_OPTION", "a text", where, value);
  return value;
}

/** Never shown in a message. */
function token(value: unknown, where: string): string | undefined {
  if (value === undefined || (typeof value === "string" && /^[\x21-\x7e]+$/.test(value))) return value;
  throw expectedButGot("INVALID_OPTION", "a token of ASCII characters without spaces", where, "something else");
}

function checkedPorts(ports: unknown = {}): Partial<Record<PortName, number>> {
  if (!isObject(ports)) throw expected("INVALID_OPTION", "ports by protocol", "ports", ports);
  const read = readOptions(ports as Partial<Record<PortName, number>>, PORTS, "ports");
  for (const [name, port] of Object.entries(read)) wholeNumber(port, `ports.${name}`, 0, HIGHEST_PORT);
  return read;
}

/** An address that only this machine reaches. */
export function isLoopback(host: string): boolean {
  if (host === "localhost" || host === "::1") return true;
  return isIP(host) === 4 && host.startsWith("127.");
}
