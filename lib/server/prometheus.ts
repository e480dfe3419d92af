// The server's counters, through prom-client, in a registry of their own.
import { hostname } from "node:os";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Registry } from "prom-client";
import type { BatchObserver } from "./batcher.js";
import { promClient } from "./dependencies.js";
import type { RequestOutcome, ServerMetrics } from "./metrics.js";
import type { VersionStatus } from "./model-repository.js";
import { counter, histogram } from "./tally.js";

const SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** Milliseconds between two looks at the event loop. */
const TURN = 10;
const ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/** Counts what one server does. */
export class PrometheusMetrics implements ServerMetrics {
  readonly #registry: Registry;
  readonly #requestsOf;
  readonly #errors;
  readonly #requestSeconds;
  readonly #queueSeconds;
  readonly #computeSeconds;
  readonly #batchSize;
  readonly #inferences;
  readonly #inferenceMicroseconds;
  readonly #queueMicroseconds;
  /** What a request of one outcome counts into. */
  readonly #outcomes = new Map<string, (seconds: number) => void>();
  readonly #host = hostname();
  readonly #delay = monitorEventLoopDelay({ resolution: TURN });
  #requests = 0;

  /** @param statuses - asked at each reading */
  constructor(statuses: () => readonly VersionStatus[]) {
    const { Gauge, Registry } = promClient();
    const registry = new Registry();
    const registers = [registry];
    this.#registry = registry;
    this.#requestsOf = counter(registry, "lenet5_requests_total", "Inference requests, by how they ended");
    const errors = "Inference requests that were answered with an error";
    this.#errors = counter(registry, "lenet5_request_errors_total", errors);
    const took = "Time from a request to its answer";
    this.#requestSeconds = histogram(registry, "lenet5_request_seconds", took, SECONDS);
    const waited = "Time that a request waits for its batch";
    this.#queueSeconds = histogram(registry, "lenet5_queue_seconds", waited, SECONDS);
    const computed = "Time that a batch takes in the model";
    this.#computeSeconds = histogram(registry, "lenet5_compute_seconds", computed, SECONDS);
    this.#batchSize = histogram(registry, "lenet5_batch_size", "Rows of a batch", ROWS);
    this.#inferences = counter(registry, "ts_inference_requests_total", "Total number of inference requests");
    const inference = "Cumulative inference duration in microseconds";
    this.#inferenceMicroseconds = counter(registry, "ts_inference_latency_microseconds", inference);
    const queue = "Cumulative queue duration in microseconds";
    this.#queueMicroseconds = counter(registry, "ts_queue_latency_microseconds", queue);
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
      labelNames: ["model", "version"] as const,
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

  get requests(): number {
    return this.#requests;
  }

  request({ protocol, model = "", version = "", status, seconds }: RequestOutcome): void {
    const key = `${protocol} ${model} ${version} ${status}`;
    let count = this.#outcomes.get(key);
    if (count === undefined) {
      count = this.#counting(protocol, model, version, status);
      this.#outcomes.set(key, count);
    }
    this.#requests += 1;
    count(seconds);
  }

  #counting(protocol: string, model: string, version: string, status: number): (seconds: number) => void {
    const labels = { protocol, model, version, status };
    const requests = this.#requestsOf.of(labels);
    const errors = status >= 400 ? this.#errors.of(labels) : undefined;
    const took = this.#requestSeconds.of({ protocol });
    const torchServe = { model_name: model, model_version: version, hostname: this.#host };
    const inferences = model === "" ? undefined : this.#inferences.of(torchServe);
    const microseconds = model === "" ? undefined : this.#inferenceMicroseconds.of(torchServe);
    return (seconds) => {
      requests.value += 1;
      if (errors !== undefined) errors.value += 1;
      took.observe(seconds);
      if (inferences !== undefined) inferences.value += 1;
      if (microseconds !== undefined) microseconds.value += seconds * 1e6;
    };
  }

  /** Counts a version's batches. */
  observer(model: string, version: string): BatchObserver {
    const labels = { model, version };
    const queueSeconds = this.#queueSeconds.of(labels);
    const computeSeconds = this.#computeSeconds.of(labels);
    const batchSize = this.#batchSize.of(labels);
    const torchServe = { model_name: model, model_version: version, hostname: this.#host };
    const queueMicroseconds = this.#queueMicroseconds.of(torchServe);
    return {
      waited: (milliseconds) => {
        queueSeconds.observe(milliseconds / 1e3);
        queueMicroseconds.value += milliseconds * 1e3;
      },
      computed: (rows, milliseconds) => {
        computeSeconds.observe(milliseconds / 1e3);
        batchSize.observe(rows);
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
