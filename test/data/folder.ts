// What tests of data share: a folder of their own, variables, a comparison.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import type { Dataset } from "../../lib/index.js";

/** An empty folder that goes when the test ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "lenet5-data-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Sets an environment variable until the test ends; undefined removes it. */
export function setVariable(name: string, value: string | undefined): void {
  const before = process.env[name];
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
  onTestFinished(() => {
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
  });
}

/** Expects two data sets to be alike; element by element, `toEqual` takes seconds for what this does in a millisecond. */
export function expectSame(actual: Dataset, expected: Dataset): void {
  expect(actual.count).toBe(expected.count);
  expect(Buffer.compare(actual.images, expected.images)).toBe(0);
  expect([...actual.labels]).toEqual([...expected.labels]);
  expect(actual.classNames).toEqual(expected.classNames);
}
