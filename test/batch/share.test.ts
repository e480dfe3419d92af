import { describe, expect, test } from "vitest";
import { chooseShare, fileOf, rangeOf, WHOLE } from "../../lib/batch/share.js";

describe("a process's share", () => {
  test.each<[options: { shards?: number; shard?: number }, env: Record<string, string>, share: [number, number]]>([
    [{}, {}, [0, 1]],
    [{ shards: 4, shard: 3 }, {}, [3, 4]],
    [{ shards: 4, shard: 3 }, { RANK: "1", WORLD_SIZE: "2", JOB_COMPLETION_INDEX: "0" }, [3, 4]],
    [{}, { RANK: "1", WORLD_SIZE: "2" }, [1, 2]],
    // A Job of nodes with several processes each: the index is the node's.
    [{}, { RANK: "5", WORLD_SIZE: "8", JOB_COMPLETION_INDEX: "2" }, [5, 8]],
    [{ shards: 8 }, { RANK: "5", WORLD_SIZE: "8", JOB_COMPLETION_INDEX: "2" }, [5, 8]],
    [{ shards: 3 }, { JOB_COMPLETION_INDEX: "2" }, [2, 3]],
    [{ shards: 1 }, { RANK: "1", WORLD_SIZE: "2" }, [0, 1]],
    [{ shards: 1 }, { JOB_COMPLETION_INDEX: "2" }, [0, 1]],
  ])("%j in %j", (options, env, [index, count]) => {
    expect(chooseShare(options, env)).toEqual({ index, count });
  });

  test.each<[options: { shards?: number; shard?: number }, env: Record<string, string>, message: string]>([
    [{ shard: 1 }, {}, "Expected a number of parts (because of --shard) for --shards but received none"],
    [{ shards: 2, shard: 2 }, {}, "Expected a whole number from 0 to 1 for --shard but received 2"],
    [{ shards: 2 }, {}, "for --shard but received none"],
    [{ shards: 2 }, { RANK: "0", WORLD_SIZE: "3" }, "Expected 3, as WORLD_SIZE says, for --shards but received 2"],
    [{ shards: 2 }, { JOB_COMPLETION_INDEX: "2" }, 'from 0 to 1 for JOB_COMPLETION_INDEX but received "2"'],
    [{ shards: 2 }, { JOB_COMPLETION_INDEX: "x" }, 'for JOB_COMPLETION_INDEX but received "x"'],
    // Each would take everything, and write the same file.
    [
      {},
      { JOB_COMPLETION_INDEX: "0" },
      "(JOB_COMPLETION_INDEX is 0), or 1 for everything, for --shards but received none",
    ],
    [{}, { RANK: "0" }, "for WORLD_SIZE but received none"],
  ])("%j in %j is refused", (options, env, message) => {
    expect(() => chooseShare(options, env)).toThrow(
      expect.objectContaining({ code: "LENET5_INVALID_OPTION", message: expect.stringContaining(message) }),
    );
  });
});

test("the shares of any number of images are all of them, each once, in order and almost alike in size", () => {
  for (const count of [1, 2, 3, 7, 64]) {
    for (const images of [0, 1, 2, 6, 100, 10_000_019]) {
      let next = 0;
      for (let index = 0; index < count; index++) {
        const { from, to } = rangeOf({ index, count }, images);
        expect(from).toBe(next);
        expect(Math.abs(to - from - images / count)).toBeLessThan(1);
        next = to;
      }
      expect(next).toBe(images);
    }
  }
});

test("the file of a share is named as sharded files are, the whole's as it was given", () => {
  expect(fileOf(WHOLE, "a.b/out.jsonl", ".jsonl")).toBe("a.b/out.jsonl");
  expect(fileOf({ index: 1, count: 4 }, "a.b/out.jsonl", ".jsonl")).toBe("a.b/out-00001-of-00004.jsonl");
  expect(fileOf({ index: 0, count: 2 }, "OUT.PARQUET", ".PARQUET")).toBe("OUT-00000-of-00002.PARQUET");
});
