// A repository of models that need no engine, for tests of what protocols make of requests and answers.
import { setTimeout as delay } from "node:timers/promises";
import Fastify, { type FastifyInstance } from "fastify";
import { LeNet5Error } from "../../../lib/errors.js";
import type { RequestOutcome } from "../../../lib/server/metrics.js";
import type { ModelRepository, VersionStatus } from "../../../lib/server/model-repository.js";
import type { Protocol } from "../../../lib/server/protocol.js";
import { VALIDATION } from "../../../lib/server/protocol-scope.js";
import { routerErrors } from "../../../lib/server/router-errors.js";
import type { InferOptions, ModelDescription, RawRequest, ServedModel } from "../../../lib/server/served-model.js";
import type { Tensor } from "../../../lib/tensor.js";

type Infer = (
  inputs: ReadonlyMap<string, Tensor>,
  options: InferOptions,
) => Promise<Map<string, Tensor>> | Map<string, Tensor>;

function served(description: Omit<ModelDescription, "version"> & { version?: string }, infer: Infer): ServedModel {
  const respond = async ({ body, contentType }: RawRequest): Promise<unknown> => {
    if (body.length === 0)
      throw new LeNet5Error("IMAGE_UNREADABLE", "Expected an image for the request body but received none");
    return { bytes: body.length, sum: body.reduce((sum, byte) => sum + byte, 0), contentType };
  };
  return {
    description: { version: "1", ...description },
    infer: async (inputs, options = {}) => infer(typeof inputs === "function" ? await inputs() : inputs, options),
    respond,
  };
}

/** Ten numbers an image: the sum of its pixels and the multiples of it. */
function sums(inputs: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  const input = inputs.get("input0");
  if (input === undefined || inputs.size !== 1)
    throw new LeNet5Error(
      "SCRIPT_ARGUMENTS",
      `Expected the input input0 but received ${[...inputs.keys()].join(", ")}`,
    );
  if (input.dtype !== "float32") throw new LeNet5Error("INVALID_DTYPE", `Expected float32 but received ${input.dtype}`);
  const [count = 0, ...image] = input.shape;
  if (image.join() !== "1,28,28")
    throw new LeNet5Error("INVALID_SHAPE", `Expected [n, 1, 28, 28] but received [${input.shape}]`);
  const data = new Float32Array(count * 10);
  for (let index = 0; index < count; index++) {
    const sum = (input.data as Float32Array)
      .subarray(index * 784, (index + 1) * 784)
      .reduce((all, pixel) => all + pixel, 0);
    for (let digit = 0; digit < 10; digit++) data[index * 10 + digit] = sum * digit;
  }
  return new Map<string, Tensor>([["output0", { data, shape: [count, 10], dtype: "float32" }]]);
}

const any = { dtype: undefined, shape: undefined };

/** LeNet-5's description, modules that echo, and models that are full, slow, failing. */
export function fakeModels(): Map<string, ServedModel[]> {
  const lenet5 = {
    name: "lenet5",
    kind: "lenet5" as const,
    inputs: [{ name: "input0", dtype: "float32" as const, shape: [-1, 1, 28, 28] }],
    outputs: [{ name: "output0", dtype: "float32" as const, shape: [-1, 10] }],
  };
  const module = (name: string, count: number, infer: Infer): ServedModel =>
    served(
      {
        name,
        kind: "torchscript",
        inputs: Array.from({ length: count }, (_, index) => ({ name: `input${index}`, ...any })),
        outputs: Array.from({ length: count }, (_, index) => ({ name: `output${index}`, ...any })),
      },
      infer,
    );
  const echo: Infer = (inputs) =>
    new Map(
      [...inputs].map(([name, tensor]) => [
        name.replace("input", "output"),
        { ...tensor, data: tensor.data.slice() } as Tensor,
      ]),
    );
  const fails =
    (error: () => Error): Infer =>
    () => {
      throw error();
    };
  return new Map([
    ["lenet5", [served(lenet5, sums), served({ ...lenet5, version: "2" }, sums)]],
    ["echo", [module("echo", 1, echo)]],
    ["pair", [module("pair", 2, echo)]],
    [
      "full",
      [
        module(
          "full",
          1,
          fails(() => new LeNet5Error("QUEUE_FULL", "10 requests wait already")),
        ),
      ],
    ],
    [
      "late",
      [
        module(
          "late",
          1,
          fails(() => new LeNet5Error("REQUEST_TIMED_OUT", "Not answered within 10 ms")),
        ),
      ],
    ],
    [
      "bug",
      [
        module(
          "bug",
          1,
          fails(() => new TypeError("secret detail")),
        ),
      ],
    ],
    [
      "slow",
      [
        module("slow", 1, async (inputs, { signal }) => {
          const seen: FakeLog = log;
          seen.waiting++;
          await new Promise<void>((resolve, reject) => {
            signal?.addEventListener("abort", () => {
              seen.aborted++;
              reject(new LeNet5Error("ABORTED", "The call was aborted"));
            });
            void delay(2000).then(resolve);
          });
          return echo(inputs, {});
        }),
      ],
    ],
  ]);
}

interface FakeLog {
  waiting: number;
  aborted: number;
  calls: string[];
  outcomes: RequestOutcome[];
}
/** What the fakes saw. */
export const log: FakeLog = { waiting: 0, aborted: 0, calls: [], outcomes: [] };

/** The repository; "broken" is known and never ready. */
export function fakeRepository(): ModelRepository & { ready: boolean } {
  const models = fakeModels();
  const unloaded = new Set<string>(["broken/1"]);
  models.set("broken", [
    { ...models.get("echo")![0]!, description: { ...models.get("echo")![0]!.description, name: "broken" } },
  ]);
  const notFound = (name: string): never => {
    throw new LeNet5Error("MODEL_NOT_FOUND", `There is no model ${name.slice(0, 80)}`);
  };
  const versionsOf = (name: string): ServedModel[] => models.get(name) ?? notFound(name);
  const defaults = new Map<string, string>();
  const isUnloaded = (name: string, version: string) => unloaded.has(`${name}/${version}`);
  const defaultOf = (name: string): string =>
    defaults.get(name) ??
    versionsOf(name).findLast(({ description: { version } }) => !isUnloaded(name, version))?.description.version ??
    "1";
  const statusOf = ({ description: { name, version } }: ServedModel): VersionStatus => ({
    name,
    version,
    state: isUnloaded(name, version) ? "unavailable" : "ready",
    reason: isUnloaded(name, version) ? "not loaded" : "",
    isDefault: defaultOf(name) === version,
    file: `${name}/${version}/model.pt`,
    loadedAt: new Date(0),
    maxBatchSize: 32,
    maxQueueDelayMicroseconds: 500,
    maxQueueSize: 100,
    queued: 3,
  });
  return {
    ready: true,
    statuses: () => [...models.values()].flat().map(statusOf),
    statusesOf: (name) => versionsOf(name).map(statusOf),
    model(name, version = defaultOf(name)) {
      const found =
        versionsOf(name).find(({ description }) => description.version === version) ?? notFound(`${name}/${version}`);
      if (isUnloaded(name, version)) throw new LeNet5Error("MODEL_UNAVAILABLE", `${name} is not ready`);
      return found;
    },
    async load(name, { version } = {}) {
      log.calls.push(`load ${name} ${version}`);
      for (const { description } of versionsOf(name)) unloaded.delete(`${name}/${description.version}`);
    },
    async unload(name, version) {
      log.calls.push(`unload ${name} ${version}`);
      if (version !== undefined && !versionsOf(name).some(({ description }) => description.version === version))
        notFound(`${name}/${version}`);
      for (const { description } of versionsOf(name))
        if (version === undefined || version === description.version) unloaded.add(`${name}/${description.version}`);
    },
    async unregister(name, version) {
      log.calls.push(`unregister ${name} ${version}`);
      const others = versionsOf(name).filter(({ description }) => description.version !== version);
      if (others.length === versionsOf(name).length) notFound(`${name}/${version}`);
      models.set(name, others);
    },
    setDefault(name, version) {
      this.model(name, version);
      defaults.set(name, version);
    },
    async register(file, { name = "registered", version = "1", limits } = {}) {
      log.calls.push(`register ${file} ${name} ${version} ${JSON.stringify(limits)}`);
      if (file.includes("/"))
        throw new LeNet5Error("REQUEST_INVALID", `Expected a file of the repository but received ${file}`);
      if (models.has(name)) throw new LeNet5Error("MODEL_BUSY", `There is a model ${name} already`);
      const echo = models.get("echo")![0]!;
      models.set(name, [{ ...echo, description: { ...echo.description, name, version } }]);
      return { name, version };
    },
  };
}

/** A plain Fastify with one protocol on a free loopback port. */
export async function serve(
  protocols: Protocol | Protocol[],
  options: { management?: boolean; bodyLimit?: number; token?: string } = {},
): Promise<{ app: FastifyInstance; url: string; port: number; repository: ReturnType<typeof fakeRepository> }> {
  const repository = fakeRepository();
  const app = Fastify({ frameworkErrors: routerErrors(repository), ajv: VALIDATION });
  const check = async ({ headers }: { headers: { authorization?: string | undefined } }): Promise<void> => {
    if (options.token !== undefined && headers.authorization !== `Bearer ${options.token}`)
      throw new LeNet5Error("UNAUTHORIZED", "Expected the server's token");
  };
  for (const protocol of [protocols].flat()) {
    await app.register(
      protocol({
        repository,
        metrics: {
          requests: 0,
          request: (outcome) => void log.outcomes.push(outcome),
          text: async () => ({ contentType: "", body: "" }),
        },
        management: options.management ?? true,
        guard: { inference: check, management: check },
        bodyLimit: options.bodyLimit ?? 2 ** 20,
      }),
    );
  }
  const url = await app.listen({ host: "127.0.0.1", port: 0 });
  return { app, url, port: Number(new URL(url).port), repository };
}
