// Beyond what fits a Buffer, and what 32 bits count: 4.5 GiB, a zip64 archive. Takes 5 GB of the temporary folder's disk and
// of memory.
import { expect, it } from "vitest";
import { describeWithPython } from "../python.js";
import { largeModule } from "../script-module/large-module.js";

describeWithPython(
  "a module of 4.5 GiB",
  () => {
    it("is loaded with no second copy, and looked into in next to no memory", async () => {
      const { base, inspected, loaded } = await largeModule(4608);
      // 200 MB, of which Node and libtorch alone take 170.
      expect(inspected * 1.048576).toBeLessThan(200);
      expect(inspected - base).toBeLessThan(64);
      expect(loaded - base).toBeLessThan(4608 + 128);
    });
  },
  1_800_000,
);
