import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type DoctorCheck, diagnose, formatDiagnosis } from "../../lib/libtorch/doctor.js";
import { findBuiltAddon, loadAddon, loadAddonWithDetails } from "../../lib/libtorch/load-addon.js";
import { findBuilt } from "../../lib/native/built-files.js";
import { writeFakeLibtorch } from "./fake-libtorch.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lenet5-load-"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

const error = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

/** Copies the built addon into another build folder, so that it can be damaged. */
function copyOfBuild(): { release: string; description: string } {
  const { loader, core } = findBuiltAddon();
  const release = join(folder, "Release");
  mkdirSync(release);
  for (const file of [loader, core])
    copyFileSync(file, join(release, file === loader ? "lenet5_libtorch.node" : basename(file)));
  vi.stubEnv("LENET5_BUILD_DIR", folder);
  return { release, description: join(release, "lenet5_core.json") };
}

test("loads the addon with the libtorch that it was built for", () => {
  const { built, libtorch, skipped } = loadAddonWithDetails();
  expect(libtorch.libtorch?.version).toBe(built.libtorchVersion);
  expect(skipped).toEqual([]);
  expect(built.napiVersion).toBe(9);
});

test("says how to build where nothing is built", () => {
  vi.stubEnv("LENET5_BUILD_DIR", folder);
  expect(() => loadAddon()).toThrow(
    error("LENET5_ADDON_NOT_BUILT", /Expected lenet5_libtorch\.node in .*install --build/),
  );
});

test("says so where the build's description is missing or damaged", () => {
  const { description } = copyOfBuild();
  expect(() => loadAddon()).toThrow(error("LENET5_ADDON_NOT_BUILT", /lenet5_core\.json beside the loader/));
  writeFileSync(description, "{ not json");
  expect(() => loadAddon()).toThrow(error("LENET5_ADDON_NOT_BUILT", /Expected JSON/));
});

test("says so where the loader is no library", () => {
  const built = findBuiltAddon();
  const { release, description } = copyOfBuild();
  writeFileSync(description, JSON.stringify(built));
  rmSync(join(release, "lenet5_libtorch.node"));
  writeFileSync(join(release, "lenet5_libtorch.node"), "not a library");
  expect(() => loadAddon()).toThrow(error("LENET5_ADDON_NOT_BUILT", /Cannot load .*lenet5_libtorch\.node/));
});

test("refuses a libtorch of another version, and names the fix", () => {
  vi.stubEnv("LIBTORCH", writeFakeLibtorch(join(folder, "other"), "2.99.0"));
  expect(() => loadAddon()).toThrow(
    error("LENET5_LIBTORCH_INCOMPATIBLE", /is 2\.99\.0, but the addon was built for .*npx lenet5 install/),
  );
});

test("refuses a libtorch that says the right version and cannot be loaded", () => {
  const { libtorchVersion, cxx11Abi } = findBuiltAddon();
  vi.stubEnv("LIBTORCH", writeFakeLibtorch(join(folder, "fake"), libtorchVersion, { cxx11Abi }));
  expect(() => loadAddon()).toThrow(expect.objectContaining({ code: expect.stringMatching(/LENET5_LIBTORCH_/) }));
});

const byName = (checks: DoctorCheck[], name: string) => checks.find((check) => check.name === name);

test("doctor finds a machine that works in order", async () => {
  const diagnosis = await diagnose();
  expect(diagnosis.checks.filter(({ status }) => status === "failed")).toEqual([]);
  expect(diagnosis.ok).toBe(true);
  expect(diagnosis.libtorch).toBe(true);
  expect(byName(diagnosis.checks, "loading libtorch")?.found).toMatch(/^works with /);
  expect(byName(diagnosis.checks, "addon with the fused engine")?.found).toMatch(/^works with baseline/);
  expect(formatDiagnosis(diagnosis)).toMatch(/✓ Node\.js .*\n[\s\S]*Everything that is needed is here\.$/);
});

test("doctor finds LeNet-5 at work where there is no libtorch, and says what does not work", async () => {
  const release = join(folder, "Release");
  mkdirSync(release);
  copyFileSync(findBuilt("lenet5_fused.node"), join(release, "lenet5_fused.node"));
  vi.stubEnv("LENET5_BUILD_DIR", folder);
  const diagnosis = await diagnose();
  expect(diagnosis).toMatchObject({ ok: true, libtorch: false });
  const text = formatDiagnosis(diagnosis);
  expect(text).toMatch(/! addon with libtorch .*\n.*install --build[\s\S]*What needs libtorch does not yet/);
});

test("doctor names what is missing and how to mend it", async () => {
  vi.stubEnv("LIBTORCH", join(folder, "nowhere"));
  vi.stubEnv("LENET5_BUILD_DIR", join(folder, "nothing"));
  vi.stubEnv("PATH", "");
  const diagnosis = await diagnose();
  expect(diagnosis.ok).toBe(false);
  for (const name of ["addon with the fused engine", "libtorch", "C++ compiler", "CMake"]) {
    expect(byName(diagnosis.checks, name), name).toMatchObject({ status: "failed", fix: expect.any(String) });
  }
  expect(byName(diagnosis.checks, "addon with libtorch")).toMatchObject({ status: "warning", fix: expect.any(String) });
  expect(byName(diagnosis.checks, "libtorch")?.fix).toMatch(/unset LIBTORCH.*npx lenet5 install/);
  expect(formatDiagnosis(diagnosis)).toMatch(/✗ CMake[\s\S]*→ install CMake[\s\S]*checks failed\.$/);
});
