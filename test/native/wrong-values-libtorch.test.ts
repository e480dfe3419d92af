// The addon with libtorch by itself, as wrong-values.test.ts attacks the other one: what it alone has, and what is the
// other's.
import { describe, expect, it } from "vitest";
import { libtorchVersion } from "../../lib/index.js";
import type { NativeLeNet5Options } from "../../lib/native/types.js";
import { libtorch, native } from "../../lib/native.js";
import { codeOf, detached } from "./hostile.js";

const addon = libtorch("The tests");
const options: NativeLeNet5Options = {
  numClasses: 10,
  mean: 0.1307,
  std: 0.3081,
  device: "cpu",
  engine: "libtorch",
  instructionSet: "auto",
  seed: 1,
};
const weightsOf = (parameters = new addon.LeNet5(options).parameters()) => ({
  numClasses: 10,
  mean: 0.1307,
  std: 0.3081,
  parameters,
});
/** Whether distributed training can be had of the libtorch in use (docs/distributed.md). */
function hasC10d(): boolean {
  const [major, minor] = libtorchVersion().split(".").map(Number) as [number, number];
  return major > 2 || (major === 2 && minor >= 10);
}
const exported = (weights = weightsOf()) => addon.exportTorchScript(weights, {});

describe("the addon with libtorch refuses", () => {
  it("the other addon's objects", async () => {
    const other = native();
    const pixels = new Float32Array(784);
    const mine = new addon.LeNet5(options);
    const theirs = new other.LeNet5({ ...options, engine: "fused" });
    expect(await codeOf(() => mine.predict([pixels], 28, false, new other.Cancellation()))).toBe(
      "LENET5_INVALID_ARGUMENT",
    );
    expect(await codeOf(() => theirs.predict([pixels], 28, false, new addon.Cancellation()))).toBe(
      "LENET5_INVALID_ARGUMENT",
    );
    expect(() => mine.parameters.call(theirs)).toThrow();
    expect(() => theirs.parameters.call(mine)).toThrow();
    expect(await codeOf(() => new other.LeNet5(options))).toBe("LENET5_ENGINE_UNAVAILABLE");
  });

  it.each([
    ["no object", () => undefined, "LENET5_INVALID_ARGUMENT"],
    ["too few parameters", () => ({ ...weightsOf(), parameters: new Float32Array(3) }), "LENET5_MODEL_MISMATCH"],
    [
      "parameters of another kind",
      () => ({ ...weightsOf(), parameters: new Float64Array(61706) }),
      "LENET5_INVALID_DTYPE",
    ],
    [
      "parameters without memory",
      () => ({ ...weightsOf(), parameters: detached(new Float32Array(61706)) }),
      "LENET5_INVALID_ARGUMENT",
    ],
    ["a million classes", () => ({ ...weightsOf(), numClasses: 1e6 }), "LENET5_INVALID_ARGUMENT"],
  ])("an export of %s", async (_, weights, code) => {
    expect(await codeOf(() => addon.exportTorchScript(weights() as never, {}))).toBe(code);
  });

  it("whose answers are not numbers for some images are no archive's", async () => {
    // The weights overflow float32 for some of the images that are compared, but not for the last, which comes after them.
    const own = new addon.LeNet5({ ...options, engine: "libtorch" });
    const pixels = Float32Array.from({ length: 16 * 1024 }, (_, i) => (i * 0.6180339887498949) % 1);
    const flat = own.parameters();
    const broken = (scale: number) => {
      const weights = Float32Array.from(flat);
      weights.fill(0, 0, 150);
      weights[0] = scale;
      weights.fill(0, 156, 156 + 2400);
      weights[156] = 1;
      for (let i = 2572; i < 2572 + 48_000; i++) weights[i]! *= 100;
      own.setParameters(weights);
    };
    const rows = async () => {
      const { output } = await own.predict([pixels], 32, true);
      return Array.from({ length: 16 }, (_, i) => output.subarray(i * 10, i * 10 + 10).some(Number.isNaN));
    };
    let [fit, overflow] = [1e36, 1e38];
    let found: boolean[] = [];
    for (let i = 0; i < 60 && (found.at(-1) !== false || !found.includes(true)); i++) {
      const middle = (fit + overflow) / 2;
      broken(middle);
      found = await rows();
      if (found.at(-1)) overflow = middle;
      else fit = middle;
    }
    expect([found.includes(true), found.at(-1)]).toEqual([true, false]);
    const { archive, weights } = await exported(weightsOf(own.parameters()));
    expect(await addon.verifyTorchScript(archive, weights)).toBeNaN();
  });

  it("of native memory in each other's place", async () => {
    const prepared = addon.prepareCall([], [], []);
    const { archive, weights } = await exported();
    const tensor = { kind: "tensor" as const, data: new Float32Array(2), shape: [2], dtype: "float32" };
    const handle = (await addon.createTensor(tensor, "cpu", (kept) => kept)) as object;
    expect(await codeOf(() => addon.readTensor(prepared))).toBe("LENET5_INVALID_ARGUMENT");
    expect(await codeOf(() => addon.disposeTensor(weights))).toBe("LENET5_INVALID_ARGUMENT");
    expect(await codeOf(() => addon.dropCall(handle))).toBe("LENET5_INVALID_ARGUMENT");
    expect(await codeOf(() => addon.verifyTorchScript(archive, handle))).toBe("LENET5_INVALID_ARGUMENT");
    expect(await codeOf(() => addon.verifyTorchScript(archive, {}))).toBe("LENET5_INVALID_ARGUMENT");
    expect(await addon.verifyTorchScript(archive, weights)).toBeLessThan(1e-4);
    expect(await codeOf(() => addon.verifyTorchScript(archive.subarray(100), weights))).toBe("LENET5_MODEL_CORRUPT");
    addon.dropCall(prepared);
    addon.dropCall(prepared);
    addon.disposeTensor(handle);
    expect(await codeOf(() => addon.readTensor(handle))).toBe("LENET5_DISPOSED");
  });

  it.each([
    ["longer than its data", { shape: [3] }, "LENET5_INVALID_SHAPE"],
    ["with a negative size", { shape: [-2] }, "LENET5_INVALID_ARGUMENT"],
    ["with sizes whose product runs over", { shape: [2 ** 32, 2 ** 32, 0] }, "LENET5_INVALID_SHAPE"],
    ["without memory", { data: detached(new Float32Array(2)) }, "LENET5_INVALID_ARGUMENT"],
    ["of an unknown dtype", { dtype: "float8" }, "LENET5_INVALID_DTYPE"],
    ["whose data is no array", { data: "text" }, "LENET5_INVALID_DTYPE"],
  ])("a tensor %s", async (_, change, code) => {
    const tensor = { kind: "tensor" as const, data: new Float32Array(2), shape: [2], dtype: "float32", ...change };
    expect(await codeOf(() => addon.prepareCall([tensor as never], [], []))).toBe(code);
  });

  it("a tensor whose shape takes its memory away", async () => {
    const data = new Float32Array(2);
    const shape = new Proxy([2], {});
    const tensor = { kind: "tensor" as const, data, shape, dtype: "float32" };
    expect(await codeOf(() => addon.prepareCall([tensor], [], []))).toBe("LENET5_INVALID_ARGUMENT");
    const getter = Object.defineProperty({ ...tensor, shape: [2] }, "dtype", {
      get: () => {
        detached(data);
        return "float32";
      },
    });
    expect(await codeOf(() => addon.prepareCall([getter], [], []))).toBe("LENET5_INVALID_ARGUMENT");
  });

  const place = { rank: 0, size: 1, host: "", port: 1, serves: true, attempt: "0", card: "{}", timeoutSeconds: 5 };

  it("places of ranks that are none", async () => {
    const wrong: object[] = [
      ...[{ rank: 1 }, { rank: -1 }, { rank: 0.5 }, { rank: "0" }, { size: 0 }, { size: 1e6 }, { size: Number.NaN }],
      ...[{ port: 0 }, { port: 65536 }, { host: 1 }, { serves: "yes" }, { attempt: undefined }, { card: {} }],
      ...[{ timeoutSeconds: 0 }, { timeoutSeconds: -1 }, { timeoutSeconds: Number.NaN }, { timeoutSeconds: 1e9 }],
    ];
    for (const each of wrong) {
      expect(await codeOf(() => addon.joinRanks({ ...place, ...each })), JSON.stringify(each)).toMatch(
        /^LENET5_INVALID_/,
      );
    }
    expect(await codeOf(() => addon.joinRanks(undefined as never))).toBe("LENET5_INVALID_ARGUMENT");
  });

  it("ranks where there are none", async () => {
    if (!hasC10d()) {
      expect(await codeOf(() => addon.joinRanks(place))).toBe("LENET5_DISTRIBUTED_UNAVAILABLE");
      return;
    }
    const joining = addon.joinRanks(place);
    let met: Awaited<ReturnType<typeof addon.awaitRanks>>;
    do met = await addon.awaitRanks(joining);
    while (met === undefined);
    const { ranks, cards } = met;
    expect(cards).toEqual(["{}"]);
    const pixels = new Uint8Array(784);
    const fit = new (native().LeNet5)({ ...options, engine: "fused" }).prepareFit({
      ...{ train: { size: 28, images: pixels, labels: new Int32Array(1) }, epochs: 1, batchSize: 1 },
      ...{ accumulated: 1, learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
      ...{ schedule: "constant", seed: 1, progressSeconds: 1, snapshots: false },
    });
    const none = [joining, {}, undefined, 1];
    for (const each of none as object[]) {
      expect(await codeOf(() => addon.leaveRanks(each, "x"))).toBe("LENET5_INVALID_ARGUMENT");
      expect(await codeOf(() => addon.freeRanks(each))).toBe("LENET5_INVALID_ARGUMENT");
      if (each === undefined) continue;
      expect(await codeOf(() => fit.start({ ranks: each }, () => {}))).toBe("LENET5_INVALID_ARGUMENT");
    }
    expect(await codeOf(() => addon.awaitRanks(ranks))).toBe("LENET5_INVALID_ARGUMENT");
    expect(await codeOf(() => addon.stopJoining(ranks))).toBe("LENET5_INVALID_ARGUMENT");
    expect(await codeOf(() => addon.leaveRanks(ranks, 1 as never))).toBe("LENET5_INVALID_ARGUMENT");
    for (let time = 0; time < 2; time++) addon.freeRanks(ranks);
    expect(await codeOf(() => addon.leaveRanks(ranks, "late"))).toBe("none");
    expect(await codeOf(() => fit.start({ ranks }, () => {}))).toBe("LENET5_INVALID_ARGUMENT");

    // Given up in the same moment.
    const given = addon.joinRanks({ ...place, rank: 1, size: 2, host: "127.0.0.1" });
    addon.stopJoining(given);
    expect(await codeOf(() => addon.awaitRanks(given))).toBe("LENET5_ABORTED");
  });

  it("names without values, and threads out of range", async () => {
    expect(await codeOf(() => addon.prepareCall([], ["x"], []))).toBe("LENET5_INVALID_ARGUMENT");
    expect(await codeOf(() => addon.prepareCall({} as never, [], []))).toBe("LENET5_INVALID_ARGUMENT");
    for (const cell of [undefined, 4, {}, addon.prepareCall([], [], [])]) {
      expect(await codeOf(() => addon.followThreads(cell as object))).toBe("LENET5_INVALID_ARGUMENT");
    }
    expect(await codeOf(() => new (addon.ScriptModule as never as new (module: object) => unknown)({}))).toBe(
      "LENET5_INVALID_ARGUMENT",
    );
    expect(await codeOf(() => addon.verifyTorchScript([] as never, {} as never))).toMatch(/^LENET5_INVALID_/);
  });

  it("archives whose parts and records are not what they say", async () => {
    const eight = new Uint8Array(8);
    const archive = { size: 16, parts: [0, eight], path: "", records: [], withoutRecords: false };
    const wrong: unknown[] = [
      eight,
      { ...archive, parts: [0, detached(new Uint8Array(8))] },
      { ...archive, parts: [9, eight] },
      { ...archive, parts: [4, eight, 0, eight] },
      { ...archive, parts: [2 ** 53 - 1, eight] },
      { ...archive, parts: [-1, eight] },
      { ...archive, parts: {} },
      { ...archive, size: -1 },
      { ...archive, size: 2 ** 60 },
      { ...archive, path: 1 },
      { ...archive, records: [8, 8, 2 ** 32] },
      { ...archive, records: [8, 4, 0, 0, 4, 0] },
      { ...archive, withoutRecords: 1 },
    ];
    for (const each of wrong) {
      expect(await codeOf(() => addon.ScriptModule.load(each as never, "cpu", "x")), JSON.stringify(each)).toBe(
        "LENET5_INVALID_ARGUMENT",
      );
    }
    const empty = await codeOf(() => addon.ScriptModule.load(archive, "cpu", "x"));
    expect(empty).toBe("LENET5_MODEL_CORRUPT");
  });
});
