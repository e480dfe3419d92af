// A small share of test/long/large-module.test.ts.
import { expect, it } from "vitest";
import { describeWithPython } from "../python.js";
import { largeModule } from "./large-module.js";

describeWithPython("a module of 192 MiB", () => {
  it("is held once where it is loaded, and not at all where it is looked into", async () => {
    const { base, inspected, loaded } = await largeModule(192);
    expect(inspected - base).toBeLessThan(64);
    expect(loaded - base).toBeLessThan(192 * 1.5);
  });
});
