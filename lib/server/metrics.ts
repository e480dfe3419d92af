// What a server counts, as Prometheus reads it.

/** How a request ended. */
export interface RequestOutcome {
  readonly protocol: "open-inference" | "open-inference-grpc" | "torchserve" | "tensorflow-serving" | "page";
  /** The model's name; undefined where the request named none that there is. */
  readonly model: string | undefined;
  readonly version: string | undefined;
  /** HTTP status; for gRPC the HTTP status that fits. */
  readonly status: number;
  readonly seconds: number;
}

/** The counters of one server. */
export interface ServerMetrics {
  /** How many requests have been counted, whoever asked and however they ended. */
  readonly requests: number;
  /** Counts one inference request. */
  request(outcome: RequestOutcome): void;
  /** The whole in Prometheus' text format. */
  text(): Promise<{ contentType: string; body: string }>;
}
