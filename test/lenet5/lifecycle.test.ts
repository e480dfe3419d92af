// The addon under the ends that a process can come to: worker_threads that are terminated, exits with work under way.
// Each in a child process, since a crash would take the test runner along; they run the built package, as users do.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";

const compiled = (...path: string[]) => pathToFileURL(join(import.meta.dirname, "..", "..", ...path)).href;
const entry = compiled("dist", "esm", "lenet5-libtorch.js");
/** The module that opens the addons, by itself: the package is published joined. */
const addons = compiled("build", "esm", "native.js");
const prelude = `
  import { LeNet5 } from ${JSON.stringify(entry)};
  import { Worker, isMainThread, parentPort } from "node:worker_threads";
  const images = Uint8Array.from({ length: 784 * 960 }, (_, i) => (i * 2654435761) >>> 24);
  const labels = Int32Array.from({ length: 960 }, (_, i) => i % 10);
`;

/** Runs a module's source in a process of its own, started by `wrapper`. */
function run(
  source: string,
  { wrapper = [] as readonly string[], timeout = 60_000 } = {},
): Promise<{ code: number | null; signal: string | null; out: string; err: string }> {
  return new Promise((resolve) => {
    const command = [...wrapper, process.execPath, "--input-type=module", "-e", prelude + source];
    const child = spawn(command[0]!, command.slice(1), {
      stdio: ["ignore", "pipe", "pipe"],
      timeout,
      killSignal: "SIGKILL",
    });
    let out = "";
    let err = "";
    child.stdout.on("data", (text) => {
      out += text;
    });
    child.stderr.on("data", (text) => {
      err += text;
    });
    child.on("close", (code, signal) => resolve({ code, signal, out, err }));
  });
}

it.each(["fused", "libtorch"])("exits cleanly in the middle of a training (%s)", async (engine) => {
  const result = await run(`
    const model = new LeNet5({ seed: 1, engine: "${engine}" });
    for await (const event of model.fit({ images, labels }, { epochs: 100000, progressInterval: 0.01 })) {
      if (event.type === "epoch") { console.log("leaving"); process.exit(7); }
    }
  `);
  expect(result).toMatchObject({ code: 7, signal: null, err: "" });
  expect(result.out).toBe("leaving\n");
});

it("ends by itself when all work is done, and with a model that nobody disposed of", async () => {
  const result = await run(`
    const model = new LeNet5({ seed: 1 });
    for await (const event of model.fit({ images, labels }, { epochs: 1 }));
    console.log((await model.predict(images)).count);
  `);
  expect(result).toEqual({ code: 0, signal: null, out: "960\n", err: "" });
});

it("exits cleanly with predictions under way", async () => {
  const result = await run(`
    const model = new LeNet5({ seed: 1, engine: "libtorch" });
    for (let i = 0; i < 200; i++) model.predict(images);
    setTimeout(() => process.exit(0), 30);
  `);
  expect(result).toMatchObject({ code: 0, signal: null, err: "" });
});

it("works in four worker_threads at once, and they can be terminated mid-prediction", async () => {
  const worker = `
    import { LeNet5 } from ${JSON.stringify(entry)};
    import { parentPort } from "node:worker_threads";
    const images = new Uint8Array(784 * 960).fill(40);
    for (const engine of ["fused", "libtorch"]) {
      const model = new LeNet5({ seed: 1, engine });
      for (let i = 0; i < 3; i++) await model.predict(images);
      parentPort.postMessage(engine);
      (async () => { for (;;) await model.predict(images); })();
    }
  `;
  const result = await run(`
    const source = new URL("data:text/javascript," + encodeURIComponent(${JSON.stringify(worker)}));
    const workers = Array.from({ length: 4 }, () => new Worker(source));
    await Promise.all(workers.map((worker) => new Promise((resolve, reject) => {
      worker.on("message", (engine) => engine === "libtorch" && resolve());
      worker.on("error", reject);
    })));
    await Promise.all(workers.map((worker) => worker.terminate()));
    const model = new LeNet5({ seed: 1 });
    console.log((await model.predict(images)).count);
  `);
  expect(result).toMatchObject({ code: 0, signal: null, err: "", out: "960\n" });
});

it("survives a worker_thread that is terminated mid-training", async () => {
  const worker = `
    import { LeNet5 } from ${JSON.stringify(entry)};
    import { parentPort } from "node:worker_threads";
    const images = new Uint8Array(784 * 960).fill(40);
    const labels = new Int32Array(960);
    const model = new LeNet5({ seed: 1 });
    for await (const event of model.fit({ images, labels }, { epochs: 100000, progressInterval: 0.01 })) parentPort.postMessage(event.type);
  `;
  const result = await run(`
    const worker = new Worker(new URL("data:text/javascript," + encodeURIComponent(${JSON.stringify(worker)})));
    await new Promise((resolve) => worker.once("message", resolve));
    await worker.terminate();
    console.log("terminated");
  `);
  expect(result).toMatchObject({ code: 0, signal: null, err: "", out: "terminated\n" });
});

it("survives a worker_thread that is terminated mid-evaluation, with progress on its way", async () => {
  const worker = `
    import { parentPort } from "node:worker_threads";
    const { libtorch } = await import(${JSON.stringify(addons)});
    const addon = libtorch("The test");
    const options = { numClasses: 10, mean: 0, std: 1, device: "cpu", engine: "libtorch", instructionSet: "auto", seed: 1 };
    const model = new addon.LeNet5(options);
    const set = { images: new Uint8Array(784 * 4000), labels: new Int32Array(4000), size: 28 };
    for (;;) await model.evaluate(set, 8, undefined, () => parentPort.postMessage("progress"));
  `;
  const result = await run(`
    for (let i = 0; i < 5; i++) {
      const worker = new Worker(new URL("data:text/javascript," + encodeURIComponent(${JSON.stringify(worker)})));
      await new Promise((resolve, reject) => { worker.once("message", resolve); worker.once("error", reject); });
      await worker.terminate();
    }
    console.log("terminated");
  `);
  expect(result).toMatchObject({ code: 0, signal: null, err: "", out: "terminated\n" });
});

// Threads get stacks of a gigabyte, of which there is no second one: what the system says to who wants too many.
it.runIf(process.platform === "linux")("goes on without the threads that the system refuses", async () => {
  const source = `
    import { readFileSync } from "node:fs";
    import { execFileSync } from "node:child_process";
    import { setNumThreads } from ${JSON.stringify(entry)};
    const model = new LeNet5({ seed: 1, engine: "fused" });
    await model.predict(images.subarray(0, 784));
    const size = Number(/VmSize:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
    execFileSync("prlimit", ["--pid", String(process.pid), "--as=" + (size + 400 * 2 ** 20)]);
    // Debian's libtorch 1.13 never came back from being told a number that the system refuses.
    setNumThreads(4);
    console.log(model.predictSync(images).count);
    try {
      for await (const event of model.fit({ images, labels }, { epochs: 1 }));
    } catch (error) {
      console.log(error.code);
    }
    console.log(model.training, (await model.predict(images)).count);
  `;
  const result = await run(source, { wrapper: ["sh", "-c", 'ulimit -s 1048576; exec "$0" "$@"'] });
  expect(result).toEqual({
    code: 0,
    signal: null,
    out: "960\nLENET5_THREAD_UNAVAILABLE\nfalse 960\n",
    err: "",
  });
});
