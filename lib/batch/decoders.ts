// Threads that decode image files for a run.
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { packageRoot } from "#package-root";
import { ERRORS, type ErrorName, LeNet5Error } from "../errors.js";
import { own } from "../is.js";
import type { DecodedFiles } from "./decode-files.js";
import { BETWEEN_NAMES, type DecodingAnswer, type DecodingJob, type DecodingThread } from "./decoding.js";

const SCRIPT = join(packageRoot, "dist", "esm", "cli", "decoding-worker.js");

interface Waiting {
  resolve: (decoded: DecodedFiles) => void;
  reject: (error: unknown) => void;
}

/** One thread, and the jobs that it has. */
class Decoder {
  readonly #worker: Worker;
  readonly #jobs = new Map<number, Waiting>();
  readonly #ended: Promise<void>;
  #next = 0;
  #failure: LeNet5Error | undefined;

  constructor(root: string) {
    this.#worker = new Worker(SCRIPT, { workerData: { root } satisfies DecodingThread });
    this.#worker.on("message", (answer: DecodingAnswer) => this.#take(answer));
    this.#worker.on("error", (error) =>
      this.#fail(new LeNet5Error("NATIVE_FAILURE", `A decoding thread failed: ${error}`)),
    );
    this.#ended = new Promise((resolve) => {
      this.#worker.on("exit", () => {
        this.#fail(new LeNet5Error("NATIVE_FAILURE", "A decoding thread ended before its work"));
        resolve();
      });
    });
  }

  /** Number of jobs that it has. */
  get load(): number {
    return this.#jobs.size;
  }

  decode(names: readonly string[]): Promise<DecodedFiles> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      const id = this.#next++;
      this.#jobs.set(id, { resolve, reject });
      this.#worker.postMessage({ id, names: names.join(BETWEEN_NAMES) } satisfies DecodingJob);
    });
  }

  /** Resolves when the thread has ended; its jobs are dropped. */
  async end(): Promise<void> {
    this.#worker.postMessage({ id: -1 } satisfies DecodingJob);
    await this.#ended;
  }

  #take(answer: DecodingAnswer): void {
    const job = this.#jobs.get(answer.id);
    this.#jobs.delete(answer.id);
    if ("failure" in answer) job?.reject(errorOf(answer.failure));
    else job?.resolve(answer);
  }

  #fail(error: LeNet5Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#jobs.values()) reject(this.#failure);
    this.#jobs.clear();
  }
}

/** As many threads as asked for, which share the batches. */
export class Decoders {
  readonly #decoders: Decoder[];

  /**
   * Starts the threads.
   * @param root - where the files' names are relative to; "" where they are paths
   */
  constructor(root: string, threads: number) {
    this.#decoders = Array.from({ length: threads }, () => new Decoder(root));
  }

  /** Decodes files, on the thread that has the least to do. */
  decode(names: readonly string[]): Promise<DecodedFiles> {
    return this.#decoders.reduce((least, one) => (one.load < least.load ? one : least)).decode(names);
  }

  /** Resolves when all threads have ended; what they had to do is dropped. */
  async end(): Promise<void> {
    await Promise.all(this.#decoders.map((one) => one.end()));
  }
}

/** The error that a thread met. */
function errorOf({ code, message }: { code: string | undefined; message: string }): LeNet5Error {
  const name = code?.slice("LENET5_".length);
  return new LeNet5Error(own(ERRORS, name) === undefined ? "NATIVE_FAILURE" : (name as ErrorName), message);
}
