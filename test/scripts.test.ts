// What the scripts that run the tests promise.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { packageRoot } from "#package-root";

const script = pathToFileURL(join(packageRoot, "scripts", "vitest.mjs")).href;
const { vitest, NATIVE_TESTS } = (await import(script)) as {
  vitest: (name: string, options: { filters: string[] }) => Promise<unknown>;
  NATIVE_TESTS: string[];
};

test("a filter that names no tests is an error, beside one that does", async () => {
  const run = vitest("an absent folder", { filters: ["test/queue.test.ts", "test/absent"] });
  await expect(run).rejects.toThrow("Expected tests in test/absent");
});

test("the tests that load the addon are there", () => {
  expect(NATIVE_TESTS.filter((path) => !existsSync(join(packageRoot, path)))).toEqual([]);
});

test("a build fetches the tools that the clone builds with", async () => {
  const module = pathToFileURL(join(packageRoot, "scripts", "build-tools.mjs")).href;
  const { BUILD_TOOLS } = (await import(module)) as { BUILD_TOOLS: Record<string, string> };
  const { packages } = JSON.parse(readFileSync(join(packageRoot, "package-lock.json"), "utf8"));
  for (const [name, version] of Object.entries(BUILD_TOOLS)) {
    expect(packages[`node_modules/${name}`].version).toBe(version);
    // Whoever installs the package does not get them.
    expect(packages[`node_modules/${name}`].dev).toBe(true);
    expect(packages[""].devDependencies).toHaveProperty(name);
  }
});

test("setup:python names its purposes, and refuses one that it has not", () => {
  const run = (...words: string[]) =>
    spawnSync(process.execPath, [join(packageRoot, "scripts", "python-environment.mjs"), ...words], {
      encoding: "utf8",
    });
  const help = run("--help");
  expect(help.status).toBe(0);
  expect(help.stdout).toMatch(/^ {2}tests +\.venv, from test\/requirements\.txt$/m);
  expect(help.stdout).toMatch(/^ {2}airflow +\.venv-airflow, from pipelines\/requirements-airflow\.txt$/m);
  const unknown = run("--purpose", "airflow", "--purpose", "air flow");
  expect(unknown.status).toBe(1);
  expect(unknown.stderr).toMatch(/^Expected tests, airflow\b.* for --purpose but received "air flow"\n$/);
  expect(run("--porpose", "airflow")).toMatchObject({ status: 1, stdout: "" });
});

test("every requirement of Python's environments is pinned", () => {
  const files = readdirSync(join(packageRoot, "pipelines")).filter((name) => name.startsWith("requirements-"));
  for (const file of [...files.map((name) => `pipelines/${name}`), "test/requirements.txt"]) {
    const lines = readFileSync(join(packageRoot, file), "utf8").split("\n");
    const loose = lines.filter((line) => line !== "" && !/^#|^[\w.-]+(\[[\w,]+\])?==[\w.+!]+( *;.*)?$/.test(line));
    expect(loose, file).toEqual([]);
  }
});
