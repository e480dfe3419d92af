// Builds the images of docker/ where there is no Docker engine, and runs training and serving in them.
//
// The problem: engines and registries are out of reach in many a place where tests run, and an image that nobody built is a
// guess. The resolution: Debian's buildah builds the Dockerfile as it is, in a chroot, which asks for no daemon and no
// cgroups. What stands in its FROM lines is made here under those names: Debian by debootstrap, Node out of npm. The server is
// then run as compose.yaml has it: as process 1, as the image's user, without capabilities, on files that are read-only, in a
// network of its own. All that is made lies in one folder, which is removed at the end, whatever the end is.
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
} from "node:fs";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { gunzipSync } from "node:zlib";
import { main, root, runLogged, StepFailed, secondsSince } from "./shared.mjs";

const USAGE = `Usage: npm run containers -- [--folder DIR] [--json]

Builds the images "train", "serve" and "tensorboard" of docker/ with buildah on bases that it makes, and trains, serves and
looks at the training in them. Takes root, some eight minutes and 12 GB of disk for that time.

  --folder DIR  where it works, in a folder of its own that it removes (default: build/)
  --json        make the last line of stdout one JSON object`;

/** The programs that it takes, and the Debian packages that have them. */
const PROGRAMS = {
  buildah: "buildah",
  debootstrap: "debootstrap",
  ip: "iproute2",
  nsenter: "util-linux",
  setpriv: "util-linux",
  unshare: "util-linux",
};
/** What debian:12 is. */
const SUITE = "bookworm";
const NPM = "npm@11";
/** Certificates of this machine's own, for networks that look into what is fetched. */
const CERTIFICATES = "/usr/local/share/ca-certificates";
const TRUSTED = "/etc/ssl/certs/ca-certificates.crt";

/** As in Docker's images. */
const SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const READY_WITHIN = 60_000;
const END_WITHIN = 20_000;

function checkMachine() {
  if (process.platform !== "linux") throw new StepFailed(`Expected Linux but this is ${process.platform}`);
  const folders = (process.env.PATH ?? "").split(delimiter);
  const absent = Object.keys(PROGRAMS).filter((name) => !folders.some((folder) => existsSync(join(folder, name))));
  if (absent.length > 0) {
    const packages = [...new Set(absent.map((name) => PROGRAMS[name]))].join(" ");
    throw new StepFailed(
      `Expected ${absent.join(", ")} on the PATH but found none (Debian: apt-get install ${packages})`,
    );
  }
  const user = process.getuid();
  if (user !== 0) throw new StepFailed(`Expected root, for chroot and mounts, but this is user ${user}`);
}

/** Runs a program to its end and gives back what it printed. */
function output(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: "utf8",
    maxBuffer: 2 ** 26,
    ...options,
  });
  if (status === 0) return stdout.trim();
  throw new StepFailed(`${error?.message ?? stderr}\n\`${command} ${args.join(" ")}\` failed (${status})`);
}

/** buildah with all that it keeps in one folder. */
class Buildah {
  #options;

  constructor(folder) {
    const [graph, run] = ["storage", "run"].map((name) => join(folder, name));
    this.#options = ["--root", graph, "--runroot", run, "--storage-driver", "vfs"];
    mkdirSync(join(folder, "tmp"));
    this.env = { ...process.env, TMPDIR: join(folder, "tmp") };
  }

  words(...args) {
    return ["buildah", [...this.#options, ...args]];
  }

  now(...args) {
    return output(...this.words(...args), { env: this.env });
  }

  /** What takes minutes; shows its output's end where it fails. */
  async later(name, ...args) {
    await runLogged(...this.words(...args), { log: join(root, "build", `containers-${name}.log`), env: this.env });
  }

  /** Makes a container of an image, or an empty one. */
  container(image) {
    return this.now("from", "--pull-never", image);
  }

  mount(container) {
    return this.now("mount", container);
  }

  /**
   * Runs a command in a container, as its image's user unless `options` of buildah say otherwise.
   * @param {{ options?: string[], before?: string[] }} further - `before`: a program that runs buildah
   */
  run(container, command, { options = [], before = [] } = {}) {
    const [program, args] = this.words("run", "--isolation=chroot", ...options, container, "--", ...command);
    const [first, ...rest] = [...before, program, ...args];
    return output(first, rest, { env: this.env });
  }

  /** An image's configuration, as Docker has it. */
  configuration(image) {
    return JSON.parse(this.now("inspect", "--type", "image", image)).Docker.config;
  }

  /** What an image's files take. */
  bytes(image) {
    const container = this.container(image);
    const [bytes] = output("du", ["--summarize", "--bytes", this.mount(container)]).split("\t");
    this.now("rm", container);
    return Number(bytes);
  }
}

/** The images that the Dockerfile starts from, by the names of its arguments. */
function bases() {
  const text = readFileSync(join(root, "docker", "Dockerfile"), "utf8");
  return Object.fromEntries([...text.matchAll(/^ARG (\w+)_IMAGE=(\S+)$/gm)].map(([, name, image]) => [name, image]));
}

/** Puts Debian and Node under the names that the Dockerfile asks for. */
async function makeBases(buildah, folder) {
  const { DEBIAN: debian, NODE: node } = bases();
  const empty = buildah.container("scratch");
  const files = buildah.mount(empty);
  // In mounts of its own: what it leaves mounted when it is stopped goes with it.
  const words = ["--mount", "debootstrap", "--variant=minbase", SUITE, files];
  await runLogged("unshare", words, { log: join(root, "build", "containers-debootstrap.log"), env: buildah.env });
  if (existsSync(CERTIFICATES)) cpSync(CERTIFICATES, join(files, CERTIFICATES), { recursive: true });
  buildah.now("config", "--env", `PATH=${SEARCH_PATH}`, empty);
  buildah.now("commit", "--rm", empty, `docker.io/library/${debian}`);

  const version = /:([\d.]+)-/.exec(node)[1];
  const packages = join(folder, "node");
  const binary = `node-linux-${process.arch}`;
  const install = ["install", "--prefix", packages, "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"];
  const log = join(root, "build", "containers-node.log");
  await runLogged("npm", [...install, `${binary}@${version}`, NPM], { log, env: buildah.env });
  const based = buildah.container(debian);
  const modules = join(packages, "node_modules");
  buildah.now("copy", based, join(modules, binary, "bin", "node"), "/usr/local/bin/node");
  buildah.now("copy", based, join(modules, "npm"), "/usr/local/lib/node_modules/npm");
  for (const name of ["npm", "npx"]) {
    const link = ["ln", "-s", `../lib/node_modules/npm/bin/${name}-cli.js`, `/usr/local/bin/${name}`];
    buildah.run(based, link);
  }
  // Debian's file, once the package ca-certificates is installed.
  buildah.now("config", "--env", `NODE_EXTRA_CA_CERTS=${TRUSTED}`, based);
  buildah.now("commit", "--rm", based, `docker.io/library/${node}`);
  return buildah.bytes(debian);
}

/** Builds an image and tells of it what there is to tell. */
async function build(buildah, name, base, { file = "Dockerfile", target } = {}) {
  const image = `localhost/lenet5-libtorch:${name}`;
  // Docker's format: OCI's has no health checks.
  const words = ["--format=docker", "--isolation=chroot", "--network=host", "--pull-never", "--tag", image];
  const stage = target === undefined ? [] : ["--target", target];
  await buildah.later(name, "build", ...words, ...stage, "--file", join(root, "docker", file), root);
  const { User: user, Healthcheck: healthCheck } = buildah.configuration(image);
  const bytes = buildah.bytes(image);
  return { name, image, user, bytes, bytesAboveBase: bytes - base, healthCheck: healthCheck?.Test };
}

/** Runs what compose.yaml runs first: it draws digits, trains and exports, as Airflow's user, into folders that it shares. */
function train(buildah, { image }, folder) {
  const container = buildah.container(image);
  const volumes = ["workspace", "models"].flatMap((name) => {
    const shared = join(folder, name);
    mkdirSync(shared);
    chmodSync(shared, 0o2775);
    return ["--volume", `${shared}:/${name}`];
  });
  const script = ["--volume", `${join(root, "docker", "first-models.sh")}:/first-models.sh:ro`];
  buildah.run(container, ["sh", "/first-models.sh"], { options: ["--user=50000:0", ...script, ...volumes] });
  const lenet5 = (...words) => {
    const told = buildah.run(container, ["lenet5", ...words, "--json"], { options: volumes });
    return JSON.parse(told.split("\n").at(-1));
  };
  const user = Number(buildah.run(container, ["id", "-u"]));
  const { ok } = lenet5("doctor");
  const words = [
    "--model",
    "/models/repository/lenet5/1/model.pt",
    "--data",
    "/workspace/data/synthetic",
    "--part",
    "test",
  ];
  const { accuracy } = lenet5("evaluate", ...words);
  return { user, ok, accuracy };
}

/** The first images and labels of the digits that were drawn for testing. */
function digits(folder, count) {
  const [images, labels] = ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"].map((name) =>
    gunzipSync(readFileSync(join(folder, "workspace", "data", "synthetic", name))),
  );
  return Array.from({ length: count }, (_, index) => ({
    pixels: Array.from(images.subarray(16 + index * 784, 16 + (index + 1) * 784), (byte) => byte / 255),
    label: labels[8 + index],
  }));
}

/**
 * Starts an image's own command as compose.yaml has it, and gives back the process that leads its group.
 * @param {string} files - the image's
 * @param {string} shared - a folder of this machine, which it sees, read-only, at `place`
 */
function startServer(files, { Cmd, Env, User, WorkingDir }, shared, place) {
  const [user, group] = User.split(":");
  const script = `
    set -eu
    ip link set lo up
    echo 127.0.0.1 localhost > "$FILES/etc/hosts" # as engines do
    mount --bind "$FILES" "$FILES"
    mount --bind "$SHARED" "$FILES$PLACE"
    mount -o remount,bind,ro "$FILES$PLACE"
    mount -o remount,bind,ro "$FILES"
    mount -t proc proc "$FILES/proc"
    mount -t tmpfs tmpfs "$FILES/tmp"
    mount --bind /dev "$FILES/dev"
    exec chroot "$FILES" setpriv --reuid=${user} --regid=${group} --clear-groups --bounding-set=-all --no-new-privs \\
      env --ignore-environment --chdir=${WorkingDir || "/"} "$@"`;
  const words = ["--net", "--pid", "--mount", "--fork", "--kill-child", "sh", "-c", script, "sh", ...Env];
  return spawn("unshare", [...words, ...Cmd], {
    stdio: ["ignore", process.stderr, process.stderr],
    env: { PATH: process.env.PATH, FILES: files, SHARED: shared, PLACE: place },
  });
}

/**
 * Runs an image's server until its health check passes and `ask` has its answer, then ends it by SIGTERM.
 * @param {(fetchInside: (path: string, body?: object) => object) => object} ask
 */
async function serve(buildah, { name, image, healthCheck }, { folder, shared, place, port, ask }) {
  if (healthCheck === undefined) throw new StepFailed(`Expected a health check in ${image} but it has none`);
  const container = buildah.container(image);
  mkdirSync(join(buildah.mount(container), place), { recursive: true });
  const server = startServer(buildah.mount(container), buildah.configuration(image), shared, place);
  const ended = new Promise((resolve) => server.once("exit", (status, signal) => resolve(status ?? signal)));
  try {
    const start = performance.now();
    while (!isHealthy(buildah, container, server.pid, healthCheck)) {
      // In the meantime it may have ended.
      await sleep(200);
      if (server.exitCode !== null) throw new StepFailed(`${name} ended with ${server.exitCode} before it was ready`);
      if (performance.now() - start > READY_WITHIN) throw new StepFailed(`${name} was not healthy within a minute`);
    }
    const readySeconds = (performance.now() - start) / 1000;
    const process1 = childOf(server.pid);
    const status = readFileSync(`/proc/${process1}/status`, "utf8");
    const answers = ask((path, body) => {
      const words = ["--target", String(process1), "--net", process.execPath, "--input-type=module", "--eval", FETCH];
      const input = body === undefined ? "" : JSON.stringify(body);
      return JSON.parse(output("nsenter", [...words, `http://127.0.0.1:${port}${path}`], { input }));
    });
    process.kill(process1, "SIGTERM");
    const end = await Promise.race([ended, sleep(END_WITHIN, "nothing within 20 s", { ref: false })]);
    return {
      readySeconds,
      user: Number(/^Uid:\t(\d+)/m.exec(status)[1]),
      processId: Number(/^NSpid:.*\t(\d+)$/m.exec(status)[1]),
      capabilities: Number.parseInt(/^CapBnd:\t(\w+)/m.exec(status)[1], 16),
      ...answers,
      end,
    };
  } finally {
    endProcessesIn(folder);
  }
}

/** Runs in a server's network: sends what comes on standard input, if anything, and prints the answer. */
const FETCH = `
  let body = "";
  for await (const chunk of process.stdin) body += chunk;
  const answer = await fetch(process.argv[1], body === "" ? {} : { method: "POST", body });
  console.log(await answer.text());`;

/** How many of some digits the server names rightly. */
function nameDigits(fetchInside, folder) {
  const asked = digits(folder, 20);
  const data = asked.flatMap(({ pixels }) => pixels);
  const input = { name: "input0", shape: [asked.length, 1, 28, 28], datatype: "FP32", data };
  const { outputs, error } = fetchInside("/v2/models/lenet5/infer", { inputs: [input] });
  if (outputs === undefined) throw new StepFailed(`Expected labels from the server but received ${error}`);
  const labels = outputs.find(({ name }) => name === "label").data;
  return { asked: asked.length, right: asked.filter(({ label }, index) => labels[index] === label).length };
}

/** Whether the image's own health check passes, in the server's network. */
function isHealthy(buildah, container, leader, [, ...command]) {
  const process1 = childOf(leader);
  if (process1 === undefined) return false;
  try {
    buildah.run(container, command, { before: ["nsenter", "--target", String(process1), "--net"] });
    return true;
  } catch {
    return false;
  }
}

function childOf(pid) {
  const path = `/proc/${pid}/task/${pid}/children`;
  return existsSync(path) ? Number(readFileSync(path, "utf8").trim().split(" ")[0]) || undefined : undefined;
}

/** Ends what runs in a container below a folder. */
function endProcessesIn(folder) {
  for (const pid of readdirSync("/proc").map(Number).filter(Boolean)) {
    try {
      if (readlinkSync(`/proc/${pid}/root`).startsWith(`${folder}/`)) process.kill(pid, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** Takes away what was made; first what is mounted there, which would be emptied with it. */
function remove(folder) {
  // A program that was told to stop may still write for a moment.
  for (let tries = 0; existsSync(folder) && tries < 50; tries++) {
    if (tries > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    endProcessesIn(folder);
    const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
    const left = mounts.map((line) => line.split(" ")[1]).filter((path) => path?.startsWith(`${folder}/`));
    for (const path of left.reverse()) spawnSync("umount", ["--lazy", path]);
    spawnSync("rm", ["-rf", "--one-file-system", folder]);
  }
  if (existsSync(folder)) console.error(`Expected to remove ${folder} but it is still there`);
}

async function containers(values) {
  checkMachine();
  const parent = values.folder ?? join(root, "build");
  mkdirSync(parent, { recursive: true });
  // As the kernel names it, by which it finds what still runs or is mounted there.
  const folder = realpathSync(mkdtempSync(join(parent, "containers-")));
  // On "exit", because that is where a step that is interrupted ends too.
  process.on("exit", () => remove(folder));
  for (const [signal, status] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ]) {
    // Later, because whoever runs a program at that moment stops it first.
    process.on(signal, () => setImmediate(() => process.exit(status)));
  }

  const step = async (title, body) => {
    const start = performance.now();
    console.error(`${title} …`);
    const result = await body();
    console.error(`${title}: done in ${secondsSince(start)}`);
    return result;
  };
  const buildah = new Buildah(folder);
  const base = await step("Bases: Debian and Node", () => makeBases(buildah, folder));
  const images = {
    train: await step("Image train", () => build(buildah, "train", base, { target: "train" })),
    serve: await step("Image serve", () => build(buildah, "serve", base, { target: "serve" })),
    tensorboard: await step("Image tensorboard", () =>
      build(buildah, "tensorboard", base, { file: "tensorboard.Dockerfile" }),
    ),
  };
  const training = await step("Training", () => train(buildah, images.train, folder));
  const models = { shared: join(folder, "models", "repository"), place: "/models", port: 8080 };
  const work = { shared: join(folder, "workspace"), place: "/workspace", port: 6006 };
  const serving = await step("Serving", () =>
    serve(buildah, images.serve, { folder, ...models, ask: (inside) => nameDigits(inside, folder) }),
  );
  const tensorboard = await step("TensorBoard", () =>
    serve(buildah, images.tensorboard, { folder, ...work, ask: (inside) => ({ runs: inside("/data/runs") }) }),
  );
  return { base, images: Object.values(images), training, serving, tensorboard };
}

function summary({ base, images, training, serving, tensorboard }) {
  const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;
  const sizes = images.map(({ name, bytesAboveBase }) => `${name} ${megabytes(bytesAboveBase)}`);
  const ran = ({ user, processId, readySeconds }) =>
    `as user ${user} and process ${processId}, healthy after ${readySeconds.toFixed(1)} s`;
  return `Above Debian's ${megabytes(base)}: ${sizes.join(", ")}
Training, as user ${training.user}: ${(100 * training.accuracy).toFixed(1)} % of the test images right
Serving, ${ran(serving)}: ${serving.right} of ${serving.asked} digits right, status ${serving.end} at SIGTERM
TensorBoard, ${ran(tensorboard)}: shows ${tensorboard.runs.join(", ")}, status ${tensorboard.end} at SIGTERM`;
}

await main(async () => {
  let values;
  try {
    const options = { folder: { type: "string" }, json: { type: "boolean" }, help: { type: "boolean" } };
    ({ values } = parseArgs({ options }));
  } catch (error) {
    throw new StepFailed(`${error.message}\n\n${USAGE}`);
  }
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const result = await containers(values);
  console.log(values.json ? JSON.stringify(result) : summary(result));
});
