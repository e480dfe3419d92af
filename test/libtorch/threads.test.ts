// How libtorch's threads wait, and how many there are: both are settled once a process, so each test has its own.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { fixture } from "../script-module/expected.js";

const entry = pathToFileURL(join(packageRoot, "dist/esm/lenet5-libtorch.js")).href;

function run(body: string, environment: Record<string, string> = {}) {
  const { OMP_WAIT_POLICY, GOMP_SPINCOUNT, ...rest } = process.env;
  const child = spawnSync(process.execPath, ["--input-type=module", "-e", body], {
    encoding: "utf8",
    env: { ...rest, ...environment },
    timeout: 60_000,
  });
  expect(child.stderr).not.toContain("Error");
  expect(child.status, child.stderr).toBe(0);
  return child;
}

describe.skipIf(process.platform !== "linux")("threads that wait for one another", () => {
  const open = `
    import { spawnSync } from "node:child_process";
    import { libtorchVersion } from ${JSON.stringify(entry)};
    libtorchVersion();
    const inherited = spawnSync("env", { encoding: "utf8" }).stdout.split("\\n");
    console.log(JSON.stringify([process.env.OMP_WAIT_POLICY, process.env.GOMP_SPINCOUNT].map((each) => each ?? null)));
    console.log(inherited.filter((line) => /^(OMP_WAIT_POLICY|GOMP_SPINCOUNT)=/.test(line)).join(" "));`;
  // libgomp prints what it has read, when it is opened.
  const shown = { OMP_DISPLAY_ENV: "VERBOSE" };

  test("spin for a while before they sleep, and nobody else hears of it", () => {
    const { stdout, stderr } = run(open, shown);
    expect(stderr).toContain("OMP_WAIT_POLICY = 'ACTIVE'");
    expect(stderr).toContain("GOMP_SPINCOUNT = '4000'");
    expect(stdout).toBe("[null,null]\n\n");
  });

  test("wait as the user says", () => {
    const passive = run(open, { ...shown, OMP_WAIT_POLICY: "PASSIVE" });
    expect(passive.stderr).toContain("OMP_WAIT_POLICY = 'PASSIVE'");
    expect(passive.stdout).toBe('["PASSIVE",null]\nOMP_WAIT_POLICY=PASSIVE\n');
    const count = run(open, { ...shown, GOMP_SPINCOUNT: "7" });
    expect(count.stderr).not.toContain("OMP_WAIT_POLICY = 'ACTIVE'");
    expect(count.stdout).toBe('[null,"7"]\nGOMP_SPINCOUNT=7\n');
  });
});

describe.skipIf(process.platform !== "linux")("calls of script modules", () => {
  const begin = `
    import { readdirSync } from "node:fs";
    import { ScriptModule, setNumThreads } from ${JSON.stringify(entry)};
    const threads = () => readdirSync("/proc/self/task").length;
    const square = { data: new Float32Array(160000).fill(0.01), shape: [400, 400], dtype: "float32" };
    const load = (options) => ScriptModule.load(${JSON.stringify(fixture("slow"))}, { device: "cpu", ...options });`;

  test("that follow one another are computed by one thread with one team", () => {
    const { stdout } = run(`${begin}
      setNumThreads(3);
      const module = await load();
      const before = threads();
      for (let i = 0; i < 12; i++) await module.forward(square, 3);
      console.log(threads() - before);`);
    expect(Number(stdout)).toBe(3);
  });

  test("let their threads go when no other follows, and find new ones", () => {
    const { stdout } = run(`${begin}
      setNumThreads(3);
      const module = await load();
      const before = threads();
      const least = async (wanted) => {
        for (let i = 0; i < 200 && threads() - before > wanted; i++) await new Promise((done) => setTimeout(done, 50));
        return threads() - before;
      };
      const value = ({ data }) => data[0];
      const first = value(await module.forward(square, 3));
      const counts = [await least(1)];
      const here = value(module.forwardSync(square, 3));
      counts.push(threads() - before);
      // The calling thread's go when another thread computes.
      await new Promise((done) => setTimeout(done, 200));
      const again = value(await module.forward(square, 3));
      counts.push(await least(1));
      console.log(JSON.stringify(counts), here === first && again === first);`);
    expect(stdout).toBe("[1,3,1] true\n");
  });

  test("at once are computed by several, and errors reach their own caller", () => {
    const { stdout } = run(`${begin}
      setNumThreads(2);
      const module = await load({ concurrency: 4 });
      const calls = Array.from({ length: 24 }, (_, i) => module.forward(square, i % 3 === 0 ? "none" : 1 + (i % 3)));
      const settled = await Promise.allSettled(calls);
      const wanted = [await module.forward(square, 2), await module.forward(square, 3)].map(({ data }) => data[0]);
      const right = settled.map(({ status, reason, value }, i) =>
        i % 3 === 0 ? reason?.code === "LENET5_SCRIPT_ARGUMENTS" : value?.data[0] === wanted[(i % 3) - 1]);
      console.log(right.every(Boolean));`);
    expect(stdout).toBe("true\n");
  });

  test("that run or wait do not hold up the end of the process", () => {
    const { stdout } = run(`${begin}
      const module = await load();
      for (let i = 0; i < 10; i++) module.forward(square, 200).catch(() => {});
      setTimeout(() => { console.log("end"); process.exit(0); }, 50);`);
    expect(stdout).toBe("end\n");
  });

  test("go on while the libtorch engine trains, and both end right", () => {
    const { stdout } = run(`${begin}
      const { LeNet5 } = await import(${JSON.stringify(entry)});
      setNumThreads(2);
      const module = await load();
      const [alone] = (await module.forward(square, 3)).data;
      const images = Uint8Array.from({ length: 784 * 640 }, (_, i) => (i * 101) & 255);
      const data = { images, labels: Int32Array.from({ length: 640 }, (_, i) => i % 10) };
      const trained = async (meanwhile) => {
        const model = new LeNet5({ seed: 3, engine: "libtorch", device: "cpu" });
        let training = true;
        const done = model.fit(data, { epochs: 2 }).then(() => { training = false; });
        let calls = 0;
        while (meanwhile && training) {
          const [value] = (await module.forward(square, 3)).data;
          if (value !== alone) throw new Error("another answer");
          calls++;
        }
        await done;
        return [calls, Buffer.from(model.stateDict()["c5.weight"].data.buffer).toString("base64")];
      };
      const [none, quiet] = await trained(false);
      const [calls, shared] = await trained(true);
      console.log(none, calls > 0, quiet === shared);`);
    expect(stdout).toBe("0 true true\n");
  });
});

describe.skipIf(process.platform !== "linux")("setNumThreads", () => {
  test("counts for threads that have computed before", () => {
    const { stdout } = run(
      `
      import { readdirSync } from "node:fs";
      import { ScriptModule, setNumThreads } from ${JSON.stringify(entry)};
      const threads = () => readdirSync("/proc/self/task").length;
      const square = { data: new Float32Array(160000).fill(0.01), shape: [400, 400], dtype: "float32" };
      setNumThreads(2);
      const module = await ScriptModule.load(${JSON.stringify(fixture("slow"))}, { device: "cpu" });
      await module.forward(square, 3);
      const before = threads();
      setNumThreads(4);
      await module.forward(square, 3);
      console.log(threads() - before);`,
      { UV_THREADPOOL_SIZE: "1" },
    );
    expect(Number(stdout)).toBe(2);
  });

  test("may be called by several threads at once, while others compute", () => {
    const { stdout } = run(`
      import { Worker } from "node:worker_threads";
      import { once } from "node:events";
      import { getNumThreads, ScriptModule, setNumThreads } from ${JSON.stringify(entry)};
      const source = \`
        const { workerData } = require("node:worker_threads");
        import(workerData.entry).then(({ libtorchVersion, setNumThreads }) => {
          libtorchVersion();
          for (let i = 0; i < 200; i++) setNumThreads(1 + (i % 3));
        });\`;
      const module = await ScriptModule.load(${JSON.stringify(fixture("slow"))}, { device: "cpu" });
      const square = { data: new Float32Array(40000).fill(0.01), shape: [200, 200], dtype: "float32" };
      const ends = [1, 2].map(() => once(new Worker(source, { eval: true, execArgv: [], workerData: { entry: ${JSON.stringify(entry)} } }), "exit"));
      let busy = true;
      const done = Promise.all(ends).then(() => { busy = false; });
      while (busy) await module.forward(square, 5);
      await done;
      setNumThreads(2);
      console.log(getNumThreads());`);
    expect(stdout).toBe("2\n");
  });
});
