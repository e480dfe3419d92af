import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { describeLibtorch, faultOf } from "../../lib/libtorch/describe.js";
import { findLibtorch, installFolder, libtorchCandidates } from "../../lib/libtorch/find.js";
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

  test("asks the active Python where LENET5_USE_PYTORCH=1 says so", () => {
    // A stand-in for an interpreter: prints where its torch lies.
    const torch = writeFakeLibtorch(join(folder, "site-packages", "torch"), "2.13.0");
    const bin = join(folder, "env", "bin");
    mkdirSync(bin, { recursive: true });
    symlinkSync("/bin/echo", join(bin, "python"));
    vi.stubEnv("LENET5_USE_PYTORCH", "1");
    vi.stubEnv("LENET5_PYTHON", undefined);
    vi.stubEnv("VIRTUAL_ENV", join(folder, "env"));
    vi.stubEnv("PATH", "");
    const [candidate] = libtorchCandidates();
    expect(candidate?.origin).toBe("python");
    expect(candidate?.libtorch).toBeUndefined();
    vi.stubEnv("LIBTORCH", torch);
    expect(libtorchCandidates()).toMatchObject([{ origin: "LIBTORCH" }]);
  });
});
