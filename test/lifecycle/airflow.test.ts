// The DAG in the real Airflow: what it is made of, and whole runs of it with a real server that is deployed to.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { beforeAll, expect, test, vi } from "vitest";
import { packageRoot } from "#package-root";
import { LeNet5 } from "../../lib/index.js";
import { freePort } from "../free-ports.js";
import { describeWithEnvironments, pythonFor } from "../python.js";
import { describeWithChromium, launch } from "../server/page/browser.js";
import { serveProcess } from "../server/serve-process.js";
import { contents, drawDigits, folderForAll, killTraining, lifecycle, options, run, small, standIns } from "./peers.js";

const PIPELINES = join(packageRoot, "pipelines");
const DAGS = join(PIPELINES, "airflow", "dags");
const DAG = "lenet5_lifecycle";

/** Every task with those that come after it. */
const DOWNSTREAM = {
  settings: ["ingest"],
  ingest: ["train_libtorch", "train_pytorch", "train_tensorflow"],
  train_libtorch: ["evaluate"],
  train_pytorch: ["evaluate"],
  train_tensorflow: ["evaluate"],
  evaluate: ["gate"],
  gate: ["archive", "export_onnx", "export_torchscript"],
  export_torchscript: ["deploy"],
  export_onnx: ["deploy"],
  archive: ["deploy"],
  deploy: ["undeploy", "wait_until_ready"],
  wait_until_ready: ["smoke_test", "undeploy"],
  smoke_test: ["benchmark", "undeploy"],
  undeploy: [],
  benchmark: ["report"],
  report: [],
};
const TASKS = Object.keys(DOWNSTREAM);

const IMAGES = { image: "x", image_benchmark: "x", image_pytorch: "x", image_tensorflow: "x" };

interface TaskState {
  state: string;
  tries: number;
  value: unknown;
}

describeWithEnvironments(["airflow", "tensorflow"], "the DAG in Airflow", () => {
  const folder = folderForAll();
  /** Of an Airflow that is this test's own. */
  const home: Record<string, string | undefined> = {
    AIRFLOW_HOME: join(folder, "airflow"),
    AIRFLOW__CORE__DAGS_FOLDER: DAGS,
    AIRFLOW__CORE__LOAD_EXAMPLES: "False",
    LENET5_TENSORFLOW_PYTHON: pythonFor("tensorflow"),
    PYTHONDONTWRITEBYTECODE: "1",
  };
  const program = (name: string) => join(dirname(pythonFor("airflow")!), name);

  /** Runs a program that has to end well. */
  async function well(command: string, args: readonly string[], env = home): Promise<{ last: string; log: string }> {
    const { status, stdout, stderr } = await run(command, args, { env });
    const log = stdout + stderr;
    expect(`${status} ${status === 0 ? "" : log}`).toBe("0 ");
    return { last: stdout.trimEnd().split("\n").at(-1) ?? "", log };
  }
  async function describeDag(env: Record<string, string> = {}) {
    const args = [join(import.meta.dirname, "describe_dag.py"), DAGS, DAG];
    return JSON.parse((await well(program("python"), args, { ...home, ...env })).last);
  }

  /** One run with these settings as Variables. */
  async function runDag(settings: Record<string, string>) {
    const named = Object.entries(settings).map(([name, value]) => [`AIRFLOW_VAR_LENET5_${name.toUpperCase()}`, value]);
    const args = [join(import.meta.dirname, "run_dag.py"), DAGS, DAG];
    const { last, log } = await well(program("python"), args, { ...home, ...Object.fromEntries(named) });
    return { ...(JSON.parse(last) as { id: string; state: string; tasks: Record<string, TaskState> }), log };
  }
  let wholeRun: string | undefined;
  const states = (tasks: Record<string, TaskState>) =>
    Object.fromEntries(Object.entries(tasks).map(([name, { state }]) => [name, state]));
  const printed = (task: TaskState | undefined) => JSON.parse(String(task?.value));

  beforeAll(async () => {
    await drawDigits(folder);
    await well(program("airflow"), ["db", "migrate"]);
    // A run is one of a DAG that is in the database.
    await well(program("airflow"), ["dags", "reserialize"]);
  }, 120_000);

  /** A server with version 1, which has learnt nothing, and Variables for it. */
  async function deployed(name: string) {
    const repository = join(folder, name, "models");
    mkdirSync(join(repository, "lenet5", "1"), { recursive: true });
    using untrained = new LeNet5({ seed: 1, device: "cpu" });
    await untrained.save(join(repository, "lenet5", "1", "model.pt"));
    const { url } = await serveProcess("--model-repository", repository, "--port", "0");
    const directory = join(folder, name, "runs");
    const settings = { ...small(folder), directory, model_repository: repository, server_url: url };
    const versions = async () =>
      ((await (await fetch(`${url}/v2/models/lenet5`)).json()) as { versions: string[] }).versions;
    return { repository, directory, settings, versions, before: contents(repository) };
  }

  test("is imported without errors, and has these tasks in this order", async () => {
    const { importErrors, ids, maxActiveRuns, catchup, downstream, tasks } = await describeDag();
    expect(importErrors).toEqual({});
    expect({ ids, maxActiveRuns, catchup }).toEqual({ ids: [DAG], maxActiveRuns: 1, catchup: false });
    expect(downstream).toEqual(DOWNSTREAM);
    for (const name of TASKS.slice(1)) {
      expect(tasks[name]).toMatchObject({
        operator: "BashOperator",
        retries: 1,
        minutes: expect.any(Number),
        retrySeconds: 20,
      });
    }
    expect(tasks.gate.skips).toEqual([3]);
    expect(tasks.deploy.skips).toEqual([]);
    expect(tasks.undeploy.rule).toBe("TriggerRule.ONE_FAILED");
  });

  test("runs the same command lines in containers where one Variable says so", async () => {
    const local = await describeDag();
    const { importErrors, downstream, tasks } = await describeDag({
      AIRFLOW_VAR_LENET5_RUNNER: "docker",
      AIRFLOW_VAR_LENET5_IMAGE: "lenet5-libtorch:train",
      AIRFLOW_VAR_LENET5_DOCKER_VOLUMES: "/srv/runs:/runs, models:/models:ro",
      AIRFLOW_VAR_LENET5_DOCKER_NETWORK: "lenet5",
    });
    expect({ importErrors, downstream }).toEqual({ importErrors: {}, downstream: DOWNSTREAM });
    for (const name of TASKS.slice(1)) {
      const { operator, command, network, mounts, skips } = tasks[name];
      expect({ operator, network }).toEqual({ operator: "DockerOperator", network: "lenet5" });
      expect(skips).toEqual(local.tasks[name].skips);
      expect(
        mounts.map((mount: { Source: string; Target: string; Type: string; ReadOnly: boolean }) =>
          Object.values(mount).slice(0, 4),
        ),
      ).toEqual([
        ["/runs", "/srv/runs", "bind", false],
        ["/models", "models", "volume", true],
      ]);
      // In a shell each value is quoted; the words are the same.
      const words = local.tasks[name].command.replaceAll(" | quote", "");
      expect(words.endsWith(` ${command.join(" ")}`)).toBe(true);
    }
    expect(tasks.ingest).toMatchObject({ image: "lenet5-libtorch:train", entrypoint: ["lenet5"] });
  });

  test("has nothing that ruff finds, with its rules for Airflow 3", async () => {
    await well(program("ruff"), ["check", "--no-cache", PIPELINES]);
    await well(program("ruff"), ["format", "--no-cache", "--check", PIPELINES]);
    const rules = await run(program("ruff"), ["check", "--no-cache", "--show-settings", join(DAGS, `${DAG}.py`)]);
    expect(rules.stdout).toContain("AIR3");
  });

  test("runs whole, a training that is killed included, and gives what npm run lifecycle gives", async () => {
    const { settings, repository, directory, versions } = await deployed("whole");
    const started = () => (existsSync(directory) ? readdirSync(directory) : []);
    const isDue = () => started().some((name) => existsSync(join(directory, name, "logs", "libtorch")));
    const [{ id, state, tasks }] = await Promise.all([runDag(settings), killTraining(directory, isDue)]);
    const expected = Object.fromEntries(TASKS.map((name) => [name, name === "undeploy" ? "skipped" : "success"]));
    wholeRun = id;
    expect({ state, ...states(tasks) }).toEqual({ state: "success", ...expected });
    expect(tasks.train_libtorch!.tries).toBe(2);
    expect(tasks.train_pytorch!.tries).toBe(1);
    const { version, digest, accuracy } = printed(tasks.report);
    expect(version).toMatch(/^20\d{12}$/);
    expect(await versions()).toEqual(["1", version]);
    expect(Object.keys(contents(repository))).toEqual(["lenet5/1/model.pt", `lenet5/${version}/model.pt`]);
    expect(printed(tasks.gate)).toMatchObject({ open: true, deployed: { version: "1" } });
    for (const name of ["train_libtorch", "train_pytorch", "train_tensorflow"]) {
      expect(printed(tasks[name])).toMatchObject({ accuracy: expect.any(Number), seed: 42 });
    }

    const words = [...options(small(folder)), "--directory", join(folder, "by hand")];
    const byHand = await lifecycle(words, standIns(folder));
    expect(byHand.result.results.report).toMatchObject({ digest, accuracy });
  });

  describeWithChromium("its web interface", () => {
    test("draws the graph of the whole run", async () => {
      expect(wholeRun, "the test before this one has to run too").not.toBe(undefined);
      const port = String(await freePort());
      const web = { AIRFLOW__API__HOST: "127.0.0.1", AIRFLOW__API__PORT: port };
      const server = spawn(program("airflow"), ["api-server"], {
        // Nobody else reaches this port, and the picture is of the graph, not of a login.
        env: { ...process.env, ...home, ...web, AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS: "True" },
        stdio: "ignore",
      });
      const ended = once(server, "close");
      const browser = await launch();
      try {
        const url = `http://127.0.0.1:${port}`;
        await vi.waitFor(async () => expect((await fetch(`${url}/api/v2/version`)).ok).toBe(true), 120_000);
        const context = await browser.newContext({ viewport: { width: 1700, height: 520 } });
        // What the interface remembers of whoever chose the graph and gave it most of the page.
        const layout = { "details-panel,main-panel": { expandToSizes: {}, layout: [90, 10] } };
        const remembered = { default_dag_view: "graph", "react-resizable-panels:graph-ltr": layout };
        for (const [name, value] of Object.entries(remembered)) {
          const words = [name, JSON.stringify(value)].map((word) => JSON.stringify(word)).join(", ");
          await context.addInitScript(`localStorage.setItem(${words})`);
        }
        const page = await context.newPage();
        await page.goto(`${url}/dags/${DAG}/runs/${encodeURIComponent(wholeRun!)}`);
        const nodes = page.locator(".react-flow__node");
        await vi.waitFor(async () => expect(await nodes.count()).toBe(TASKS.length), 120_000);
        const texts = await nodes.allInnerTexts();
        for (const name of TASKS) {
          const state = name === "undeploy" ? "skipped" : "success";
          const shown = texts.map((text) => text.split("\n").map((part) => part.trim().toLowerCase()));
          expect(shown.find((parts) => parts[0] === name)).toContain(state);
        }
        const path = process.env.LENET5_SCREENSHOT;
        if (path) await page.screenshot({ path });
      } finally {
        await browser.close();
        server.kill("SIGTERM");
        await ended;
      }
    });
  });

  test("deploys nothing where the gate is closed", async () => {
    const { settings, repository, versions, before } = await deployed("closed");
    const { state, tasks } = await runDag({ ...settings, min_accuracy: "1" });
    const done = TASKS.slice(0, TASKS.indexOf("gate"));
    const expected = Object.fromEntries(TASKS.map((name) => [name, done.includes(name) ? "success" : "skipped"]));
    expect({ state, ...states(tasks) }).toEqual({ state: "success", ...expected });
    expect(contents(repository)).toEqual(before);
    expect(await versions()).toEqual(["1"]);
  });

  test.each([
    ["missing", { directory: "/tmp" }, "a value for the Airflow Variable lenet5_model_repository but received none"],
    [
      "malformed",
      { directory: "/tmp", model_repository: "/tmp", server_url: "http://127.0.0.1:9", epochs: "three" },
      "a whole number from 1 to 1000000 for the Airflow Variable lenet5_epochs but received 'three'",
    ],
    [
      "missing, an image's name",
      { runner: "docker" },
      "an image's name for the Airflow Variable lenet5_image but received none",
    ],
    [
      "of volumes and malformed",
      { runner: "docker", ...IMAGES, docker_volumes: "/srv/runs:/runs:ro,/srv/models" },
      "source:target or source:target:ro, comma-separated, each target an absolute path, for the Airflow Variable lenet5_docker_volumes but received '/srv/runs:/runs:ro,/srv/models'",
    ],
  ])("fails in its first task where a Variable is %s", async (_, settings, message) => {
    const { state, tasks, log } = await runDag(settings as unknown as Record<string, string>);
    const expected = { settings: "failed", undeploy: "skipped" };
    const others = Object.fromEntries(TASKS.map((name) => [name, "upstream_failed"]));
    expect({ state, ...states(tasks) }).toEqual({ state: "failed", ...others, ...expected });
    expect(tasks.settings!.tries).toBe(1);
    // Where colours are on, lines are broken too.
    expect(stripVTControlCharacters(log).replaceAll(/\s+/g, " ")).toContain(`Expected ${message}`);
  });
});
