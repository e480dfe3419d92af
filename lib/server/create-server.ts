// A server: its repository, its metrics, its applications and their addresses, from the first to the last.
import { type AddressInfo, isIP } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import { LeNet5Error } from "../errors.js";
import { isNativeError, isObject } from "../is.js";
import { mainApplication, protocolApplication } from "./application.js";
import { type Authentication, authentication } from "./authentication.js";
import { lastAnswers } from "./last-answers.js";
import type { ModelRepository } from "./model-repository.js";
import { type PortName, type ServerOptions, type ServerSettings, serverSettings } from "./options.js";
import { PrometheusMetrics } from "./prometheus.js";
import type { ProtocolContext } from "./protocol.js";
import { type GrpcServer, startOpenInferenceGrpc } from "./protocols/open-inference-grpc.js";
import { FolderRepository } from "./repository.js";

/** Where a server listens. */
export interface ServerAddress {
  /** `main`, or the protocol that has this port for itself. */
  readonly name: "main" | PortName;
  /** The address that it is bound to. */
  readonly host: string;
  /** The port, also where any free one was asked for. */
  readonly port: number;
  /** For example `http://127.0.0.1:8080`. */
  readonly url: string;
}

/** A server of models. Made by {@link createServer}. */
export interface Server {
  /**
   * Opens the ports, then loads the models; resolves when every model is ready or given up on. A second call waits for the
   * first.
   * @returns the addresses, the main one first
   * @throws LENET5_LISTEN_FAILED, LENET5_DATA_NOT_FOUND, LENET5_DEPENDENCY_MISSING; LENET5_DISPOSED where it was closed
   * before or meanwhile: a server is opened once
   */
  listen(): Promise<readonly ServerAddress[]>;
  /**
   * Is not ready from here on, but takes requests for as long as `shutdownDelayMilliseconds` says; then takes no more connections,
   * answers the requests under way for as long as `drainMilliseconds` says, and lets go of the models. A second call waits for the
   * first.
   */
  close(): Promise<void>;
  /** The models. */
  readonly repository: ModelRepository;
  /** The addresses, once it listens. */
  readonly addresses: readonly ServerAddress[];
}

/**
 * A server that existing clients speak to: Open Inference Protocol v2 (Triton, KServe), TorchServe's and TensorFlow Serving's
 * REST APIs, on one port. Nothing happens before {@link Server.listen}.
 * @throws LENET5_UNKNOWN_OPTION, LENET5_INVALID_OPTION, LENET5_DEPENDENCY_MISSING (Fastify and its kin are installed by
 * whoever serves)
 */
export function createServer(options: ServerOptions): Server {
  return new ModelServer(serverSettings(options));
}

class ModelServer implements Server {
  readonly #settings: ServerSettings;
  readonly #repository: FolderRepository;
  readonly #metrics: PrometheusMetrics;
  readonly #context: ProtocolContext;
  readonly #authentication: Authentication;
  readonly #applications: FastifyInstance[] = [];
  /** For each of them: from now on every answer is its connection's last. */
  readonly #lastAnswers: (() => void)[] = [];
  #grpc: GrpcServer | undefined;
  #addresses: ServerAddress[] = [];
  #log: { info(message: string): void; warn(message: string): void } = { info: () => {}, warn: () => {} };
  #listening: Promise<readonly ServerAddress[]> | undefined;
  #closing: Promise<void> | undefined;

  constructor(settings: ServerSettings) {
    this.#settings = settings;
    const { modelRepository: folder, limits, device, pollMilliseconds } = settings;
    const metrics = new PrometheusMetrics(() => this.#repository.statuses());
    this.#metrics = metrics;
    this.#repository = new FolderRepository({
      folder,
      limits,
      device,
      pollMilliseconds,
      log: { info: (message) => this.#log.info(message), warn: (message) => this.#log.warn(message) },
      observer: (name, version) => metrics.observer(name, version),
    });
    const { inferenceToken: inference, managementToken: management } = settings;
    this.#authentication = authentication({ inference, management });
    this.#context = {
      repository: this.#repository,
      metrics,
      management: settings.management,
      bodyLimit: settings.bodyLimit,
      guard: this.#authentication.guard,
    };
  }

  get repository(): ModelRepository {
    return this.#repository;
  }

  get addresses(): readonly ServerAddress[] {
    return this.#addresses;
  }

  listen(): Promise<readonly ServerAddress[]> {
    this.#listening ??= this.#listen();
    return this.#listening;
  }

  async #listen(): Promise<readonly ServerAddress[]> {
    try {
      this.#requireOpen();
      const main = await mainApplication(this.#context, this.#settings);
      this.#log = main.log;
      await this.#open("main", main, this.#settings.port);
      for (const [name, port] of Object.entries(this.#settings.ports) as [PortName, number][]) {
        if (name === "grpc") await this.#openGrpc(port);
        else await this.#open(name, await protocolApplication(name, this.#context, this.#settings), port);
      }
      await this.#repository.open();
      this.#requireOpen();
    } catch (error) {
      await this.close();
      throw error;
    }
    return this.#addresses;
  }

  /** @throws LENET5_DISPOSED */
  #requireOpen(): void {
    if (this.#closing === undefined) return;
    throw new LeNet5Error("DISPOSED", "Expected a server that is open for listen() but received one that was closed");
  }

  async #open(name: ServerAddress["name"], application: FastifyInstance, port: number): Promise<void> {
    this.#requireOpen();
    this.#applications.push(application);
    this.#lastAnswers.push(lastAnswers(application.server));
    const { host } = this.#settings;
    await application.listen({ host, port }).catch((cause) => {
      this.#requireOpen();
      throw listenFailed(host, port, cause);
    });
    // Whoever closed the server meanwhile may not have closed this one.
    if (this.#closing !== undefined) await application.close();
    this.#requireOpen();
    const address = application.server.address() as AddressInfo;
    const shown = address.family === "IPv6" ? `[${address.address}]` : address.address;
    this.#addresses.push({ name, host: address.address, port: address.port, url: `http://${shown}:${address.port}` });
  }

  async #openGrpc(port: number): Promise<void> {
    this.#requireOpen();
    const { host, requestTimeoutMilliseconds, maxConnections } = this.#settings;
    const { authorize } = this.#authentication;
    const onFault = (error: unknown): void => this.#log.warn(`A call of gRPC failed: ${error}`);
    const context = { ...this.#context, authorize, onFault };
    this.#grpc = await startOpenInferenceGrpc(context, { host, port, requestTimeoutMilliseconds, maxConnections });
    if (this.#closing !== undefined) await this.#grpc.close(0);
    this.#requireOpen();
    const shown = isIP(host) === 6 ? `[${host}]` : host;
    this.#addresses.push({ name: "grpc", host, port: this.#grpc.port, url: `grpc://${shown}:${this.#grpc.port}` });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { drainMilliseconds, shutdownDelayMilliseconds } = this.#settings;
    // A server that was never ready, or has no model, has nobody to take leave of.
    const isInUse = this.#repository.ready && this.#repository.statuses().some(({ state }) => state === "ready");
    this.#repository.retire();
    this.#grpc?.retire();
    for (const begin of this.#lastAnswers) begin();
    if (isInUse && shutdownDelayMilliseconds > 0) await wait(shutdownDelayMilliseconds);
    const servers = this.#applications.map(({ server }) => server);
    // A connection that had a request under way is idle when that is answered, and would stay open for another one.
    const idle = setInterval(() => {
      for (const server of servers) server.closeIdleConnections();
    }, 20);
    let limit: NodeJS.Timeout | undefined;
    const isOver = new Promise<void>((resolve) => {
      limit = setTimeout(() => {
        for (const server of servers) server.closeAllConnections();
        resolve();
      }, drainMilliseconds);
    });
    const closing = this.#applications.map((application) => application.close());
    await Promise.all([...closing, this.#grpc?.close(drainMilliseconds)]);
    clearInterval(idle);
    // A pass through a module cannot be cut off; it is not waited for beyond the limit either.
    await Promise.race([this.#repository.close(), isOver]);
    clearTimeout(limit);
    this.#metrics.close();
  }
}

function listenFailed(host: string, port: number, cause: unknown): LeNet5Error {
  const code = isObject(cause) ? cause.code : undefined;
  const message = isNativeError(cause) ? cause.message : String(cause);
  const why = code === "EADDRINUSE" ? "one that is in use" : `an error (${message})`;
  return new LeNet5Error("LISTEN_FAILED", `Expected a free address for ${host}:${port} but received ${why}`, { cause });
}
