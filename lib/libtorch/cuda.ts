// Whether libtorch computes on CUDA here, and what keeps it from that: the text of `lenet5 doctor`.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isKnownToTheSystem, type Libtorch } from "./describe.js";
import { readElfDynamic } from "./elf.js";
import { VARIANTS } from "./variants.js";

/** NVIDIA's driver on this machine. */
export interface NvidiaDriver {
  /** For example `580.159.03`; `undefined` where it does not say. */
  version: string | undefined;
  /** Whether its library is there for programs, which in a container it may not be. */
  library: boolean;
}

/** What is known of a libtorch and this machine. */
export interface CudaFacts {
  libtorch: Pick<Libtorch, "root" | "builtForCuda" | "cudaMissing" | "cudaLibraries">;
  driver: NvidiaDriver | undefined;
  /** The version of CUDA that the libtorch is for, its first number. */
  cuda: number | undefined;
  /** What could not be opened, each with the reason. */
  skipped: readonly string[];
  /** The devices that libtorch names; `undefined` where it could not be asked. */
  devices: readonly string[] | undefined;
  /** Why there is none, in libtorch's words. */
  problem?: string | undefined;
  /** Whether training steps can be recorded as CUDA graphs. */
  graphs: boolean;
  /** Whether the environment forbids that. @defaultValue false */
  graphsForbidden?: boolean;
}

/** What to tell of CUDA. */
export interface CudaVerdict {
  used: boolean;
  found: string;
  fix?: string;
}

/** The oldest driver for Linux that runs a version of CUDA, by its first number (NVIDIA's release notes of the toolkit). */
const OLDEST_DRIVER: Record<number, number> = { 11: 450, 12: 525, 13: 580 };
const INSTALL = `\`npx lenet5 install --variant ${VARIANTS[1]} --build\``;

/** NVIDIA's driver, if there is one. */
export function nvidiaDriver(): NvidiaDriver | undefined {
  if (process.platform === "win32") {
    const library = existsSync(join(process.env.SystemRoot ?? "C:\\Windows", "System32", "nvcuda.dll"));
    return library ? { version: undefined, library } : undefined;
  }
  if (process.platform !== "linux") return undefined;
  // Windows' own driver, as its Linux subsystem sees it, has the second; some containers have the third alone.
  const version = "/proc/driver/nvidia/version";
  if (![version, "/dev/dxg", "/dev/nvidiactl"].some((path) => existsSync(path))) return undefined;
  let text = "";
  try {
    text = readFileSync(version, "utf8");
  } catch {
    // Not there, or not for us to read.
  }
  return {
    version: /^NVRM version:.*?\b(\d{3,}\.\d+(?:\.\d+)?)\b/m.exec(text)?.[1],
    library: isKnownToTheSystem("libcuda.so.1"),
  };
}

/** The first number of the version of CUDA that a libtorch is for. */
export function cudaMajorOf(libtorch: Libtorch): number | undefined {
  if (process.platform !== "linux" || libtorch.cudaLibraries.length === 0) return undefined;
  const needed = readElfDynamic(libtorch.cudaLibraries[0]!)?.needed ?? [];
  const major = needed.map((name) => /^libcudart\.so\.(\d+)/.exec(name)?.[1]).find((found) => found !== undefined);
  return major === undefined ? undefined : Number(major);
}

/** Says whether CUDA is used, and what keeps it from that: the first thing that would have to be mended. */
export function explainCuda(facts: CudaFacts): CudaVerdict {
  const { libtorch, driver, cuda, skipped, devices, problem, graphs, graphsForbidden = false } = facts;
  const not = (reason: string, fix?: string): CudaVerdict => ({
    used: false,
    found: `not used: ${reason}`,
    ...(fix && { fix }),
  });
  // What libtorch lacks matters where there is a GPU to use it.
  if (!libtorch.builtForCuda) return not(`the libtorch in ${libtorch.root} is a build for the CPU`, driver && INSTALL);
  if (libtorch.cudaMissing.length > 0) {
    const fix = `${INSTALL} brings them, with a libtorch of its own`;
    return not(`${libtorch.root} needs ${libtorch.cudaMissing.join(", ")}, which this machine does not have`, fix);
  }
  const isExtension = (text: string) => /lenet5_cuda\.[a-z]+: /.test(text);
  const unopened = skipped.filter((text) => !isExtension(text));
  if (unopened.length > 0) return not(`libraries could not be opened: ${unopened.join("; ")}`, INSTALL);
  const oldest = cuda === undefined ? undefined : OLDEST_DRIVER[cuda];
  const wanted = oldest === undefined ? "NVIDIA's driver" : `NVIDIA's driver ${oldest} or later`;
  if (devices?.some((name) => name.startsWith("cuda"))) {
    const names = devices.filter((name) => name.startsWith("cuda")).join(", ");
    if (graphs) return { used: true, found: `${names}; training steps run as CUDA graphs` };
    const without = `${names}; training steps do not run as CUDA graphs`;
    if (graphsForbidden) return { used: true, found: `${without}: LENET5_CUDA_GRAPHS is 0` };
    const found = `${without}: ${skipped.find(isExtension) ?? "the addon was built without"}`;
    return { used: true, found, fix: "`npx lenet5 install --build` with this libtorch and CUDA's headers" };
  }
  if (driver === undefined) {
    return not("this machine has no driver of NVIDIA's", `with an NVIDIA GPU, install ${wanted}`);
  }
  if (oldest !== undefined && driver.version !== undefined && Number.parseInt(driver.version, 10) < oldest) {
    return not(`the driver ${driver.version} is too old for CUDA ${cuda}`, `install ${wanted}`);
  }
  if (!driver.library) {
    const fix = "in a container, run it with NVIDIA's container toolkit; else install the driver's libraries";
    return not("the driver is there, but not its library libcuda.so.1", fix);
  }
  return not(problem ?? "libtorch finds no device", `look at what \`nvidia-smi\` says; ${wanted} is needed`);
}
