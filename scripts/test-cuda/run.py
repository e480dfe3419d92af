"""Builds, tests and measures lenet5-libtorch on a GPU, on a machine that has Python's torch, a compiler and CMake, and neither
Node nor a network. Lies beside kit.tar.xz, which scripts/test-cuda.mjs packs:

  python3 run.py [--cpu] [--results DIR] [--work DIR] [--no-measurements]

  --cpu              the CPU stands in for the GPU: everything but CUDA itself
  --results DIR      gets log.txt and results.json (default: cuda-results)
  --work DIR         where it unpacks and builds, an empty folder that it makes (default: a temporary one, which it removes)
  --no-measurements  tests only

Ends with status 0 where the tests passed.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LONGEST_STEP = 1800


class StepFailed(Exception):
    """A step that failed and has said why."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--results", type=Path, default=Path("cuda-results"))
    parser.add_argument("--work", type=Path)
    parser.add_argument("--no-measurements", action="store_true")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    work = options.work or Path(tempfile.mkdtemp(prefix="lenet5-cuda-"))
    try:
        with open(options.results / "log.txt", "w", encoding="utf8") as log:
            return Run(options, work.resolve(), log).all()
    finally:
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)


class Run:
    def __init__(self, options, work, log):
        self.options, self.work, self.log = options, work, log
        self.device = "cpu" if options.cpu else "cuda"
        self.package, self.build = work / "package", work / "build"
        self.node = work / "node"
        self.results = {"device": self.device, "seconds": {}}

    def all(self):
        failed = None
        try:
            self.step("unpack", self.unpack)
            self.step("build", self.compile)
            self.step("doctor", self.doctor)
            self.step("test", self.test)
            if not self.options.no_measurements:
                self.step("measure", self.measure)
                self.step("measure PyTorch", self.measure_pytorch)
                self.table()
        except StepFailed as error:
            failed = str(error)
            self.results["failed"] = failed
        (self.options.results / "results.json").write_text(json.dumps(self.results, indent=2) + "\n", encoding="utf8")
        self.say(f"FAILED: {failed}" if failed else f"All passed. {self.options.results / 'results.json'}")
        return 1 if failed else 0

    def say(self, line):
        print(line, flush=True)
        print(line, file=self.log, flush=True)

    def step(self, name, body):
        start = time.monotonic()
        self.say(f"== {name}")
        body()
        self.results["seconds"][name] = round(time.monotonic() - start, 1)
        self.say(f"== {name}: {self.results['seconds'][name]} s")

    def run(self, words, show=True, env=None, cwd=None):
        """Runs a program, its output in the log; returns what it wrote to stdout."""
        print("$", *words, file=self.log, flush=True)
        words = [str(word) for word in words]
        try:
            child = subprocess.run(
                words, env=env, cwd=cwd or self.work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT if show else self.log,
                text=True, timeout=LONGEST_STEP, check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StepFailed(f"{words[0]}: {error}") from error
        self.log.write(child.stdout)
        self.log.flush()
        if show or child.returncode != 0:
            print("\n".join(child.stdout.splitlines()[-150:]), flush=True)
        if child.returncode != 0:
            raise StepFailed(f"`{' '.join(words)}` ended with status {child.returncode}")
        return child.stdout

    def unpack(self):
        if self.work.exists() and any(self.work.iterdir()):
            raise StepFailed(f"Expected an empty folder for --work but received {self.work}")
        self.work.mkdir(parents=True, exist_ok=True)
        with tarfile.open(HERE / "kit.tar.xz", "r:xz") as kit:
            kit.extractall(self.work)
        self.results["node"] = self.run([self.node, "--version"]).strip()

    def torch_folder(self):
        found = importlib.util.find_spec("torch")
        if found is None:
            raise StepFailed(f"Expected torch in {sys.executable}")
        return Path(list(found.submodule_search_locations)[0])

    def compile(self):
        for program in ("cmake", "c++"):
            if shutil.which(program) is None:
                raise StepFailed(f"Expected {program} on this machine")
        jobs = max(1, min(os.cpu_count() or 1, 8))
        headers = [self.package / "include" / name for name in ("node-api-headers", "node-addon-api")]
        define = {
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_JS_INC": ";".join(str(folder) for folder in headers),
            "LENET5_LIBTORCH": self.torch_folder(),
            "LENET5_UNITS": min(jobs, 4),
        }
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        words = [f"-D{name}={value}" for name, value in define.items()]
        self.run(["cmake", "-S", self.package, "-B", self.build, *generator, *words])
        self.run(["cmake", "--build", self.build, "--parallel", jobs])
        built = json.loads((self.build / "Release" / "lenet5_core.json").read_text(encoding="utf8"))
        self.results["built"] = built
        if not built["cudaGraphs"] and not self.options.cpu:
            raise StepFailed("the addon was built without CUDA graphs; the configuration above says why")

    def environment(self, **more):
        chosen = {name: value for name, value in os.environ.items() if not name.startswith("LENET5_")}
        chosen.update(
            LENET5_BUILD_DIR=str(self.build), LIBTORCH=str(self.torch_folder()), LENET5_TEST_DEVICE=self.device,
            LENET5_CACHE_DIR=str(self.work / "cache"), **more,
        )
        return chosen

    def doctor(self):
        self.run([self.node, self.package / "dist" / "esm" / "cli" / "main.js", "doctor"], env=self.environment())

    def test(self):
        # TensorFloat-32 has ten bits: the CPU's figures are to be met with all 23.
        env = self.environment(NVIDIA_TF32_OVERRIDE="0")
        file = self.package / "test" / "cuda" / "cuda.test.mjs"
        told = self.run([self.node, "--test", "--test-reporter=tap", file], env=env)
        counts = {line.split()[1]: int(line.split()[2]) for line in told.splitlines() if line.startswith(("# pass", "# fail"))}
        self.results["tests"] = counts

    def measure(self):
        file = self.package / "test" / "cuda" / "measure.mjs"
        told = self.run([self.node, file], show=False, env=self.environment())
        self.results["measured"] = json.loads(told.strip().splitlines()[-1])

    def measure_pytorch(self):
        file = self.package / "test" / "cuda" / "pytorch_peer.py"
        told = self.run([sys.executable, file, self.device], show=False, env=self.environment())
        self.results["pytorch"] = json.loads(told.strip().splitlines()[-1])

    def table(self):
        for kind in ("training", "inference"):
            self.say(f"{kind}, images a second by batch size")
            rows = dict(self.results["measured"][kind])
            rows.update({f"PyTorch, {name}": rates for name, rates in self.results["pytorch"][kind].items()})
            for name, rates in rows.items():
                self.say(f"  {name:36}" + "".join(f"{size:>7}: {rate:>11,}" for size, rate in rates.items()))


if __name__ == "__main__":
    sys.exit(main())
