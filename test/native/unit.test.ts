// The native unit tests (native/lenet5/test), which the build makes beside the addon, and what they cannot show.
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { packageRoot } from "#package-root";
import { findBuiltAddon } from "../../lib/libtorch/load-addon.js";

const run = promisify(execFile);
const native = join(packageRoot, "native");

it("holds in native code", async () => {
  const program = join(
    dirname(findBuiltAddon().loader),
    process.platform === "win32" ? "lenet5_test.exe" : "lenet5_test",
  );
  expect(await run(program)).toEqual({ stdout: "all as expected\n", stderr: "" });
});

describe("the rooms of native/", () => {
  const files = (room: string) =>
    readdirSync(join(native, room), { recursive: true, encoding: "utf8" })
      .filter((file) => /\.(cpp|h)$/.test(file))
      .map((file) => ({ file: join(room, file), text: readFileSync(join(native, room, file), "utf8") }));
  const including = (room: string, header: RegExp) =>
    files(room).flatMap(({ file, text }) =>
      text
        .split("\n")
        .flatMap((line) => (line.startsWith("#include") && header.test(line) ? [`${file}: ${line}`] : [])),
    );

  it("see no libtorch in what the fused addon is made of, and no N-API below the addons", () => {
    const torch = /<(torch|ATen|c10|caffe2)\/|core\/|libtorch_addon\//;
    expect(["kernels", "lenet5", "addon", "fused_addon"].flatMap((room) => including(room, torch))).toEqual([]);
    expect(["lenet5", "kernels", "core"].flatMap((room) => including(room, /napi|addon\//))).toEqual([]);
    // The patterns find something where there is something.
    expect(including("core", torch)).not.toEqual([]);
  });

  it("write and read no number under the process's locale", () => {
    const followers = /\b(snprintf|sprintf|sscanf|strtod|strtof|atof|stod|stof|setlocale)\s*\(/;
    const found = ["lenet5", "core", "addon", "fused_addon", "libtorch_addon", "loader"].flatMap((room) =>
      files(room).flatMap(({ file, text }) => (followers.test(text) ? [file] : [])),
    );
    expect(found).toEqual([]);
  });
});
