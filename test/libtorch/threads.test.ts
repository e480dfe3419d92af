// How libtorch's threads wait, and how many there are: both are settled once a process, so each test has its own.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { fixture } from "../script-module/expected.js";

const entry = pathToFileURL(join(packageRoot, "dist/esm/index.js")).href;

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
    expect(stderr).toContain("GOMP_SPINCOUNT = '300000'");
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

describe.skipIf(process.platform !== "linux")("setNumThreads", () => {
  test("counts for threads that have computed before", () => {
    const { stdout } = run(
      `
      import { readdirSync } from "node:fs";
      import { ScriptModule, setNumThreads } from ${JSON.stringify(entry)};
      const threads = () => readdirSync("/proc/self/task").length;
      const square = { data: new Float32Array(160000).fill(0.01), shape: [400, 400], dtype: "float32" };
      setNumThreads(1);
      const module = await ScriptModule.load(${JSON.stringify(fixture("slow"))}, { device: "cpu" });
      await module.forward(square, 3);
      const before = threads();
      setNumThreads(3);
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
