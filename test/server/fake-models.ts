// A model repository without files, for the tests of one protocol by itself: a LeNet-5-like model that answers at once, one
// that echoes any tensor, one that waits until it is told, and what else a test puts in.
import { LeNet5Error } from "../../lib/errors.js";
import type { RequestOutcome, ServerMetrics } from "../../lib/server/metrics.js";
import type { ModelRepository, VersionStatus } from "../../lib/server/model-repository.js";
import type { InferOptions, ModelDescription, ServedModel } from "../../lib/server/served-model.js";
import type { Tensor } from "../../lib/tensor.js";

type Infer = (inputs: ReadonlyMap<string, Tensor>, options: InferOptions) => Promise<ReadonlyMap<string, Tensor>>;

/** A model of one function. */
export function fakeModel(description: Partial<ModelDescription> & { name: string }, infer: Infer): ServedModel {
  return {
    description: { version: "1", kind: "torchscript", inputs: [], outputs: [], ...description },
    infer: async (inputs, options = {}) => infer(typeof inputs === "function" ? await inputs() : inputs, options),
    respond: async () => {
      throw new LeNet5Error("PROTOCOL_UNSUPPORTED", "The model takes tensors only");
    },
  };
}

/** Sums the pixels of each image: class 0 is the sum, class 1 is minus the sum. Takes `[N, 1, 28, 28]` float32. */
export function sums(version = "1"): ServedModel {
  const inputs = [{ name: "input0", dtype: "float32" as const, shape: [-1, 1, 28, 28] }];
  const outputs = [{ name: "output0", dtype: "float32" as const, shape: [-1, 2] }];
  return fakeModel({ name: "sums", version, kind: "lenet5", inputs, outputs }, async (given) => {
    const tensor = given.get("input0");
    if (tensor === undefined || given.size !== 1) throw new LeNet5Error("SCRIPT_ARGUMENTS", "Expected input0");
    if (tensor.dtype !== "float32") throw new LeNet5Error("INVALID_DTYPE", "Expected float32");
    const [count = 0, ...rest] = tensor.shape;
    if (rest.join() !== "1,28,28") throw new LeNet5Error("INVALID_SHAPE", "Expected [N, 1, 28, 28]");
    const data = new Float32Array(2 * count);
    for (let i = 0; i < count; i++) {
      const sum = (tensor.data as Float32Array).subarray(i * 784, (i + 1) * 784).reduce((all, pixel) => all + pixel, 0);
      data.set([sum, -sum], 2 * i);
    }
    return new Map([["output0", { data, shape: [count, 2], dtype: "float32" as const }]]);
  });
}

/** Gives back what it gets, under the name `echo`. */
export function echo(): ServedModel {
  const inputs = [{ name: "input", dtype: undefined, shape: undefined }];
  const outputs = [{ name: "echo", dtype: undefined, shape: undefined }];
  return fakeModel({ name: "echo", inputs, outputs }, async (given) => {
    const { dtype, shape, data } = given.get("input") ?? {};
    if (data === undefined) throw new LeNet5Error("SCRIPT_ARGUMENTS", "Expected input");
    return new Map([["echo", { dtype, shape, data: data.slice() } as Tensor]]);
  });
}

/** A repository of these models. */
export class FakeRepository implements ModelRepository {
  ready = true;
  readonly loaded: string[] = [];
  readonly models: ServedModel[];
  /** Names of models that are known and not ready. */
  readonly unavailable = new Set<string>();

  constructor(models: ServedModel[]) {
    this.models = models;
  }

  statuses(): VersionStatus[] {
    return this.models.map(({ description: { name, version } }) => ({
      name,
      version,
      state: this.unavailable.has(name) ? "unavailable" : "ready",
      reason: this.unavailable.has(name) ? "unloaded" : "",
      isDefault: this.model(name, undefined, true).description.version === version,
      file: `${name}/${version}/model.pt`,
      loadedAt: new Date(0),
      maxBatchSize: 32,
      maxQueueDelayMicroseconds: 0,
      maxQueueSize: 100,
      queued: 0,
    }));
  }

  statusesOf(name: string): VersionStatus[] {
    this.model(name, undefined, true);
    return this.statuses().filter((status) => status.name === name);
  }

  model(name: string, version?: string, any = false): ServedModel {
    const found = this.models.filter(
      ({ description: own }) => own.name === name && own.version === (version ?? own.version),
    );
    const model = found.at(-1);
    if (model === undefined) throw new LeNet5Error("MODEL_NOT_FOUND", `There is no model ${name} ${version ?? ""}`);
    if (this.unavailable.has(name) && !any) throw new LeNet5Error("MODEL_UNAVAILABLE", `Model ${name} is not ready`);
    return model;
  }

  async load(name: string): Promise<void> {
    this.model(name, undefined, true);
    this.loaded.push(name);
    this.unavailable.delete(name);
  }

  async unload(name: string): Promise<void> {
    this.model(name, undefined, true);
    this.unavailable.add(name);
  }

  unregister(name: string): Promise<void> {
    return this.unload(name);
  }

  setDefault(): void {}

  async register(): Promise<{ name: string; version: string }> {
    throw new LeNet5Error("PROTOCOL_UNSUPPORTED", "A fake registers nothing");
  }
}

/** Counters that remember. */
export class FakeMetrics implements ServerMetrics {
  readonly outcomes: RequestOutcome[] = [];
  get requests(): number {
    return this.outcomes.length;
  }
  request(outcome: RequestOutcome): void {
    this.outcomes.push(outcome);
  }
  async text(): Promise<{ contentType: string; body: string }> {
    return { contentType: "text/plain", body: "" };
  }
}
