// The JSON in front of binary tensors is read once where it comes again, and what is kept stays small.
import { expect, it } from "vitest";
import { RecentHeads } from "../../lib/server/recent-heads.js";

const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

it("gives the same value for the same bytes, and another for others", () => {
  const heads = new RecentHeads();
  const first = heads.read(bytes({ inputs: [1] }));
  expect(first).toEqual({ inputs: [1] });
  expect(heads.read(bytes({ inputs: [1] }))).toBe(first);
  expect(heads.read(bytes({ inputs: [2] }))).toEqual({ inputs: [2] });
  // Bytes that are one text in one encoding and two in another stay two.
  expect(heads.read(bytes({ a: "é" }))).toEqual({ a: "é" });
  expect(heads.read(bytes({ a: "Ã©" }))).toEqual({ a: "Ã©" });
});

it.each([
  ["with an id", { id: "1", inputs: [] }],
  ["that are long", { inputs: ["a".repeat(1024)] }],
])("keeps none %s", (_, head) => {
  const heads = new RecentHeads();
  expect(heads.read(bytes(head))).not.toBe(heads.read(bytes(head)));
});

it("lets go of the oldest", () => {
  const heads = new RecentHeads();
  const first = heads.read(bytes({ number: 0 }));
  for (let number = 1; number < 64; number++) heads.read(bytes({ number }));
  expect(heads.read(bytes({ number: 0 }))).toBe(first);
  heads.read(bytes({ number: 64 }));
  expect(heads.read(bytes({ number: 0 }))).not.toBe(first);
});

it("refuses what is no JSON, again and again", () => {
  const heads = new RecentHeads();
  for (let i = 0; i < 3; i++) expect(() => heads.read(Buffer.from("{"))).toThrow(/^Expected JSON/);
  expect(() => heads.read(Buffer.of(0x22, 0xff, 0x22))).toThrow(/UTF-8/);
});
