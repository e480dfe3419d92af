// `lenet5 install --variant cu130`, from an index on this machine whose wheels hold a few words.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { describeLibtorch } from "../../lib/libtorch/describe.js";
import { findLibtorch, installFolder, libtorchCandidates } from "../../lib/libtorch/find.js";
import { type InstallOptions, type InstallResult, installLibtorch } from "../../lib/libtorch/install.js";
import { platformTags } from "../../lib/libtorch/package-index.js";
import { recordLines, writeFakeLibtorch, writeFakeWheel, writeZip } from "./fake-libtorch.js";

const TORCH = `torch-2.13.0-cp312-cp312-${platformTags()[0]}.whl`;
const METADATA = [
  "Name: torch",
  'Requires-Dist: cuda-toolkit[cublas,cudart,nvjitlink]==13.0.3; platform_system == "Linux"',
  'Requires-Dist: nvidia-cudnn-cu13==9.20.0.48; platform_system == "Linux"',
  'Requires-Dist: nvidia-other==1; platform_system == "Plan9"',
  "Requires-Dist: filelock",
  "",
].join("\n");
const TOOLKIT = [
  "Name: cuda-toolkit",
  "Requires-Dist: nvidia-cublas==13.1.1.3.*; (sys_platform == 'linux') and extra == 'cublas'",
  "Requires-Dist: nvidia-cuda-runtime==13.0.96.*; (sys_platform == 'linux') and extra == 'cudart'",
  "Requires-Dist: nvidia-nvjitlink<14,>=13.0.88; (sys_platform == 'linux') and extra == 'nvjitlink'",
  "Requires-Dist: nvidia-npp==13.0.1.2.*; (sys_platform == 'linux') and extra == 'npp'",
  "",
].join("\n");

let folder: string;
let wheels: string;
let server: Server;
let asked: string[];
let lines: string[];
/** What the index says and sends; tests change it. */
let hide: RegExp | undefined;
let damage: RegExp | undefined;
let wrongHash: RegExp | undefined;

const TAG = `py3-none-${platformTags()[1]}`;

/** Writes a wheel of anything, with the RECORD that proves it. */
async function writeWheel(name: string, files: Record<string, string>): Promise<void> {
  const info = `${name.split("-").slice(0, 2).join("-")}.dist-info`;
  const all: Record<string, string> = { [`${info}/METADATA`]: `Name: ${name}\n`, ...files };
  const record = [...Object.values(recordLines(all)), `${info}/RECORD,,`].join("\n");
  await writeZip(join(wheels, name), { ...all, [`${info}/RECORD`]: record });
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "lenet5-cuda-"));
  wheels = join(folder, "index");
  mkdirSync(wheels);
  lines = [];
  asked = [];
  hide = damage = wrongHash = undefined;
  vi.stubEnv("LENET5_CACHE_DIR", join(folder, "cache"));
  vi.stubEnv("LIBTORCH", undefined);
  vi.stubEnv("LENET5_USE_PYTORCH", undefined);
  // Without pip.
  vi.stubEnv("PATH", "");
  vi.stubEnv("LENET5_PYTHON", undefined);
  vi.stubEnv("VIRTUAL_ENV", undefined);
  await writeFakeWheel(join(wheels, TORCH), "2.13.0", {
    "torch-2.13.0.dist-info/METADATA": METADATA,
    "torch/version.py": "__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\n",
    "torch/lib/libc10_cuda.so": "no code",
    "torch/lib/libtorch_cuda.so": "no code either",
    "torch/lib/libtorch_python.so": "x",
    "torch/nn/functional.py": "x",
  });
  await writeWheel("cuda_toolkit-13.0.3.0-py2.py3-none-any.whl", {
    "cuda_toolkit-13.0.3.0.dist-info/METADATA": TOOLKIT,
  });
  await writeWheel(`nvidia_cublas-13.1.1.3-${TAG}.whl`, {
    "nvidia/cu13/lib/libcublas.so.13": "blas",
    "nvidia/cu13/include/cublas.h": "// of no use here",
    "nvidia/cu13/lib/libcublas_static.a": "x",
  });
  await writeWheel(`nvidia_cublas-13.1.2.1-${TAG}.whl`, { "nvidia/cu13/lib/libcublas.so.13": "a newer one" });
  await writeWheel(`nvidia_cuda_runtime-13.0.96-${TAG}.whl`, {
    "nvidia/cu13/lib/libcudart.so.13": "runtime",
    "nvidia/cu13/include/cuda_runtime.h": "// header",
    "nvidia/cu13/lib/libcudart_static.a": "x",
  });
  for (const version of ["13.0.39", "13.5.37", "13.4.9", "14.0.1"]) {
    await writeWheel(`nvidia_nvjitlink-${version}-${TAG}.whl`, { "nvidia/cu13/lib/libnvJitLink.so.13": version });
  }
  await writeWheel(`nvidia_cudnn_cu13-9.20.0.48-${TAG}.whl`, {
    "nvidia/cudnn/lib/libcudnn.so.9": "dnn",
    "nvidia/cudnn/lib/libcudnn_ops.so.9": "ops",
    "nvidia/__init__.py": "",
  });
  server = createServer((request, response) => {
    const url = request.url ?? "";
    asked.push(url);
    const name = /^\/simple\/([^/]+)\/$/.exec(url)?.[1];
    if (name !== undefined) {
      const prefix = `${name.replaceAll("-", "_")}-`;
      const files = readdirSync(wheels)
        .filter((file) => file.startsWith(prefix) && !hide?.test(file))
        .map((filename) => {
          const bytes = readFileSync(join(wheels, filename));
          const sha256 = createHash("sha256").update(bytes).digest("hex");
          const hashes = { sha256: wrongHash?.test(filename) ? "0".repeat(64) : sha256 };
          return { filename, url: `/files/${filename}`, size: bytes.length, hashes };
        });
      if (files.length === 0) response.writeHead(404).end();
      else response.end(JSON.stringify({ files }));
      return;
    }
    const file = join(wheels, url.slice("/files/".length));
    if (!existsSync(file)) response.writeHead(404).end();
    else response.end(damage?.test(url) ? "something else" : readFileSync(file));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  vi.stubEnv("LENET5_TORCH_INDEX", `http://127.0.0.1:${(server.address() as AddressInfo).port}/simple`);
});

afterEach(() => {
  vi.unstubAllEnvs();
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

const log = (line: string) => void lines.push(line);
const install = (options: InstallOptions = {}): Promise<InstallResult> =>
  installLibtorch({ variant: "cu130", log, ...options });
const cached = () => (existsSync(join(folder, "cache")) ? readdirSync(join(folder, "cache")) : []);
const text = (...path: string[]) => readFileSync(join(installFolder("2.13.0", "cu130"), ...path), "utf8");

describe.runIf(process.platform === "linux")("installing for CUDA", () => {
  test("brings torch's CUDA libraries and the wheels that it asks for, each at its place", async () => {
    const result = await install();
    const whole = installFolder("2.13.0", "cu130");
    expect(result).toEqual({ folder: join(whole, "torch"), version: "2.13.0", installed: true });
    expect(cached()).toEqual(["libtorch-2.13.0-cu130"]);
    expect(readdirSync(whole).sort()).toEqual(["nvidia", "torch"]);
    expect(readdirSync(join(whole, "torch", "lib")).sort()).toEqual([
      "libc10.so",
      "libc10_cuda.so",
      "libtorch_cpu.so",
      "libtorch_cuda.so",
    ]);
    expect(readdirSync(join(whole, "nvidia"), { recursive: true, encoding: "utf8" }).sort()).toEqual([
      "cu13",
      "cu13/include",
      "cu13/include/cuda_runtime.h",
      "cu13/lib",
      "cu13/lib/libcublas.so.13",
      "cu13/lib/libcudart.so.13",
      "cu13/lib/libnvJitLink.so.13",
      "cudnn",
      "cudnn/lib",
      "cudnn/lib/libcudnn.so.9",
      "cudnn/lib/libcudnn_ops.so.9",
    ]);
    // The version that is asked for, not the newest; the newest of a range.
    expect(text("nvidia", "cu13", "lib", "libcublas.so.13")).toBe("blas");
    expect(text("nvidia", "cu13", "lib", "libnvJitLink.so.13")).toBe("13.5.37");
    expect(JSON.parse(text("torch", "lenet5-libtorch.json"))).toMatchObject({ version: "2.13.0", cuda: true });
    // Nothing is asked for that is of no use: no Python packages, no extras that were not named.
    expect(asked.filter((url) => /filelock|npp|other/.test(url))).toEqual([]);
  });

  test("tells beforehand how much comes and how much room it takes", async () => {
    await install();
    expect(lines[0]).toMatch(
      /^libtorch with CUDA: 4\.0 GB stay in .*, 7\.0 GB are needed on the way, [\d.]+ GB are free$/,
    );
    const told = lines.findIndex((line) => /^CUDA's libraries: 4 wheels, [\d.]+ GB to fetch$/.test(line));
    expect(told).toBeGreaterThan(0);
    expect(lines.slice(0, told).some((line) => line.includes("nvidia_"))).toBe(false);
  });

  test("is found before one for the CPU of the same version, and as a whole folder that LIBTORCH names", async () => {
    writeFakeLibtorch(installFolder(), "2.13.0");
    const { folder: installed } = await install();
    expect(
      libtorchCandidates()
        .map(({ folder: each }) => each)
        .slice(0, 2),
    ).toEqual([installed, installFolder()]);
    expect(findLibtorch().libtorch).toMatchObject({ root: installed, builtForCuda: true });
    expect(findLibtorch().libtorch.cudaLibraries).toHaveLength(2);
    vi.stubEnv("LIBTORCH", dirname(installed));
    expect(findLibtorch()).toMatchObject({ origin: "LIBTORCH", libtorch: { root: installed } });
  });

  test("does nothing the second time, and everything again when forced", async () => {
    const { folder: installed } = await install();
    asked.length = 0;
    expect(await install()).toEqual({ folder: installed, version: "2.13.0", installed: false });
    expect(asked).toEqual([]);
    writeFileSync(join(installed, "mark"), "of the old one");
    expect(await install({ force: true })).toMatchObject({ installed: true });
    expect(existsSync(join(installed, "mark"))).toBe(false);
    expect(cached()).toEqual(["libtorch-2.13.0-cu130"]);
  });

  test("does not take one for the CPU for one with CUDA", async () => {
    writeFakeLibtorch(installFolder(), "2.13.0");
    expect(await install()).toMatchObject({ installed: true });
    expect(cached().sort()).toEqual(["libtorch-2.13.0", "libtorch-2.13.0-cu130"]);
  });

  test("takes wheels that lie beside the one that is named, and asks for the others", async () => {
    await install({ from: join(wheels, TORCH) });
    expect(asked.filter((url) => url.startsWith("/files/"))).toEqual([]);
    rmSync(join(folder, "cache"), { recursive: true });
    const alone = join(folder, "alone");
    mkdirSync(alone);
    writeFileSync(join(alone, TORCH), readFileSync(join(wheels, TORCH)));
    await install({ from: join(alone, TORCH) });
    expect(asked.filter((url) => url.startsWith("/files/")).length).toBe(5);
    expect(describeLibtorch(join(installFolder("2.13.0", "cu130"), "torch"))?.cudaLibraries).toHaveLength(2);
  });

  test.each<[string, { hide?: RegExp; wrongHash?: RegExp; damage?: RegExp }, RegExp]>([
    ["a wheel that the index does not have", { hide: /cudnn/ }, /nvidia-cudnn-cu13\/ gave status 404/],
    [
      "a wheel of another version only",
      { hide: /cublas-13\.1\.1\.3/ },
      /has no wheel of nvidia-cublas==13\.1\.1\.3\.\*/,
    ],
    ["a wheel with another checksum", { wrongHash: /cuda_runtime/ }, /Expected SHA-256 0{64} for nvidia_cuda_runtime/],
    ["a wheel that is something else", { damage: /nvjitlink/ }, /Expected SHA-256 .* for nvidia_nvjitlink/],
  ])("of %s fails, says why and leaves nothing", async (_title, faults, message) => {
    ({ hide, wrongHash, damage } = faults);
    const failure = await install().then(
      () => new Error("installed"),
      (error: Error) => error,
    );
    expect(failure).toMatchObject({ code: "LENET5_LIBTORCH_INSTALL_FAILED" });
    expect([failure.message, ...lines].join("\n")).toMatch(message);
    expect(cached()).toEqual([]);
  });

  test("of a library that differs from its wheel's RECORD fails", async () => {
    const name = `nvidia_cudnn_cu13-9.20.0.48-${TAG}.whl`;
    await writeZip(join(wheels, name), {
      "nvidia/cudnn/lib/libcudnn.so.9": "dnN",
      "nvidia_cudnn_cu13-9.20.0.48.dist-info/RECORD": Object.values(
        recordLines({ "nvidia/cudnn/lib/libcudnn.so.9": "dnn" }),
      ).join("\n"),
    });
    await expect(install()).rejects.toThrow(/libcudnn\.so\.9 differs from its sha256 in RECORD/);
    expect(cached()).toEqual([]);
  });

  test("of a wheel for another CUDA, or for the CPU, fails", async () => {
    const from = join(folder, TORCH);
    await writeFakeWheel(from, "2.13.0", {
      "torch/version.py": "cuda: Optional[str] = '12.8'\n",
      "torch/lib/libc10_cuda.so": "x",
      "torch/lib/libtorch_cuda.so": "x",
    });
    await expect(install({ from })).rejects.toThrow(/is for CUDA 12\.8 and not 13\.0/);
    await writeFakeWheel(from, "2.13.0");
    await expect(install({ from })).rejects.toThrow(/is a build for the CPU/);
    expect(cached()).toEqual([]);
  });

  test("where there is no room for it, says so before anything is asked for", async () => {
    vi.resetModules();
    vi.doMock("node:fs/promises", async (original) => ({
      ...(await original<typeof import("node:fs/promises")>()),
      statfs: async () => ({ bavail: 1_500_000, bsize: 4096 }),
    }));
    const fresh = await import("../../lib/libtorch/install.js");
    vi.doUnmock("node:fs/promises");
    await expect(fresh.installLibtorch({ variant: "cu130", log })).rejects.toThrow(
      /has 6\.1 GB free and 7\.0 GB are needed/,
    );
    expect(asked).toEqual([]);
    expect(cached()).toEqual([]);
  });

  test("an abort in the middle leaves nothing", async () => {
    const controller = new AbortController();
    const abort = (line: string) => {
      if (line.startsWith("CUDA's libraries")) controller.abort();
    };
    await expect(install({ log: abort, signal: controller.signal })).rejects.toMatchObject({ code: "LENET5_ABORTED" });
    expect(cached()).toEqual([]);
  });

  test("copies a Python environment's torch with what lies beside it", async () => {
    const { folder: installed } = await install();
    const site = join(folder, "site-packages");
    mkdirSync(site);
    for (const name of ["torch", "nvidia"]) {
      cpSync(join(dirname(installed), name), join(site, name), { recursive: true });
    }
    writeFileSync(join(site, "nvidia", "cu13", "lib", "libcudart_static.a"), "x");
    rmSync(join(folder, "cache"), { recursive: true });
    expect(await install({ from: join(site, "torch") })).toMatchObject({ folder: installed, installed: true });
    expect(text("nvidia", "cudnn", "lib", "libcudnn_ops.so.9")).toBe("ops");
    expect(existsSync(join(dirname(installed), "nvidia", "cu13", "lib", "libcudart_static.a"))).toBe(false);
  });
});

test("a variant that there is not is refused", async () => {
  await expect(install({ variant: "cu1" as never })).rejects.toMatchObject({
    code: "LENET5_INVALID_OPTION",
    message: 'Expected "cpu" or "cu130" for variant but received "cu1"',
  });
});

test("CUDA is Linux's", async () => {
  const { platform } = process;
  Object.defineProperty(process, "platform", { value: "darwin" });
  try {
    await expect(install()).rejects.toThrow(/the variant cu130 is one of Linux/);
  } finally {
    Object.defineProperty(process, "platform", { value: platform });
  }
});
