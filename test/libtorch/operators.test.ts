// Libraries of operators that are none, or none for this libtorch. Each is refused by name before any of its code runs, and
// the process goes on; the real ones are in test/interop/operators.test.ts.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { readElfDynamic } from "../../lib/libtorch/elf.js";
import { findLibtorch } from "../../lib/libtorch/find.js";
import { findBuiltAddon } from "../../lib/libtorch/load-addon.js";
import { emptyLibrary } from "../../lib/libtorch/stand-in.js";
import { lastJson, lenet5, line, runNode } from "../cli/lenet5.js";

const built = findBuiltAddon();
const { libtorch } = findLibtorch({ built: { version: built.libtorchVersion, cxx11Abi: built.cxx11Abi } });
const [c10, cpu] = libtorch.libraries as [string, string];
const cpuName = readElfDynamic(cpu)!.soname;
const like = readFileSync(built.core).subarray(0, 64);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "lenet5-operators-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, bytes);
  return path;
}

/** Compiles C to a library that is linked to the libtorch in use, whether it uses it or not. */
function compile(name: string, source: string): string {
  const path = join(folder, name);
  const { status, stderr } = spawnSync(
    "cc",
    ["-shared", "-fPIC", "-xc", "-", "-xnone", "-o", path, "-Wl,--no-as-needed,--allow-shlib-undefined", c10, cpu],
    { input: source, encoding: "utf8" },
  );
  expect(stderr).toBe("");
  expect(status).toBe(0);
  return path;
}

/** Loads a module with each of the libraries in turn, in one process; gives the errors, undefined for none. */
async function outcomes(libraries: unknown[]): Promise<({ code: string; message: string } | null)[]> {
  const script = `
    const { ScriptModule } = require(${JSON.stringify(join(packageRoot, "dist", "cjs", "lenet5-libtorch.js"))});
    const file = ${JSON.stringify(join(packageRoot, "test", "fixtures", "script-modules", "mlp.pt"))};
    (async () => {
      const results = [];
      for (const operators of JSON.parse(process.argv[1])) {
        results.push(await ScriptModule.load(file, { device: "cpu", operators }).then(() => null, ({ code, message }) => ({ code, message })));
      }
      console.log(JSON.stringify(results));
    })();`;
  const run = await runNode(["--eval", script, JSON.stringify(libraries)], { env: { LENET5_OPERATORS: undefined } });
  expect(run).toMatchObject({ status: 0, signal: null });
  return JSON.parse(run.stdout.trim().split("\n").at(-1)!);
}

test("what is no library for this process is refused by name, and the process goes on", async () => {
  const whole = compile("whole.so", "int nothing;");
  const bytes = readFileSync(whole);
  const arm = Buffer.from(bytes);
  arm.writeUInt16LE(process.arch === "arm64" ? 62 : 183, 18);
  const other = cpuName === "libtorch_cpu.so" ? "libtorch_cpu.so.1.13" : "libtorch_cpu.so";
  const beyond = Buffer.from(bytes).fill(0xff, 32, 40);
  const wheel = "site/old/_C.so";
  write("site/old-1.0.dist-info/METADATA", "Name: old\nRequires-Dist: torch (==1.2.3)\n");
  const rows: [library: string, code: string, message: RegExp][] = [
    [join(folder, "absent.so"), "OPERATORS_NOT_FOUND", /absent\.so/],
    [folder, "OPERATORS_UNUSABLE", /a folder/],
    [write("text.so", "no library"), "OPERATORS_UNUSABLE", /text\.so .*it is no ELF library/],
    [write("empty.so", ""), "OPERATORS_UNUSABLE", /it is no ELF library/],
    [write("half.so", bytes.subarray(0, bytes.length / 2)), "OPERATORS_UNUSABLE", /it is truncated/],
    [write("head.so", bytes.subarray(0, 64)), "OPERATORS_UNUSABLE", /it is truncated/],
    [write("beyond.so", beyond), "OPERATORS_UNUSABLE", /truncated or damaged: it has no table of segments/],
    [write("arm.so", arm), "OPERATORS_UNUSABLE", /it is for ELF machine/],
    [write("alone.so", emptyLibrary("alone.so", [], like)), "OPERATORS_UNUSABLE", /one that does not use libtorch/],
    [
      write("other.so", emptyLibrary("other.so", [other], like)),
      "OPERATORS_UNUSABLE",
      new RegExp(`one of another libtorch than the libtorch ${libtorch.version} .*it needs ${other}`),
    ],
    [
      write(wheel, emptyLibrary("_C.so", [cpuName], like)),
      "OPERATORS_UNUSABLE",
      /one of old-1\.0, which was made for torch 1\.2\.3/,
    ],
    [
      compile("symbols.so", "extern void _ZN3c1011not_any_moreEv(void); void *use = _ZN3c1011not_any_moreEv;"),
      "OPERATORS_UNUSABLE",
      /made for another libtorch .*undefined symbol: _ZN3c1011not_any_moreEv/,
    ],
  ];
  if (libtorch.cudaLibraries.length === 0) {
    const cuda = write("cuda.so", emptyLibrary("cuda.so", [cpuName, "libc10_cuda.so"], like));
    rows.push([
      cuda,
      "OPERATORS_UNUSABLE",
      /needs libc10_cuda\.so, which .* does not have: take the package's build for the CPU/,
    ]);
  }
  const results = await outcomes([...rows.map(([library]) => [library]), [whole]]);
  for (const [i, [library, code, message]] of rows.entries()) {
    expect(results[i], library).toMatchObject({ code: `LENET5_${code}`, message: expect.stringMatching(message) });
    expect(results[i]!.message).toMatch(/^Expected .+ for .+ but received .+/);
  }
  expect(results.at(-1)).toBeNull();
});

test("a package's own library is none of libtorch's, whatever its name begins with", async () => {
  const operators = write("_audio.so", emptyLibrary("_audio.so", [cpuName, "libtorchaudio.so"], like));
  const first = write("first.so", emptyLibrary("libtorchaudio.so", [cpuName], like));
  expect(await outcomes([[first, operators]])).toEqual([null]);
});

test("one that brings a second libtorch along is refused, however often it is tried", async () => {
  const second = compile("libc10.so.9", "int nothing;");
  const bringing = compile(
    "bringing.so",
    `#include <dlfcn.h>\n__attribute__((constructor)) static void bring(void) { dlopen("${second}", RTLD_NOW); }`,
  );
  const refused = { code: "LENET5_LIBTORCH_MIXED", message: expect.stringContaining("libc10.so.9 loaded") };
  expect(await outcomes([[bringing], [bringing]])).toMatchObject([refused, refused]);
});

test("what is no path is refused", async () => {
  const results = await outcomes(["_C.so", [1], [""]]);
  expect(results.map((each) => each?.code)).toEqual(Array(3).fill("LENET5_INVALID_OPTION"));
});

test("one library is opened once a process, by whatever name", async () => {
  const counter = compile(
    "counter.so",
    '#include <unistd.h>\n__attribute__((constructor)) static void opened(void) { if (write(1, "opened\\n", 7)) {} }',
  );
  copyFileSync(counter, join(folder, "copy.so"));
  const script = `
    const { ScriptModule } = require(${JSON.stringify(join(packageRoot, "dist", "cjs", "lenet5-libtorch.js"))});
    const file = ${JSON.stringify(join(packageRoot, "test", "fixtures", "script-modules", "mlp.pt"))};
    (async () => {
      for (const path of process.argv.slice(1)) await ScriptModule.load(file, { device: "cpu", operators: [path] });
    })();`;
  const run = await runNode(["--eval", script, counter, counter, join(folder, "copy.so")], {
    env: { LENET5_OPERATORS: counter },
  });
  expect(run).toMatchObject({ status: 0, stdout: "opened\n" });
});

test("the doctor reports one that crashes while loading, and goes on", async () => {
  const crash = compile(
    "crash.so",
    "#include <stdlib.h>\n__attribute__((constructor)) static void end(void) { abort(); }",
  );
  const silent = compile(
    "silent.so",
    "#include <unistd.h>\n__attribute__((constructor)) static void end(void) { _exit(0); }",
  );
  const whole = compile(
    "fine.so",
    '#include <stdio.h>\n__attribute__((constructor)) static void hello(void) { puts("{ hello"); fflush(stdout); }',
  );
  const run = await lenet5(line`doctor --json`, {
    env: { LENET5_OPERATORS: [crash, silent, join(folder, "absent.so"), whole].join(delimiter) },
  });
  expect(run.status).toBe(0);
  const checks = (lastJson(run).checks as { name: string }[]).filter(({ name }) => name === "operators");
  expect(checks).toMatchObject([
    { status: "warning", found: `${crash}: the process that tried it was ended by SIGABRT` },
    { status: "warning", found: `${silent}: the process that tried it ended: without a word` },
    { status: "warning", found: expect.stringContaining("absent.so") },
    { status: "ok", found: whole },
  ]);
});
