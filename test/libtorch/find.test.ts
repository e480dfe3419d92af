import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { describeLibtorch, faultOf } from "../../lib/libtorch/describe.js";
import { findLibtorch, installFolder, libtorchCandidates } from "../../lib/libtorch/find.js";
import { describeWithPython, python, pythonPath } from "../python.js";
import { writeFakeLibtorch } from "./fake-libtorch.js";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lenet5-find-"));
  vi.stubEnv("LENET5_CACHE_DIR", join(folder, "cache"));
  vi.stubEnv("LIBTORCH", undefined);
  vi.stubEnv("LENET5_USE_PYTORCH", undefined);
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

describe("describeLibtorch", () => {
  test("tells version, ABI, headers and libraries of a folder", () => {
    const root = writeFakeLibtorch(join(folder, "libtorch"), "2.6.0", { cxx11Abi: false });
    expect(describeLibtorch(root)).toMatchObject({
      version: "2.6.0",
      headerVersion: "2.6.0",
      cxx11Abi: false,
      includeDirectory: join(root, "include"),
      libraries: [join(root, "lib", "libc10.so"), join(root, "lib", "libtorch_cpu.so")],
      cudaLibraries: [],
      missing: [],
    });
  });

  test("finds nothing in an empty folder or one that does not exist", () => {
    expect(describeLibtorch(folder)).toBeUndefined();
    expect(describeLibtorch(join(folder, "none"))).toBeUndefined();
  });

  test("sees headers and libraries that disagree", () => {
    const root = writeFakeLibtorch(join(folder, "libtorch"), "2.13.0", { headers: "2.12.1" });
    expect(faultOf(describeLibtorch(root)!)).toBe("has headers of 2.12.1 but libraries of 2.13.0");
  });

  test("refuses versions before 1.13", () => {
    expect(faultOf(describeLibtorch(writeFakeLibtorch(join(folder, "old"), "1.12.1"))!)).toContain(
      "1.13 is the oldest",
    );
  });

  test("describes the libtorch in use, whose libraries lack nothing", () => {
    vi.unstubAllEnvs();
    const { libtorch } = findLibtorch();
    expect(libtorch.missing).toEqual([]);
    expect(libtorch.version).toMatch(/^\d+\.\d+\.\d+$/);
    expect(faultOf(libtorch)).toBeUndefined();
  });
});

describe("findLibtorch", () => {
  test("takes LIBTORCH before the cache", () => {
    writeFakeLibtorch(installFolder(), "2.13.0");
    vi.stubEnv("LIBTORCH", writeFakeLibtorch(join(folder, "mine"), "2.12.0"));
    expect(findLibtorch()).toMatchObject({ origin: "LIBTORCH", libtorch: { version: "2.12.0" } });
  });

  test("passes over a cache that is no folder, and a libtorch that cannot be read", () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    vi.stubEnv("LENET5_CACHE_DIR", file);
    expect(libtorchCandidates().filter(({ origin }) => origin === "cache")).toEqual([]);
    const broken = writeFakeLibtorch(join(folder, "broken"), "2.13.0");
    rmSync(join(broken, "lib", "libc10.so"));
    mkdirSync(join(broken, "lib", "libc10.so"));
    vi.stubEnv("LIBTORCH", broken);
    expect(libtorchCandidates()).toEqual([
      {
        origin: "LIBTORCH",
        folder: broken,
        libtorch: undefined,
        fault: expect.stringMatching(/^cannot be read: EISDIR/),
      },
    ]);
  });

  test("takes nothing else where LIBTORCH names a folder without one", () => {
    writeFakeLibtorch(installFolder(), "2.13.0");
    vi.stubEnv("LIBTORCH", join(folder, "nowhere"));
    expect(() => findLibtorch()).toThrow(
      expect.objectContaining({ code: "LENET5_LIBTORCH_NOT_FOUND", message: expect.stringContaining("nowhere") }),
    );
  });

  test("takes the cache before the system, the pinned version before others", () => {
    writeFakeLibtorch(installFolder("2.14.0"), "2.14.0");
    writeFakeLibtorch(installFolder(), "2.13.0");
    expect(findLibtorch()).toMatchObject({ origin: "cache", libtorch: { version: "2.13.0" } });
    const origins = libtorchCandidates().map(({ origin }) => origin);
    expect(origins.slice(0, 2)).toEqual(["cache", "cache"]);
    expect(origins.slice(2).every((origin) => origin === "system")).toBe(true);
  });

  test("takes the version and ABI that an addon was built for, wherever it comes in the order", () => {
    writeFakeLibtorch(installFolder(), "2.13.0");
    writeFakeLibtorch(installFolder("2.14.0"), "2.14.0");
    expect(findLibtorch({ built: { version: "2.14.0", cxx11Abi: true } }).folder).toBe(installFolder("2.14.0"));
    expect(() => findLibtorch({ built: { version: "2.14.0", cxx11Abi: false } })).toThrow(
      expect.objectContaining({
        code: "LENET5_LIBTORCH_INCOMPATIBLE",
        message: expect.stringMatching(/another ABI of std::string.*npx lenet5 install/),
      }),
    );
  });

  test("passes over a folder without headers where they are wanted", () => {
    const root = writeFakeLibtorch(installFolder(), "2.13.0");
    rmSync(join(root, "include", "torch", "csrc"), { recursive: true });
    expect(libtorchCandidates({ headers: true })[0]?.fault).toBe("has no headers to build against");
    expect(libtorchCandidates()[0]?.fault).toBeUndefined();
  });

  describe("with LENET5_USE_PYTORCH=1", () => {
    /** A stand-in for an interpreter: says where its torch lies, or nothing, and ends with a status. */
    function writeFakePython(name: string, says: string, status = 0): string {
      const path = join(folder, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, `#!/bin/sh\necho "${says}"\nexit ${status}\n`);
      chmodSync(path, 0o755);
      return path;
    }

    beforeEach(() => {
      vi.stubEnv("LENET5_USE_PYTORCH", "1");
      vi.stubEnv("LENET5_PYTHON", undefined);
      vi.stubEnv("VIRTUAL_ENV", undefined);
      vi.stubEnv("PATH", join(folder, "path"));
      // It comes before the cache.
      writeFakeLibtorch(installFolder(), "2.13.0");
    });

    test.each(["LENET5_PYTHON", "VIRTUAL_ENV", "PATH"])(
      "takes the torch of the interpreter that %s names",
      (variable) => {
        const torch = writeFakeLibtorch(join(folder, "site-packages", "torch"), "2.12.0");
        const name = { LENET5_PYTHON: "mine", VIRTUAL_ENV: "env/bin/python", PATH: "path/python3" }[variable]!;
        const python = writeFakePython(name, torch);
        if (variable === "LENET5_PYTHON") vi.stubEnv(variable, python);
        if (variable === "VIRTUAL_ENV") vi.stubEnv(variable, join(folder, "env"));
        expect(findLibtorch()).toMatchObject({ origin: "python", folder: torch, libtorch: { version: "2.12.0" } });
      },
    );

    test("asks the next interpreter where one is broken or has no torch", () => {
      const torch = writeFakeLibtorch(join(folder, "site-packages", "torch"), "2.12.0");
      vi.stubEnv("LENET5_PYTHON", writeFakePython("broken", "Traceback", 1));
      vi.stubEnv("VIRTUAL_ENV", join(folder, "env"));
      writeFakePython("env/bin/python", "");
      writeFakePython("path/python3", torch);
      expect(findLibtorch()).toMatchObject({ origin: "python", folder: torch });
    });

    test("takes nothing else where no interpreter has a torch", () => {
      writeFakePython("path/python3", "");
      expect(() => findLibtorch()).toThrow(
        expect.objectContaining({
          code: "LENET5_LIBTORCH_NOT_FOUND",
          message: expect.stringContaining("the active Python has no torch"),
        }),
      );
    });

    test("comes after LIBTORCH", () => {
      writeFakePython("path/python3", writeFakeLibtorch(join(folder, "site-packages", "torch"), "2.12.0"));
      vi.stubEnv("LIBTORCH", writeFakeLibtorch(join(folder, "mine"), "2.11.0"));
      expect(findLibtorch()).toMatchObject({ origin: "LIBTORCH", libtorch: { version: "2.11.0" } });
    });

    test("is not asked for unless told", () => {
      writeFakePython("path/python3", writeFakeLibtorch(join(folder, "site-packages", "torch"), "2.12.0"));
      vi.stubEnv("LENET5_USE_PYTORCH", undefined);
      expect(findLibtorch()).toMatchObject({ origin: "cache" });
    });

    describeWithPython("and the real PyTorch", () => {
      test("finds its folder, version and ABI, as PyTorch itself tells them", async () => {
        vi.stubEnv("LENET5_PYTHON", pythonPath);
        const told = await python<{ folder: string; version: string; cxx11Abi: boolean }>(`
import json, os, torch
print(json.dumps({
    "folder": os.path.dirname(torch.__file__),
    "version": torch.__version__.split("+")[0],
    "cxx11Abi": torch.compiled_with_cxx11_abi(),
}))`);
        const { origin, folder: found, libtorch } = findLibtorch();
        expect({ origin, folder: found, version: libtorch.version, cxx11Abi: libtorch.cxx11Abi }).toEqual({
          origin: "python",
          ...told,
        });
      });
    });
  });
});
