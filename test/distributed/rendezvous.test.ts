// What the environment says of the ranks of a training, and what is wrong with it.
import { expect, test } from "vitest";
import { compareCards } from "../../lib/distributed/ranks-of-training.js";
import { rendezvousOf } from "../../lib/distributed/rendezvous.js";
import { LeNet5 } from "../../lib/index.js";
import { lenet5, line } from "../cli/lenet5.js";

const WHOLE = { RANK: "1", WORLD_SIZE: "4", MASTER_ADDR: "node-0", MASTER_PORT: "29400" };

test("a rank is what RANK and WORLD_SIZE say, and it meets the others where MASTER_ADDR and MASTER_PORT say", () => {
  expect(rendezvousOf(true, WHOLE)).toEqual({
    ...{ rank: 1, worldSize: 4, host: "node-0", port: 29400 },
    ...{ serves: true, attempt: "0-of-4", timeoutSeconds: 300 },
  });
  const torchrun = { TORCHELASTIC_USE_AGENT_STORE: "True", TORCHELASTIC_RESTART_COUNT: "2" };
  expect(rendezvousOf({ timeout: 5 }, { ...WHOLE, ...torchrun })).toMatchObject({
    ...{ serves: false, attempt: "2-of-4", timeoutSeconds: 5 },
  });
  expect(rendezvousOf(undefined, WHOLE)).toBeUndefined();
  expect(rendezvousOf(false, WHOLE)).toBeUndefined();
});

test.for([
  [{}, "RANK and WORLD_SIZE in the environment"],
  [{ WORLD_SIZE: undefined }, "for WORLD_SIZE but received none"],
  [{ RANK: undefined }, "for RANK but received none"],
  [{ RANK: "4" }, 'a whole number from 0 to 3 for RANK but received "4"'],
  [{ RANK: "-1" }, 'for RANK but received "-1"'],
  [{ RANK: "one" }, 'for RANK but received "one"'],
  [{ WORLD_SIZE: "0" }, 'for WORLD_SIZE but received "0"'],
  [{ WORLD_SIZE: "1e3" }, 'for WORLD_SIZE but received "1e3"'],
  [{ MASTER_ADDR: undefined }, "for MASTER_ADDR but received none"],
  [{ MASTER_PORT: undefined }, "for MASTER_PORT but received none"],
  [{ MASTER_PORT: "0" }, 'for MASTER_PORT but received "0"'],
  [{ MASTER_PORT: "65536" }, 'for MASTER_PORT but received "65536"'],
] as const)("an environment that is wrong in %o is refused", ([wrong, message]) => {
  const env = Object.keys(wrong).length === 0 ? {} : { ...WHOLE, ...wrong };
  expect(() => rendezvousOf(true, env)).toThrow(expect.objectContaining({ code: "LENET5_INVALID_OPTION" }));
  expect(() => rendezvousOf(true, env)).toThrow(message);
});

test.for([
  [1, "true, false or an object of options for distributed"],
  [{ timeout: 0 }, "for distributed.timeout but received 0"],
  [{ timeout: "60" }, "for distributed.timeout"],
  [{ timeouts: 1 }, 'did you mean "timeout"?'],
] as const)("the option %o is refused", ([option, message]) => {
  expect(() => rendezvousOf(option, WHOLE)).toThrow(message);
});

test("fit refuses the option before it takes anything", () => {
  const model = new LeNet5();
  const data = { images: new Uint8Array(784), labels: new Uint8Array(1) };
  expect(() => model.fit(data, { distributed: "yes" as unknown as boolean })).toThrow("for distributed");
  expect(() => model.fit(data, { resume: "auto" })).toThrow("for checkpointDirectory");
  model.dispose();
});

test.for([
  [line`--distributed`, { MASTER_PORT: undefined }, "for MASTER_PORT but received none"],
  [line`--distributed --distributed-timeout 1e9`, {}, "for distributed.timeout but received 1000000000"],
  [line`--distributed-timeout 5`, {}, "the flag (because of --distributed-timeout) for --distributed"],
] as const)("the command line refuses %o in %o before it loads anything", async ([words, wrong, message]) => {
  const env = { ...WHOLE, RANK: "0", ...wrong };
  const { status, stderr } = await lenet5([...line`train --data /nowhere`, ...words], { env });
  expect(status).not.toBe(0);
  expect(stderr).toContain(message);
});

test("cards that differ are named by what differs and by the rank", () => {
  const card = (other: object) => JSON.stringify({ version: "1", data: 7, ...other });
  expect(() => compareCards([card({}), card({})])).not.toThrow();
  const differing = () => compareCards([card({}), card({}), card({ data: 8 })]);
  expect(differing).toThrow("7 on rank 0 and 8 on rank 2");
  expect(differing).toThrow(expect.objectContaining({ code: "LENET5_DISTRIBUTED_MISMATCH" }));
  expect(() => compareCards([card({}), card({ more: 1 })])).toThrow("the same more for all ranks but received none");
  expect(() => compareCards([card({}), "not JSON"])).toThrow("JSON from rank 1");
});
