// The packages that only servers need: an installation without them is told which to install.
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { runNode, temporaryFolder } from "../cli/lenet5.js";

test("without Fastify and its kin the error names the command that installs them", async () => {
  const folder = temporaryFolder();
  for (const name of ["dist", "package.json", "package-root.cjs"])
    await cp(join(packageRoot, name), join(folder, name), { recursive: true });
  const { stdout, stderr } = await runNode([
    "-e",
    `const { createServer } = require(${JSON.stringify(join(folder, "dist", "cjs", "server.js"))});
     try { createServer({ modelRepository: "." }); } catch (error) { console.log(error.code, error.message); }`,
  ]);
  expect(stderr).toBe("");
  expect(stdout).toContain("LENET5_DEPENDENCY_MISSING");
  expect(stdout).toContain("npm install fastify @fastify/busboy prom-client");
});
