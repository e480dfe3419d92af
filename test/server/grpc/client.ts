// A gRPC client made from the protocol's definition by proto-loader, as anyone would make one, and servers for it to talk to.
import path from "node:path";
import * as grpc from "@grpc/grpc-js";
import * as protoLoader from "@grpc/proto-loader";
import { LeNet5Error } from "../../../lib/errors.js";
import {
  type GrpcContext,
  type GrpcOptions,
  type GrpcServer,
  startOpenInferenceGrpc,
} from "../../../lib/server/protocols/open-inference-grpc.js";
import { echo, FakeMetrics, FakeRepository, sums } from "../fake-models.js";

const definition = protoLoader.loadSync(
  ["open-inference.proto", "health.proto"].map((file) => path.join(import.meta.dirname, file)),
  { keepCase: true, longs: Number, enums: String, defaults: true },
);
// biome-ignore lint/suspicious/noExplicitAny: what proto-loader makes has no types
const packages = grpc.loadPackageDefinition(definition) as any;

// biome-ignore lint/suspicious/noExplicitAny: messages are what the definition says
export type Reply = any;

export class Client {
  readonly inference;
  readonly health;
  readonly metadata = new grpc.Metadata();

  /** @param at - a port of this machine, or an address as gRPC writes it */
  constructor(at: number | string, options: grpc.ChannelOptions = {}) {
    const limits = { "grpc.max_send_message_length": -1, "grpc.max_receive_message_length": -1, ...options };
    const credentials = grpc.credentials.createInsecure();
    const address = typeof at === "number" ? `127.0.0.1:${at}` : at;
    this.inference = new packages.inference.GRPCInferenceService(address, credentials, limits);
    this.health = new packages.grpc.health.v1.Health(address, credentials, limits);
  }

  /** One call of the inference service, or of Health for Check. */
  call(name: string, request: object = {}, options: grpc.CallOptions = {}): Promise<Reply> {
    const service = name === "Check" ? this.health : this.inference;
    return new Promise((resolve, reject) => {
      service[name](request, this.metadata, options, (error: grpc.ServiceError | null, reply: Reply) => {
        if (error === null) resolve(reply);
        else reject(error);
      });
    });
  }

  /** Bytes as they are, to a method of the inference service. */
  callRaw(name: string, bytes: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const path = `/inference.GRPCInferenceService/${name}`;
      const through = (value: Buffer): Buffer => value;
      this.inference.makeUnaryRequest(
        path,
        through,
        through,
        bytes,
        this.metadata,
        (error: grpc.ServiceError | null, reply: Buffer) => (error === null ? resolve(reply) : reject(error)),
      );
    });
  }

  close(): void {
    this.inference.close();
    this.health.close();
  }
}

export interface Served {
  server: GrpcServer;
  client: Client;
  repository: FakeRepository;
  metrics: FakeMetrics;
  faults: unknown[];
}

/** A server with the fake models, and a client of it. */
export async function serve(context: Partial<GrpcContext> = {}, options: Partial<GrpcOptions> = {}): Promise<Served> {
  const repository = new FakeRepository([sums("1"), sums("2"), echo()]);
  const metrics = new FakeMetrics();
  const faults: unknown[] = [];
  const server = await startOpenInferenceGrpc(
    {
      repository,
      metrics,
      management: true,
      authorize: () => {},
      bodyLimit: 1024 * 1024,
      onFault: (error) => faults.push(error),
      ...context,
    },
    { host: "127.0.0.1", port: 0, ...options },
  );
  return { server, client: new Client(server.port), repository, metrics, faults };
}

/** Refuses all but this token. */
export function onlyWith(token: string): GrpcContext["authorize"] {
  return (authorization) => {
    if (authorization !== `Bearer ${token}`) throw new LeNet5Error("UNAUTHORIZED", "Expected the server's token");
  };
}

/** An image whose pixels are all `value`, as the request for one model. */
export function imageRequest(value: number, fields: object = {}): Record<string, unknown> {
  return {
    model_name: "sums",
    inputs: [{ name: "input0", datatype: "FP32", shape: [1, 1, 28, 28] }],
    raw_input_contents: [Buffer.from(new Float32Array(784).fill(value).buffer)],
    ...fields,
  };
}
