// The table of errors and the native code that names its codes.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { packageRoot } from "#package-root";
import { ERRORS } from "../lib/errors.js";
import { fromNative } from "../lib/native.js";

const native = join(packageRoot, "native");
const sources = readdirSync(native, { recursive: true, encoding: "utf8" }).filter((file) => /\.(cpp|h)$/.test(file));

/** Codes by the places that name them: `Error("CODE", …)`, and a fallback that is a code. */
const named = sources.flatMap((file) => {
  const text = readFileSync(join(native, file), "utf8");
  const places = /\b(?:Error|current_error|refuse)\(\s*"([A-Z][A-Z_]+)"|"LENET5_([A-Z_]+)"|return "([A-Z]+_[A-Z_]+)"/g;
  return Array.from(text.matchAll(places), ([, a, b, c]) => ({ file, code: a ?? b ?? c! }));
});

it("knows every code that native code throws", () => {
  const codes = new Set(named.map(({ code }) => code));
  for (const code of ["INVALID_PIXELS", "MODEL_CORRUPT", "SCRIPT_RAISED", "LIBTORCH_MIXED", "NATIVE_FAILURE"]) {
    expect(codes).toContain(code);
  }
  // Environment variables, not codes.
  const variables = ["INSTRUCTION_SET", "CUDA_GRAPHS", "DEVICE_TRAINING"];
  const unknown = named.filter(({ code }) => !Object.hasOwn(ERRORS, code) && !variables.includes(code));
  expect(unknown).toEqual([]);
});

it("says so where native code throws a code that is not in the table", () => {
  const error = Object.assign(new Error("Expected a foo"), { code: "LENET5_FOO", detail: "bar" });
  expect(fromNative(error)).toMatchObject({
    code: "LENET5_NATIVE_FAILURE",
    message: "Expected a foo (with the unknown code LENET5_FOO)",
    detail: "bar",
  });
});
