// Packages before anything of them runs: what is no package, what was made for another machine.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { ZipFile } from "yazl";
import { CompiledModule, libtorchVersion } from "../../lib/index.js";
import { fixture } from "../script-module/expected.js";

const folder = mkdtempSync(join(tmpdir(), "lenet5-no-package-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const machine = { AOTI_DEVICE_KEY: "cpu", AOTI_PLATFORM: process.platform, AOTI_MACHINE: "x86_64" };
if (process.arch === "arm64") machine.AOTI_MACHINE = "aarch64";
const LIBRARY = "p/data/aotinductor/model/c1.wrapper.so";
const METADATA = "p/data/aotinductor/model/c1.wrapper_metadata.json";

async function zip(entries: Record<string, string | Buffer>): Promise<Buffer> {
  const file = new ZipFile();
  for (const [name, contents] of Object.entries(entries)) {
    file.addBuffer(Buffer.from(contents as string), name, { compress: false });
  }
  file.end();
  const chunks: Buffer[] = [];
  for await (const chunk of file.outputStream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function refusal(source: string | Buffer, options = {}): Promise<{ code: string; message: string }> {
  const module = await CompiledModule.load(source, options).catch((error: unknown) => error);
  expect(module).not.toBeInstanceOf(CompiledModule);
  const { code, message } = module as { code: string; message: string };
  return { code, message };
}

const package_ = (metadata: object = machine, library: string | Buffer = "no library"): Promise<Buffer> =>
  zip({ [LIBRARY]: library, [METADATA]: JSON.stringify(metadata), "p/archive_format": "pt2" });

describe("what is no package", () => {
  test.each([
    ["nothing", async () => Buffer.alloc(0), "an empty file"],
    ["a text", async () => Buffer.from("weights"), "a text file"],
    ["an empty zip file", () => zip({}), "a zip file without an archive folder"],
    ["another zip file", () => zip({ "p/readme": "hello" }), "a zip file without a compiled model"],
    ["two archives in one", () => zip({ "p/a": "1", "q/b": "2" }), "a zip file without an archive folder"],
    ["pickled objects", () => zip({ "p/data.pkl": "1" }), "torch.save"],
    ["an exported program", () => zip({ "p/models/model.json": "{}" }), "aoti_compile_and_package"],
    ["metadata that cannot be read", () => zip({ [METADATA]: "[", [LIBRARY]: "1" }), "without a compiled model"],
  ])("%s", async (_, make, received) => {
    const { code, message } = await refusal(await make());
    expect(code).toBe("LENET5_MODEL_CORRUPT");
    expect(message).toContain(received);
  });

  test("a TorchScript file, with the call that runs it", async () => {
    const { code, message } = await refusal(fixture("mlp"));
    expect(code).toBe("LENET5_MODEL_CORRUPT");
    expect(message).toContain("a TorchScript file; ScriptModule.load runs it");
  });

  test("a file that is not there, and a folder", async () => {
    expect((await refusal(join(folder, "none.pt2"))).code).toBe("LENET5_MODEL_NOT_FOUND");
    expect((await refusal(folder)).code).toBe("LENET5_MODEL_NOT_FOUND");
  });

  test("names that lead out of the folder", async () => {
    const honest = await zip({ "p/data/aotinductor/model/xxxx.so": "1", [METADATA]: JSON.stringify(machine) });
    const text = honest
      .toString("latin1")
      .replaceAll("p/data/aotinductor/model/xxxx.so", "p/data/aotinductor/model/../x.so");
    const { code, message } = await refusal(Buffer.from(text, "latin1"));
    expect(code).toBe("LENET5_MODEL_CORRUPT");
    expect(message).toContain("unsafe entry name");
  });
});

describe("a package for something else", () => {
  test.each([
    ["another system", { ...machine, AOTI_PLATFORM: "os2" }, /one for os2 on/],
    ["another processor", { ...machine, AOTI_MACHINE: "vax" }, /on vax/],
  ])("%s", async (_, metadata, message) => {
    expect(await refusal(await package_(metadata))).toEqual({
      code: "LENET5_SCRIPT_UNSUPPORTED",
      message: expect.stringMatching(message),
    });
  });

  test("a model that it does not have", async () => {
    expect(await refusal(await package_(), { model: "toString" })).toEqual({
      code: "LENET5_INVALID_OPTION",
      message: 'Expected one of the package\'s models ("model") for model but received "toString"',
    });
  });

  const [major, minor] = libtorchVersion().split(".").map(Number) as [number, number];
  if (major > 2 || (major === 2 && minor >= 13)) {
    test.each([
      ["without a library", () => zip({ [METADATA]: JSON.stringify(machine) }), "0 compiled libraries"],
      ["with a library that checks no inputs", () => package_(), "does not check its inputs"],
      ["with a library that is none", () => package_(machine, "AOTI_RUNTIME_CHECK_INPUTS"), "it is no ELF library"],
    ])("one %s", async (_, make, received) => {
      const path = join(folder, "bad.pt2");
      writeFileSync(path, await make());
      const temporary = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("lenet5-package-"));
      const before = temporary();
      expect((await refusal(path)).message).toContain(received);
      expect(temporary().filter((name) => !before.includes(name))).toEqual([]);
    });

    test("one whose loading is aborted while it is unpacked", async () => {
      const large = Buffer.alloc(48 * 1024 * 1024);
      const contents = { "p/data/large": large, [LIBRARY]: "no library", [METADATA]: JSON.stringify(machine) };
      const path = join(folder, "large.pt2");
      writeFileSync(path, await zip(contents));
      const temporary = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("lenet5-package-"));
      const before = temporary();
      const added = (): string[] => temporary().filter((name) => !before.includes(name));
      const controller = new AbortController();
      let ended = false;
      const refused = refusal(path, { signal: controller.signal }).finally(() => {
        ended = true;
      });
      while (!ended && added().length === 0) await new Promise((resolve) => setImmediate(resolve));
      controller.abort();
      expect((await refused).code).toBe("LENET5_ABORTED");
      expect(added()).toEqual([]);
    });
  } else {
    test("a libtorch that knows none", async () => {
      expect(await refusal(await package_())).toEqual({
        code: "LENET5_SCRIPT_UNSUPPORTED",
        message: `Expected libtorch 2.13 or later for CompiledModule.load but received libtorch ${libtorchVersion()}`,
      });
    });
  }
});

test("inspect tells what a package says, without running it", async () => {
  expect(await CompiledModule.inspect(await package_({ ...machine, author: "me", layers: 3 }))).toEqual({
    models: [{ name: "model", metadata: { ...machine, author: "me", layers: "3" } }],
  });
});
