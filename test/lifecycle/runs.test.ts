// What `npm run lifecycle` is itself: which task runs when, what is undone, how it ends. The tasks' programs are a stand-in,
// which says at once what they say; lifecycle.test.ts has the real ones.
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { packageRoot } from "#package-root";
import { temporaryFolder } from "../cli/lenet5.js";
import { describeWithEnvironments, pythonPath } from "../python.js";
import { lifecycle, run, standIns } from "./peers.js";

const RUN = "20261129180000";
const EPOCHS = 3000;

/** In place of `node`: $1 is the script, $2 lenet5's command. Files in its folder say where it is to fail or to hang. */
const NODE = `#!/bin/sh
here=$(dirname "$0")
case "$1" in *deployed.mjs) name=benchmark;; *) name=$2;; esac
echo "$name $*" >> "$here/log"
if [ -e "$here/hang-$name" ]; then echo $$ > "$here/pid"; while :; do sleep 0.1; done; fi
if [ -e "$here/fail-$name" ]; then echo '{"error":"as told"}'; exit 5; fi
case $name in
  train) cat "$here/trained";;
  evaluate) echo '{"accuracy":0.99,"loss":0.1}';;
  serve) echo '{"addresses":[{"url":"http://127.0.0.1:9"}]}'; echo $$ > "$here/server"; while :; do sleep 0.1; done;;
  undeploy) kill -0 "$(cat "$here/server")" 2> /dev/null && echo server >> "$here/log"; echo '{"removed":true}';;
  gate) echo '{"open":true,"replaces":"none"}';;
  *) echo '{"output":"file"}';;
esac
`;

describeWithEnvironments([], "a run", () => {
  function prepared(...signs: string[]) {
    const folder = temporaryFolder();
    const programs = join(folder, "programs");
    mkdirSync(programs);
    writeFileSync(join(programs, "node"), NODE, { mode: 0o755 });
    const epochs = Array.from({ length: EPOCHS }, (_, i) => ({ epoch: i + 1, loss: 0.1234567890123, seconds: 1.5 }));
    writeFileSync(join(programs, "trained"), JSON.stringify({ accuracy: 0.99, epochs }));
    for (const sign of signs) writeFileSync(join(programs, sign), "");
    const env = { ...standIns(folder), PATH: `${programs}:${process.env.PATH}` };
    const words = ["--directory", join(folder, "runs"), "--server-url", "http://127.0.0.1:9"];
    const called = () => {
      const log = join(programs, "log");
      return existsSync(log) ? readFileSync(log, "utf8").trimEnd().split("\n") : [];
    };
    const names = () => called().map((line) => line.split(" ")[0]);
    /** The process of the task that hangs. */
    const hanging = () =>
      vi.waitFor(() => {
        const pid = Number(readFileSync(join(programs, "pid"), "utf8"));
        expect(pid).toBeGreaterThan(1);
        return pid;
      }, 20_000);
    return { folder, programs, env, words, called, names, hanging };
  }
  const lives = (pid: number) => existsSync(`/proc/${pid}`);

  test("of many epochs hands over what fits into a command line", async () => {
    const { words, env, called } = prepared();
    const { status, result, stderr } = await lifecycle(words, env);
    expect(status, stderr).toBe(0);
    expect(result.deployed).toBe(true);
    expect(result.results.train_libtorch.epochs).toHaveLength(EPOCHS);
    const report = called().at(-1)!;
    expect(report).toContain('"train_libtorch": {"accuracy": 0.99}');
    expect(report).not.toContain('"epochs"');
  });

  test.each([
    ["SIGTERM", 143, "smoke-test", "smoke_test", true],
    ["SIGINT", 130, "deploy", "deploy", true],
    ["SIGHUP", 129, "train", "train_libtorch", false],
    ["SIGTERM", 143, "benchmark", "benchmark", false],
  ] as const)("ends at %s with %i in %s", async (signal, code, command, task, isUndone) => {
    const { words, env, names, hanging } = prepared(`hang-${command}`);
    let pid = 0;
    const { status, result, stderr } = await lifecycle([...words, "--run", RUN], env, async (child) => {
      pid = await hanging();
      // Whoever presses a key twice changes nothing.
      child.kill(signal);
      child.kill(signal);
    });
    expect(stderr).not.toContain("Traceback");
    expect(status).toBe(code);
    const failed = { task, status: code, error: `stopped by ${signal}` };
    expect(result).toMatchObject({ deployed: command === "benchmark", failed });
    expect(names().at(-1)).toBe(isUndone ? "undeploy" : command);
    expect(lives(pid)).toBe(false);
  });

  test("ends where the script that npm starts is told to", async () => {
    const { folder, words, env, names, hanging } = prepared("hang-wait");
    const script = join(packageRoot, "scripts", "lifecycle.mjs");
    // That the script finds a Python; the trainer is the stand-in all the same, by the script's own name.
    const python = join(folder, "python");
    writeFileSync(python, `#!/bin/sh\ncase "$1" in *lifecycle.py) exec '${pythonPath}' "$@";; esac\necho '{}'\n`, {
      mode: 0o755,
    });
    let pid = 0;
    const ended = await run(process.execPath, [script, ...words], {
      env: { ...env, LENET5_PYTHON: python },
      onStart: async (child) => {
        pid = await hanging();
        child.kill("SIGTERM");
      },
    });
    expect(ended.status, ended.stderr).toBe(143);
    expect(names().at(-1)).toBe("undeploy");
    expect(JSON.parse(ended.stdout)).toMatchObject({ deployed: false, failed: { task: "wait_until_ready" } });
    expect(lives(pid)).toBe(false);
  });

  test("ends the server that it started, after the last one that needs it", async () => {
    const { folder, programs, env, names, hanging } = prepared("hang-wait");
    const { status } = await lifecycle(["--directory", join(folder, "runs")], env, async (child) => {
      await hanging();
      child.kill("SIGTERM");
    });
    expect(status).toBe(143);
    expect(names().slice(-2)).toEqual(["undeploy", "server"]);
    expect(lives(Number(readFileSync(join(programs, "server"), "utf8")))).toBe(false);
  });

  test("ends where its server does not start, or it is told to while that starts", async () => {
    const failing = prepared("fail-serve");
    const failed = await lifecycle(["--directory", join(failing.folder, "runs")], failing.env);
    expect(failed).toMatchObject({ status: 1, stdout: "" });
    expect(failed.stderr).toMatch(/^serve failed \(\d+\): .*as told.*\n$/);

    const slow = prepared("hang-serve");
    let pid = 0;
    const stopped = await lifecycle(["--directory", join(slow.folder, "runs")], slow.env, async (child) => {
      pid = await slow.hanging();
      child.kill("SIGTERM");
    });
    expect(stopped).toMatchObject({ status: 143, stdout: "", stderr: "serve failed (143): stopped by SIGTERM\n" });
    expect(lives(pid)).toBe(false);
  });

  test("whose benchmark fails is deployed", async () => {
    const { words, env, names } = prepared("fail-benchmark");
    const { status, result } = await lifecycle(words, env);
    expect(status).toBe(1);
    expect(result).toMatchObject({ deployed: true, failed: { task: "benchmark", status: 5 } });
    expect(names()).not.toContain("undeploy");
  });

  test("says what failed first where undoing it fails too", async () => {
    const { words, env } = prepared("fail-smoke-test", "fail-undeploy");
    const { status, result } = await lifecycle(words, env);
    expect(status).toBe(1);
    expect(result).toMatchObject({
      deployed: true,
      failed: { task: "smoke_test", status: 5 },
      not_undone: { task: "undeploy", status: 5 },
    });
  });

  test("shares neither its folder nor its version with one that began in the same second", async () => {
    const { words, env, hanging, programs } = prepared("hang-data");
    let second: Awaited<ReturnType<typeof lifecycle>> | undefined;
    const first = await lifecycle([...words, "--run", RUN], env, async (child) => {
      await hanging();
      second = await lifecycle([...words, "--run", RUN], env);
      child.kill("SIGTERM");
    });
    expect(first.status).toBe(143);
    expect(second!.status).toBe(2);
    expect(second!.stderr).toBe(
      `Expected a run that is at its end for --run but received ${join(programs, "..", "runs", RUN)}, which is not\n`,
    );

    const { words: others, env: theirs } = prepared();
    const both = await Promise.all([lifecycle(others, theirs), lifecycle(others, theirs)]);
    expect(both.map(({ status }) => status)).toEqual([0, 0]);
    expect(both[0]!.result.version).not.toBe(both[1]!.result.version);
  });

  test("is not repeated with settings that make another model", async () => {
    const { words, env, names } = prepared();
    expect((await lifecycle([...words, "--run", RUN], env)).status).toBe(0);
    const calls = names().length;
    const other = await lifecycle([...words, "--run", RUN, "--epochs", "4"], env);
    expect({ status: other.status, stdout: other.stdout }).toEqual({ status: 2, stdout: "" });
    expect(other.stderr).toMatch(/^Expected 3 for --epochs, as in .+settings\.json, but received 4\n$/);
    expect(names()).toHaveLength(calls);
    expect((await lifecycle([...words, "--run", RUN, "--min-accuracy", "0.5"], env)).status).toBe(0);
  });

  test("takes paths from where npm was called", async () => {
    const { folder, env, called } = prepared();
    const words = ["--data", "digits", "--directory", "here", "--server-url", "http://127.0.0.1:9"];
    const npm = { npm_lifecycle_event: "lifecycle", INIT_CWD: folder };
    const { status, result } = await lifecycle(words, { ...env, ...npm });
    expect(status).toBe(0);
    expect(result.run).toBe(join(folder, "here", result.version));
    expect(called()[0]).toContain(` --data ${join(folder, "digits")} `);
  });

  test("does not begin where its folder cannot be made, or a program is missing", async () => {
    const { folder, words, env, names } = prepared();
    const proc = await lifecycle([...words, "--directory", "/proc/x"], env);
    expect(proc.status).toBe(2);
    expect(proc.stderr).toMatch(
      /^Expected folders to write to for --directory and --model-repository but received .+\n$/,
    );

    const alone = join(folder, "alone");
    mkdirSync(alone);
    symlinkSync(process.execPath, join(alone, "node"));
    const without = await lifecycle(words, { ...env, PATH: alone });
    expect(without.status).toBe(2);
    expect(without.stderr).toMatch(/^Expected a program for ab but received none \(ApacheBench/);
    expect(names()).toEqual([]);
  });
});
