import { expect, test } from "vitest";
import { rankFromEnvironment } from "../lib/ranks.js";

test("RANK and WORLD_SIZE say which process this is; without both there is none", () => {
  expect(rankFromEnvironment({ RANK: "3", WORLD_SIZE: "4" })).toEqual({ rank: 3, worldSize: 4 });
  expect(rankFromEnvironment({ RANK: "0", WORLD_SIZE: "1" })).toEqual({ rank: 0, worldSize: 1 });
  expect(rankFromEnvironment({})).toBe(undefined);
  expect(rankFromEnvironment({ RANK: "", WORLD_SIZE: "" })).toBe(undefined);
});

test.each<[env: Record<string, string>, message: string]>([
  [{ RANK: "1" }, "Expected a number of processes (RANK is 1) for WORLD_SIZE but received none"],
  [{ WORLD_SIZE: "4" }, "Expected a process's number (WORLD_SIZE is 4) for RANK but received none"],
  [{ RANK: "4", WORLD_SIZE: "4" }, 'Expected a whole number from 0 to 3 for RANK but received "4"'],
  [{ RANK: "-1", WORLD_SIZE: "4" }, 'Expected a whole number from 0 to 3 for RANK but received "-1"'],
  [{ RANK: "0x1", WORLD_SIZE: "4" }, 'Expected a whole number from 0 to 3 for RANK but received "0x1"'],
  [{ RANK: "0", WORLD_SIZE: "0" }, 'Expected a whole number of at least 1 for WORLD_SIZE but received "0"'],
  [{ RANK: "0", WORLD_SIZE: "two" }, 'Expected a whole number of at least 1 for WORLD_SIZE but received "two"'],
  [{ RANK: "0", WORLD_SIZE: "99999999999" }, 'for WORLD_SIZE but received "99999999999"'],
])("%j is refused", (env, message) => {
  expect(() => rankFromEnvironment(env)).toThrow(
    expect.objectContaining({ code: "LENET5_INVALID_OPTION", message: expect.stringContaining(message) }),
  );
});
