import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  compareVersions,
  markerHolds,
  parseRequirement,
  requirementsOf,
  requirementText,
  satisfies,
} from "../../lib/libtorch/requirement.js";

// As if on Linux x64, wherever this runs.
const { platform, arch } = process;
const pretend = (name: string, value: string) => Object.defineProperty(process, name, { value });
beforeAll(() => void [pretend("platform", "linux"), pretend("arch", "x64")]);
afterAll(() => void [pretend("platform", platform), pretend("arch", arch)]);

describe("requirements", () => {
  test("are read as torch's and NVIDIA's wheels write them", () => {
    expect(parseRequirement('cuda-toolkit[cublas,cudart]==13.0.3; platform_system == "Linux"')).toEqual({
      name: "cuda-toolkit",
      extras: ["cublas", "cudart"],
      specifiers: [{ operator: "==", version: "13.0.3" }],
      marker: 'platform_system == "Linux"',
    });
    expect(parseRequirement("nvidia-nvjitlink<14,>=13.0.88")?.specifiers).toEqual([
      { operator: "<", version: "14" },
      { operator: ">=", version: "13.0.88" },
    ]);
    expect(parseRequirement("nvidia_cublas_cu12 (==12.4.5.8)")).toMatchObject({
      name: "nvidia-cublas-cu12",
      specifiers: [{ operator: "==", version: "12.4.5.8" }],
    });
    expect(parseRequirement("nvidia-cublas")).toMatchObject({ name: "nvidia-cublas", specifiers: [], marker: "" });
  });

  test.each(["", "-x", "name @ https://example.org/name.whl", "name==", "name ?1"])("%j is none", (text) => {
    expect(parseRequirement(text)).toBeUndefined();
  });

  test("are told to pip as they were", () => {
    expect(requirementText(parseRequirement("cuda-toolkit[cublas,cudart] == 13.0.3")!)).toBe(
      "cuda-toolkit[cublas,cudart]==13.0.3",
    );
  });

  test("of a wheel are those that count here, not those of its description", () => {
    const metadata = [
      "Metadata-Version: 2.4",
      "Name: cuda-toolkit",
      "Requires-Dist: nvidia-nvtx==13.0.85.*; (sys_platform == 'linux' or sys_platform == 'win32') and extra == 'nvtx'",
      "Requires-Dist: nvidia-npp==13.0.1.2.*; sys_platform == 'linux' and extra == 'npp'",
      "Requires-Dist: nvidia-apple; sys_platform == 'atari'",
      'Requires-Dist: triton==3.7.1; python_version < "3.15"',
      "",
      "Requires-Dist: nvidia-description==1",
    ].join("\r\n");
    expect(requirementsOf(metadata, ["nvtx"]).map(({ name }) => name)).toEqual(["nvidia-nvtx", "triton"]);
    expect(requirementsOf(metadata).map(({ name }) => name)).toEqual(["triton"]);
  });
});

test.each<[string, boolean]>([
  ["", true],
  ["platform_system == 'Linux'", true],
  ['platform_system == "Windows"', false],
  ["'Linux' == platform_system", true],
  ["platform_system != 'Linux'", false],
  ["sys_platform == 'linux' and platform_machine == 'aarch64'", false],
  ["sys_platform == 'linux' and platform_machine == 'x86_64'", true],
  ["platform_machine == 'aarch64' or platform_machine == 'x86_64'", true],
  ["(sys_platform == 'win32' or sys_platform == 'linux') and extra == 'cudart'", true],
  ["sys_platform == 'win32' or sys_platform == 'linux' and extra == 'other'", false],
  ["extra == 'CuDart'", true],
  ["'cudart' == extra", true],
  ["extra == 'other'", false],
  ["python_version >= '3.9'", true],
])("marker %j holds on Linux x64 with the extra cudart: %s", (marker, holds) => {
  expect(markerHolds(marker, ["cudart"])).toBe(holds);
});

test.each<[string, string, boolean]>([
  ["13.0.3.0", "==13.0.3", true],
  ["13.0.3", "==13.0.3.0", true],
  ["13.0.31", "==13.0.3", false],
  ["13.1.1.3", "==13.1.1.3.*", true],
  ["13.0.96", "==13.0.*", true],
  ["13.0", "==13.0.*", true],
  ["13", "==13.0.*", true],
  ["13.10.1", "==13.1.*", false],
  ["13.5.37", "<14,>=13.0.88", true],
  ["13.0.87", "<14,>=13.0.88", false],
  ["14.0.1", "<14,>=13.0.88", false],
  ["14", "<14", false],
  ["2.13.0+cpu", "==2.13.0", true],
  ["2.13.0+cpu", "==2.13.0+cu130", false],
  ["2.13.0+cu130", "==2.13.0+cu130", true],
  ["2.13.0rc1", "==2.13.0", false],
  ["2.14.0.dev20261101", ">=2.13", false],
  ["1.4.9", "~=1.4.2", true],
  ["1.5.0", "~=1.4.2", false],
  ["1.4.1", "~=1.4.2", false],
  ["1.2", "!=1.2", false],
  ["1.2.1", "!=1.2.*", false],
  ["1.3", "!=1.2.*", true],
  ["1.3", ">1.3", false],
  ["1.3", "<=1.3.0", true],
  ["1.3", "===1.3", true],
  ["1.3", "==banana", false],
])("%s fits %s: %s", (version, wanted, fits) => {
  expect(satisfies(version, parseRequirement(`x${wanted}`)!.specifiers)).toBe(fits);
});

test("newer versions are told from older ones by their numbers", () => {
  const versions = ["13.0.9", "13.0.10", "13.0.9.post1", "13.1rc1", "2.99"];
  expect(versions.sort(compareVersions)).toEqual(["13.1rc1", "2.99", "13.0.9", "13.0.9.post1", "13.0.10"]);
});
