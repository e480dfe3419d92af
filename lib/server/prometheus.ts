// The server's counters, through prom-client, in a registry of their own.
import { hostname } from "node:os";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { BatchObserver } from "./batcher.js";
import { promClient } from "./dependencies.js";
import type { RequestOutcome, ServerMetrics } from "./metrics.js";
import type { VersionStatus } from "./model-repository.js";

const SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** Milliseconds between two looks at the event loop. */
const TURN = 10;
const ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/** Counts what one server does. */
export class PrometheusMetrics implements ServerMetrics {
  readonly #registry;
  readonly #requests;
  readonly #errors;
  readonly #requestSeconds;
  readonly #queueSeconds;
  readonly #computeSeconds;
  readonly #batchSize;
  readonly #inferences;
  readonly #inferenceMicroseconds;
  readonly #queueMicroseconds;
  readonly #host = hostname();
  readonly #delay = monitorEventLoopDelay({ resolution: TURN });

  /** @param statuses - asked at each reading */
  constructor(statuses: () => readonly VersionStatus[]) {
    const { Counter, Gauge, Histogram, Registry } = promClient();
    const registry = new Registry();
    const registers = [registry];
    const model = ["model", "version"] as const;
    const torchServe = ["model_name", "model_version", "hostname"] as const;
    this.#registry = registry;
    this.#requests = new Counter({
      name: "lenet5_requests_total",
      help: "Inference requests, by how they ended",
      labelNames: ["protocol", ...model, "status"] as const,
      registers,
    });
    this.#errors = new Counter({
      name: "lenet5_request_errors_total",
      help: "Inference requests that were answered with an error",
      labelNames: ["protocol", ...model, "status"] as const,
      registers,
    });
    this.#requestSeconds = new Histogram({
      name: "lenet5_request_seconds",
      help: "Time from a request to its answer",
      labelNames: ["protocol"] as const,
      buckets: SECONDS,
      registers,
    });
    this.#queueSeconds = new Histogram({
      name: "lenet5_queue_seconds",
      help: "Time that a request waits for its batch",
      labelNames: model,
      buckets: SECONDS,
      registers,
    });
    this.#computeSeconds = new Histogram({
      name: "lenet5_compute_seconds",
      help: "Time that a batch takes in the model",
      labelNames: model,
      buckets: SECONDS,
      registers,
    });
    this.#batchSize = new Histogram({
      name: "lenet5_batch_size",
      help: "Rows of a batch",
      labelNames: model,
      buckets: ROWS,
      registers,
    });
    this.#inferences = new Counter({
      name: "ts_inference_requests_total",
      help: "Total number of inference requests",
      labelNames: torchServe,
      registers,
    });
    this.#inferenceMicroseconds = new Counter({
      name: "ts_inference_latency_microseconds",
      help: "Cumulative inference duration in microseconds",
      labelNames: torchServe,
      registers,
    });
    this.#queueMicroseconds = new Counter({
      name: "ts_queue_latency_microseconds",
      help: "Cumulative queue duration in microseconds",
      labelNames: torchServe,
      registers,
    });
    new Gauge({
      name: "lenet5_models_ready",
      help: "Versions of models that are ready",
      registers,
      collect() {
        this.set(statuses().filter(({ state }) => state === "ready").length);
      },
    });
    new Gauge({
      name: "lenet5_queue_length",
      help: "Requests that wait",
      labelNames: model,
      registers,
      collect() {
        this.reset();
        for (const { name, version, queued } of statuses()) this.set({ model: name, version }, queued);
      },
    });
    const delay = this.#delay;
    new Gauge({
      name: "lenet5_event_loop_delay_seconds",
      help: "By how much turns of the event loop come late, since the last reading",
      labelNames: ["quantile"] as const,
      registers,
      collect() {
        // What is measured is the time between two looks, TURN of which is meant to be.
        for (const percent of [50, 90, 99, 100]) {
          const late = delay.count === 0 ? 0 : delay.percentile(percent) / 1e9 - TURN / 1e3;
          this.set({ quantile: String(percent / 100) }, Math.max(0, late));
        }
        delay.reset();
      },
    });
    new Gauge({
      name: "process_resident_memory_bytes",
      help: "Resident memory size in bytes",
      registers,
      collect() {
        this.set(process.memoryUsage.rss());
      },
    });
    this.#delay.enable();
  }

  request({ protocol, model = "", version = "", status, seconds }: RequestOutcome): void {
    const labels = { protocol, model, version, status };
    this.#requests.inc(labels);
    if (status >= 400) this.#errors.inc(labels);
    this.#requestSeconds.observe({ protocol }, seconds);
    if (model === "") return;
    const torchServe = { model_name: model, model_version: version, hostname: this.#host };
    this.#inferences.inc(torchServe);
    this.#inferenceMicroseconds.inc(torchServe, seconds * 1e6);
  }

  /** Counts a version's batches. */
  observer(model: string, version: string): BatchObserver {
    const labels = { model, version };
    const torchServe = { model_name: model, model_version: version, hostname: this.#host };
    return {
      waited: (milliseconds) => {
        this.#queueSeconds.observe(labels, milliseconds / 1e3);
        this.#queueMicroseconds.inc(torchServe, milliseconds * 1e3);
      },
      computed: (rows, milliseconds) => {
        this.#computeSeconds.observe(labels, milliseconds / 1e3);
        this.#batchSize.observe(labels, rows);
      },
    };
  }

  async text(): Promise<{ contentType: string; body: string }> {
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() };
  }

  /** Watches the event loop no more. */
  close(): void {
    this.#delay.disable();
  }
}
