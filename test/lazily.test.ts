// What an import of the package and the commonest calls open. In processes of their own, on the built package.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { LeNet5 } from "../lib/index.js";
import { runNode, temporaryFolder } from "./cli/lenet5.js";

test.each(["esm", "cjs"])(
  "an import, a model's load and a prediction open no library but the zip reader (%s)",
  async (format) => {
    const path = join(temporaryFolder(), "model.pt");
    using model = new LeNet5({ seed: 1 });
    await model.save(path);
    const entry = join(packageRoot, "dist", format, "lenet5-libtorch.js");
    const opened = `[...new Set(Object.keys(require("node:module")._cache).flatMap((file) =>
    /node_modules.((?:@[^/\\\\\\\\]+.)?[^/\\\\\\\\]+)/.exec(file)?.[1] ?? []))].sort()`;
    const script = `
    const imported = ${format === "esm" ? `import(${JSON.stringify(pathToFileURL(entry).href)})` : `Promise.resolve(require(${JSON.stringify(entry)}))`};
    imported.then(async (api) => {
      const told = [${opened}];
      const model = await api.LeNet5.load(${JSON.stringify(path)});
      model.predictSync(new Float32Array(784));
      await model.predict(new Float32Array(784));
      told.push(${opened});
      // Something that does need one: the list is no empty one for a reason of its own.
      await api.exportOnnx(model);
      told.push(Object.keys(require("node:module")._cache).some((file) => file.includes("protobufjs")));
      console.log(JSON.stringify(told));
    });`;
    const { stdout, stderr } = await runNode(["--eval", script]);
    expect(stderr).toBe("");
    const [imported, predicted, exported] = JSON.parse(stdout) as [string[], string[], boolean];
    expect(imported).toEqual([]);
    expect(predicted).toContain("yauzl");
    // What yauzl needs.
    expect(predicted.filter((name) => !["yauzl", "pend", "buffer-crc32"].includes(name))).toEqual([]);
    expect(exported).toBe(true);
  },
);
