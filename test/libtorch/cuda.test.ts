// What the doctor says of CUDA, on machines that need not be there.
import { expect, test } from "vitest";
import { type CudaFacts, cudaMajorOf, explainCuda, nvidiaDriver } from "../../lib/libtorch/cuda.js";
import { diagnose } from "../../lib/libtorch/doctor.js";
import { findLibtorch } from "../../lib/libtorch/find.js";

const LIBTORCH = { root: "/opt/torch", builtForCuda: true, cudaMissing: [], cudaLibraries: ["/opt/torch/lib/a.so"] };
const DRIVER = { version: "580.159.03", library: true };
/** A machine on which CUDA works. */
const WORKS: CudaFacts = {
  libtorch: LIBTORCH,
  driver: DRIVER,
  cuda: 13,
  skipped: [],
  devices: ["cpu", "cuda:0", "cuda:1"],
  graphs: true,
};
const NO_DEVICE = { devices: ["cpu"], problem: "No CUDA GPUs are available" };

test.each<[string, Partial<CudaFacts>, boolean, RegExp, RegExp | undefined]>([
  ["works", {}, true, /^cuda:0, cuda:1; training steps run as CUDA graphs$/, undefined],
  ["has no graphs", { graphs: false }, true, /do not run as CUDA graphs: the addon was built without$/, /--build/],
  [
    "has a libtorch for the CPU and a GPU",
    { ...NO_DEVICE, libtorch: { ...LIBTORCH, builtForCuda: false } },
    false,
    /^not used: the libtorch in \/opt\/torch is a build for the CPU$/,
    /install --variant cu130/,
  ],
  [
    "has a libtorch for the CPU and no GPU",
    { ...NO_DEVICE, driver: undefined, libtorch: { ...LIBTORCH, builtForCuda: false } },
    false,
    /is a build for the CPU$/,
    undefined,
  ],
  [
    "lacks libraries",
    { ...NO_DEVICE, libtorch: { ...LIBTORCH, cudaMissing: ["libcudnn.so.9"], cudaLibraries: [] } },
    false,
    /needs libcudnn\.so\.9, which this machine does not have$/,
    /install --variant cu130/,
  ],
  [
    "has libraries that do not open",
    { ...NO_DEVICE, skipped: ["/opt/torch/lib/libtorch_cuda.so: undefined symbol: x"] },
    false,
    /could not be opened: .*libtorch_cuda\.so: undefined symbol: x$/,
    /install/,
  ],
  [
    "has another extension than the core's",
    { skipped: ["/a/lenet5_cuda.so: it was built for another core, libtorch or CUDA"], graphs: false },
    true,
    /do not run as CUDA graphs: \/a\/lenet5_cuda\.so: it was built for another core, libtorch or CUDA$/,
    /--build/,
  ],
  [
    "is told to use no graphs",
    { graphs: false, graphsForbidden: true },
    true,
    /do not run as CUDA graphs: LENET5_CUDA_GRAPHS is 0$/,
    undefined,
  ],
  [
    "has no driver",
    { ...NO_DEVICE, driver: undefined },
    false,
    /^not used: this machine has no driver of NVIDIA's$/,
    /install NVIDIA's driver 580 or later$/,
  ],
  [
    "has an old driver",
    { ...NO_DEVICE, driver: { version: "535.104.05", library: true } },
    false,
    /the driver 535\.104\.05 is too old for CUDA 13$/,
    /driver 580 or later$/,
  ],
  [
    "has a driver that is new enough for an older CUDA",
    { ...NO_DEVICE, cuda: 12, driver: { version: "535.104.05", library: true } },
    false,
    /^not used: No CUDA GPUs are available$/,
    /nvidia-smi/,
  ],
  [
    "is a container without the driver's library",
    { ...NO_DEVICE, driver: { version: "580.159.03", library: false } },
    false,
    /not its library libcuda\.so\.1$/,
    /container toolkit/,
  ],
  [
    "has a driver of unknown age",
    { ...NO_DEVICE, driver: { version: undefined, library: true } },
    false,
    /GPUs/,
    /580/,
  ],
  ["says nothing", { devices: undefined }, false, /^not used: libtorch finds no device$/, /nvidia-smi/],
])("a machine that %s", (_title, facts, used, found, fix) => {
  const verdict = explainCuda({ ...WORKS, ...facts });
  expect(verdict).toMatchObject({ used, found: expect.stringMatching(found) });
  if (fix === undefined) expect(verdict.fix).toBeUndefined();
  else expect(verdict.fix).toMatch(fix);
});

test("the doctor has a line for it, as this machine is", async () => {
  const { libtorch } = findLibtorch();
  const { checks } = await diagnose();
  const check = checks.find(({ name }) => name === "CUDA");
  if (process.platform === "darwin") expect(check).toBeUndefined();
  else if (nvidiaDriver() === undefined) {
    expect(check).toMatchObject({ status: "ok", found: expect.stringMatching(/^not used: /) });
    expect(check?.found).toMatch(libtorch.builtForCuda ? /needs lib|no driver of NVIDIA's/ : /a build for the CPU/);
  } else expect(check).toBeDefined();
  if (libtorch.cudaLibraries.length > 0) expect(cudaMajorOf(libtorch)).toBeGreaterThan(10);
});
