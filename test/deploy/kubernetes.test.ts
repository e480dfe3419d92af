// The manifests of deploy/kubernetes: held against Kubernetes' schemas, against one another, and against the real command, whose server
// is started as they start it. There is no cluster here; rolling-update.test.ts does to servers what one would do.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { packageRoot } from "#package-root";
import { lenet5, temporaryFolder } from "../cli/lenet5.js";
import { python, pythonPath } from "../python.js";
import { cleanUp, emptyRepository, placeFile, placeLeNet5 } from "../server/models.js";
import { serveProcess } from "../server/serve-process.js";

const FOLDER = join(packageRoot, "deploy", "kubernetes");
const USER = 10001;

/** An object as it is in its file; the tests look at many shapes, and a wrong one fails them. */
// biome-ignore lint/suspicious/noExplicitAny: see above
type Loose = any;

interface Manifest {
  /** Below deploy/kubernetes. */
  file: string;
  object: Loose;
}

const files = (readdirSync(FOLDER, { recursive: true, encoding: "utf8" }) as string[])
  .filter((name) => name.endsWith(".yaml"))
  .sort();
const read = (file: string): string => readFileSync(join(FOLDER, file), "utf8");
const kustomizations = files.filter((file) => basename(file) === "kustomization.yaml");
const VALUES = "prometheus-adapter-values.yaml";

const manifests: Manifest[] = files
  .filter((file) => !kustomizations.includes(file) && file !== VALUES)
  .flatMap((file) =>
    parseAllDocuments(read(file)).map((document) => {
      expect(document.errors, file).toEqual([]);
      return { file, object: document.toJS() };
    }),
  );

/** The one object of a kind and name. */
function the(kind: string, name?: string): Loose {
  const found = manifests.filter(({ object }) => object.kind === kind && (!name || object.metadata.name === name));
  expect(found, `${kind} ${name}`).toHaveLength(1);
  return found[0]!.object;
}

interface Pod {
  where: string;
  /** What counts for the whole pod; a ServingRuntime's is partly the InferenceService's. */
  spec: Loose;
  labels: Record<string, string>;
}

/** Every pod that the manifests ask for. */
function podsOf({ file, object }: Manifest): Pod[] {
  const { kind, spec } = object;
  if (kind === "Deployment" || kind === "Job")
    return [{ where: file, spec: spec.template.spec, labels: spec.template.metadata.labels }];
  if (kind === "PyTorchJob")
    return Object.entries<Loose>(spec.pytorchReplicaSpecs).map(([role, { template }]) => ({
      where: `${file} ${role}`,
      spec: template.spec,
      labels: template.metadata.labels,
    }));
  if (kind === "ServingRuntime") {
    const { securityContext, terminationGracePeriodSeconds, enableServiceLinks } =
      the("InferenceService").spec.predictor;
    const whole = { securityContext, terminationGracePeriodSeconds, enableServiceLinks };
    return [{ where: file, spec: { ...whole, ...spec }, labels: {} }];
  }
  return [];
}

const pods = manifests.flatMap(podsOf);
const containers = pods.flatMap((pod) =>
  (pod.spec.containers as Loose[]).map((container) => ({ where: pod.where, pod, container })),
);
const servers = containers.filter(({ container }) => commandOf(container).name === "serve");

/** The words of a container's command line, also of one that a shell's script ends in. */
function wordsOf({ command = [], args = [] }: Loose): string[] {
  if (command[0] !== "sh") return [...command, ...args];
  const script = (args[0] as string).replaceAll(/\\\n/g, " ");
  const last = /^exec (lenet5 .*)$/m.exec(script);
  expect(last, script).not.toBeNull();
  return last![1]!.trim().split(/\s+/);
}

/** The command of lenet5 that a container runs, and its options with their values. */
function commandOf(container: Loose): { name: string; options: Map<string, string> } {
  const [program, ...words] = wordsOf(container);
  expect(program).toBe("lenet5");
  const first = words.findIndex((word) => word.startsWith("-"));
  const options = new Map<string, string>();
  const rest = words.slice(first);
  for (const [i, word] of rest.entries()) {
    if (!word.startsWith("--")) continue;
    const [flag, value] = word.split(/=(.*)/s) as [string, string?];
    const next = rest[i + 1];
    options.set(flag, value ?? (next === undefined || next.startsWith("-") ? "" : next));
  }
  return { name: words.slice(0, first).join(" "), options };
}

const milliseconds = (container: Loose, flag: string): number => Number(commandOf(container).options.get(flag));

test("there is something to look at", () => {
  expect(manifests.map(({ object }) => object.kind).sort()).toEqual(
    [
      ...["Deployment", "Service", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"],
      ...["PersistentVolumeClaim", "PersistentVolumeClaim", "ServingRuntime", "InferenceService"],
      ...["PyTorchJob", "Job", "Job"],
    ].sort(),
  );
  expect(servers).toHaveLength(2);
  expect(containers).toHaveLength(6);
});

describe("kustomizations", () => {
  test.each(kustomizations)("%s names what is beside it, and nothing else", (file) => {
    const { apiVersion, kind, resources } = parse(read(file));
    expect([apiVersion, kind]).toEqual(["kustomize.config.k8s.io/v1beta1", "Kustomization"]);
    const folder = dirname(file);
    if (folder === ".") return expect(resources).toEqual(["storage", "server"]);
    const beside = files.filter((other) => dirname(other) === folder && other !== file);
    expect([...resources].sort()).toEqual(beside.map((other) => basename(other)).sort());
  });

  test("there is one in each folder", () => {
    const folders = new Set(files.map((file) => dirname(file)));
    expect(kustomizations.map((file) => dirname(file)).sort()).toEqual([...folders].sort());
  });
});

const FIND = `
import importlib.util, sys
def there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
sys.exit(0 if all(map(there, ["kubernetes_validate", "kserve", "kubeflow.training"])) else 1)
`;
const canCheck = pythonPath !== undefined && spawnSync(pythonPath, ["-c", FIND]).status === 0;

describe.runIf(canCheck || process.env.CI === "true")("schemas", { timeout: 120_000 }, () => {
  const SCHEMAS = readFileSync(join(import.meta.dirname, "schemas.py"), "utf8");
  const check = (objects: Loose[]) =>
    python<{ versions: string[]; problems: string[][] }>(SCHEMAS, [JSON.stringify(objects)]);

  test("every manifest is what the schemas of its kind ask for", async () => {
    const { versions, problems } = await check(manifests.map(({ object }) => object));
    expect(versions).toHaveLength(2);
    const all = problems.map((each, i) => [manifests[i]!.file, each]);
    expect(all).toEqual(manifests.map(({ file }) => [file, []]));
  });

  test("a field that there is not, a wrong type, and a missing one are found in each of them", async () => {
    const changed: [kind: string, change: (object: Loose) => void, found: RegExp][] = [
      ["Deployment", ({ spec }) => Object.assign(spec.template.spec, { grace: 1 }), /grace/],
      ["Deployment", ({ spec }) => Object.assign(spec, { minReadySeconds: "soon" }), /minReadySeconds.*'soon'/],
      ["HorizontalPodAutoscaler", ({ spec }) => delete spec.maxReplicas, /maxReplicas/],
      ["PodDisruptionBudget", ({ spec }) => Object.assign(spec, { least: 1 }), /least/],
      ["ServingRuntime", ({ spec }) => Object.assign(spec, { protocols: [] }), /no field protocols/],
      ["ServingRuntime", ({ spec }) => Object.assign(spec, { multiModel: "no" }), /multiModel: expected bool/],
      ["ServingRuntime", ({ spec }) => delete spec.containers[0].name, /name/],
      ["InferenceService", ({ spec }) => delete spec.predictor.model.modelFormat, /model_format/],
      ["InferenceService", ({ spec }) => Object.assign(spec.predictor, { minReplicas: "two" }), /minReplicas/],
      ["InferenceService", ({ spec }) => Object.assign(spec.predictor.securityContext, { user: 1 }), /user/],
      ["PyTorchJob", ({ spec }) => delete spec.runPolicy, /run_policy/],
      ["PyTorchJob", ({ spec }) => Object.assign(spec.pytorchReplicaSpecs.Worker, { replicas: "3" }), /replicas/],
      [
        "PyTorchJob",
        ({ spec }) => Object.assign(spec.pytorchReplicaSpecs.Master.template.spec.containers[0], { port: 1 }),
        /port/,
      ],
    ];
    const objects = changed.map(([kind, change]) => {
      const object = structuredClone(the(kind));
      change(object);
      return object;
    });
    const { problems } = await check(objects);
    for (const [i, [kind, , found]] of changed.entries()) expect(problems[i]!.join("\n"), kind).toMatch(found);
  });
});

describe("what a pod may do", () => {
  test.each(containers)("$where: nobody in particular, on files that are read-only, within limits", ({ container }) => {
    expect(container.securityContext).toEqual({
      runAsNonRoot: true,
      runAsUser: USER,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    });
    const { requests, limits } = container.resources;
    for (const each of [requests, limits])
      expect(each).toEqual({ cpu: expect.any(String), memory: expect.any(String) });
    expect(container.image).toMatch(/^lenet5-libtorch:(serve|train)$/);
    expect(container.volumeMounts).toContainEqual({ name: "tmp", mountPath: "/tmp" });
  });

  test.each(pods)("$where: the pod as well, without a service account's token or services' variables", (pod) => {
    expect(pod.spec.securityContext).toMatchObject({
      ...{ runAsNonRoot: true, runAsUser: USER, fsGroup: USER },
      seccompProfile: { type: "RuntimeDefault" },
    });
    for (const name of ["hostNetwork", "hostPID", "hostIPC"]) expect(pod.spec[name]).toBeUndefined();
    expect(pod.spec.enableServiceLinks).toBe(false);
    // KServe's storage initializer reads with the account's credentials.
    if (!pod.where.startsWith("kserve")) expect(pod.spec.automountServiceAccountToken).toBe(false);
  });

  test("the user is the images'", () => {
    expect(readFileSync(join(packageRoot, "docker", "Dockerfile"), "utf8")).toContain(`\nUSER ${USER}:0\n`);
  });

  test.each(containers)("$where: writes where it may, and servers nowhere", ({ pod, container }) => {
    const claims = manifests.filter(({ object }) => object.kind === "PersistentVolumeClaim");
    const known = claims.map(({ object }) => object.metadata.name);
    const volumes = new Map<string, Loose>(pod.spec.volumes.map((volume: Loose) => [volume.name, volume]));
    for (const { name } of container.volumeMounts) expect([...volumes.keys()]).toContain(name);
    for (const { persistentVolumeClaim: claim } of volumes.values())
      if (claim) expect(known).toContain(claim.claimName);
    const { name, options } = commandOf(container);
    const mountOf = (path: string) =>
      container.volumeMounts.find(({ mountPath }: Loose) => path.startsWith(`${mountPath}/`)) as Loose;
    const output = options.get("--output");
    if (output !== undefined) expect(mountOf(output), output).toMatchObject({ name: expect.any(String) });
    if (output !== undefined) expect(mountOf(output).readOnly, output).not.toBe(true);
    const readsOnly = container.volumeMounts.filter(({ mountPath }: Loose) => mountPath === "/models");
    if (name === "serve") for (const { readOnly } of readsOnly) expect(readOnly).toBe(true);
  });
});

/** Variables that are no option's: docs/command-line.md has them. */
const NO_OPTION = ["LENET5_DATA_DIR", "LENET5_CACHE_DIR", "LENET5_INFERENCE_TOKEN", "LENET5_MANAGEMENT_TOKEN"];

test.each(containers)("$where: the command knows its options and variables", async ({ container }) => {
  const { name, options } = commandOf(container);
  const help = await lenet5([...name.split(" "), "--help"]);
  expect(help.status).toBe(0);
  const known = [...help.stdout.matchAll(/--[a-z0-9-]+/g)].map(([flag]) => flag);
  for (const flag of options.keys()) expect(known, name).toContain(flag);
  const variables = [...help.stdout.matchAll(/env:\s+(\w+)/g)].map(([, variable]) => variable!);
  const env: Loose[] = container.env ?? [];
  for (const { name: variable } of env)
    if (variable.startsWith("LENET5_")) expect([...variables, ...NO_OPTION], name).toContain(variable);
  // As many threads as it may use processors, where it has threads.
  const threads = env.find((each) => each.name === "LENET5_THREADS");
  expect(threads !== undefined, name).toBe(variables.includes("LENET5_THREADS"));
  if (threads !== undefined) {
    const from = { containerName: container.name, resource: "limits.cpu", divisor: "1" };
    expect(threads.valueFrom).toEqual({ resourceFieldRef: from });
  }
});

describe.each(servers)("the server of $where", ({ where, pod, container }) => {
  const { options } = commandOf(container);
  const declared = new Map<string, number>(
    container.ports.map(({ name, containerPort }: Loose) => [name, containerPort]),
  );
  const flagOf: Record<string, string> = { http: "--port", grpc: "--grpc-port", metrics: "--metrics-port" };

  test("declares the ports that its options ask for", () => {
    for (const [name, port] of declared) expect(String(port), name).toBe(options.get(flagOf[name]!));
    for (const [name, flag] of Object.entries(flagOf)) expect(declared.has(name), name).toBe(options.has(flag));
    expect(options.get("--host")).toBe("0.0.0.0");
  });

  test("has time to take leave before it is killed", () => {
    const { terminationGracePeriodSeconds: grace } = pod.spec;
    const sleep = container.lifecycle?.preStop?.sleep?.seconds ?? 0;
    expect(container.lifecycle?.preStop?.exec).toBeUndefined();
    const leave = milliseconds(container, "--shutdown-delay") + milliseconds(container, "--drain-timeout");
    expect(leave).toBeGreaterThan(0);
    expect(grace).toBeGreaterThanOrEqual(sleep + leave / 1000 + 5);
    // A kubelet that asks finds the pod not ready well before the server takes no more.
    const { periodSeconds, failureThreshold } = container.readinessProbe;
    expect(milliseconds(container, "--shutdown-delay")).toBeGreaterThanOrEqual(1000 * periodSeconds * failureThreshold);
  });

  /** The server on a folder of models, by the manifest's own arguments but for where the models are and which ports are free. */
  const start = async (folder: string) => {
    const own = { "--model-repository": folder, "--host": "127.0.0.1" } as Record<string, string>;
    const words = [...options].map(([flag, value]) => {
      const port = Object.values(flagOf).includes(flag) ? "0" : undefined;
      return `${flag}=${own[flag] ?? port ?? value}`;
    });
    const started = await serveProcess(...words);
    const addresses = started
      .output()
      .match(/Ready at .*/)![0]
      .split(", ");
    const urlOf = (name: string): string => {
      const suffix = name === "http" ? /(http:\S+)$/ : new RegExp(`(http:\\S+) \\(${name}\\)$`);
      return addresses.map((address) => suffix.exec(address)?.[1]).find((url) => url !== undefined)!;
    };
    return { ...started, urlOf };
  };
  const nameOf = (port: string | number): string =>
    typeof port === "string" ? port : [...declared].find(([, number]) => number === port)![0];
  const probes = ["startupProbe", "readinessProbe", "livenessProbe"].map((name) => {
    const { path, port } = container[name].httpGet;
    // As KServe fills in the inference service's name.
    return { path: path.replace("{{.Name}}", the("InferenceService").metadata.name) as string, port };
  });

  test("is not started for Kubernetes where its model cannot be loaded", async () => {
    const folder = await emptyRepository();
    const file = join(temporaryFolder(), "model.pt");
    writeFileSync(file, "no model");
    await placeFile(folder, "digits", "1", "model.pt", file);
    const { child, ended, urlOf } = await start(folder);
    const [{ path, port }] = probes as [(typeof probes)[0]];
    expect((await fetch(`${urlOf(nameOf(port))}${path}`)).status).toBe(503);
    child.kill("SIGTERM");
    await ended;
  });

  test("has memory for 64 of its largest bodies at once", () => {
    const mebibytes = (quantity: string): number => {
      const [, number, unit] = /^(\d+)(Mi|Gi)$/.exec(quantity)!;
      return Number(number) * (unit === "Gi" ? 1024 : 1);
    };
    // Node and the model, and each body about five times, which was measured.
    const needed = 128 + (64 * 5 * Number(options.get("--body-limit"))) / 2 ** 20;
    expect(mebibytes(container.resources.limits.memory)).toBeGreaterThan(needed);
  });

  test("answers at the paths of its probes, and counts what is scaled by", async () => {
    const folder = await emptyRepository();
    await placeLeNet5(folder);
    const { child, ended, urlOf } = await start(folder);
    const templateOf = (kind: string): Loose => (kind === "Deployment" ? the(kind).spec.template : the(kind));
    const isPlain = where.startsWith("server");
    const annotations = isPlain
      ? templateOf("Deployment").metadata.annotations
      : the("ServingRuntime").spec.annotations;
    for (const { path, port } of probes) {
      expect([...declared.keys()]).toContain(nameOf(port));
      const answer = await fetch(`${urlOf(nameOf(port))}${path}`);
      expect([path, answer.status]).toEqual([path, 200]);
    }
    expect(annotations["prometheus.io/scrape"]).toBe("true");
    const scraped = nameOf(Number(annotations["prometheus.io/port"]));
    const metrics = await (await fetch(`${urlOf(scraped)}${annotations["prometheus.io/path"]}`)).text();
    const wanted = the("HorizontalPodAutoscaler").spec.metrics.find(({ type }: Loose) => type === "Pods").pods.metric
      .name;
    expect(metrics).toMatch(new RegExp(`^${wanted}\\{model="digits",version="1"\\} \\d`, "m"));
    // Not ready at once, and with the options' own delay not ended either.
    child.kill("SIGTERM");
    const [, readiness, liveness] = probes.map(
      ({ path, port }) =>
        async (): Promise<number> =>
          (await fetch(`${urlOf(nameOf(port))}${path}`)).status,
    );
    await expect.poll(readiness!, { timeout: 5000, interval: 20 }).toBe(503);
    expect(await liveness!()).toBe(200);
    child.kill("SIGTERM");
    await ended;
  });
});

afterEach(cleanUp);

describe("server/", () => {
  const labels = podsOf(manifests.find(({ object }) => object.kind === "Deployment")!)[0]!.labels;

  test("services, budget and spreading mean the pods of the deployment", () => {
    const { spec } = the("Deployment");
    expect(labels).toMatchObject(spec.selector.matchLabels);
    expect(labels).toMatchObject(the("PodDisruptionBudget").spec.selector.matchLabels);
    for (const { labelSelector } of spec.template.spec.topologySpreadConstraints)
      expect(labels).toMatchObject(labelSelector.matchLabels);
    // The other pods are no servers.
    for (const { labels: other } of pods.filter(({ where }) => !where.startsWith("server")))
      expect(other).not.toMatchObject(spec.selector.matchLabels);
  });

  test("services lead to ports that the pods have", () => {
    const [{ container }] = servers.filter(({ where }) => where.startsWith("server")) as [(typeof servers)[0]];
    const services = manifests.filter(({ object }) => object.kind === "Service");
    for (const { object } of services) {
      expect(labels).toMatchObject(object.spec.selector);
      for (const { name, port, targetPort } of object.spec.ports) {
        const target = container.ports.find((each: Loose) => each.name === targetPort);
        expect(target?.containerPort, name).toBe(port);
      }
    }
  });

  test("the autoscaler scales the deployment, which says nothing of replicas, by a metric that the adapter has", () => {
    const { scaleTargetRef, metrics, minReplicas } = the("HorizontalPodAutoscaler").spec;
    const { apiVersion, kind, metadata, spec } = the("Deployment");
    expect(scaleTargetRef).toEqual({ apiVersion, kind, name: metadata.name });
    expect(spec.replicas).toBeUndefined();
    const [rule] = parse(read(VALUES)).rules.custom;
    const { name } = metrics.find(({ type }: Loose) => type === "Pods").pods.metric;
    expect(rule.name.as).toBe(name);
    expect(new RegExp(rule.name.matches).test(name)).toBe(true);
    expect(rule.seriesQuery).toMatch(new RegExp(`^${name}\\{`));
    // Prometheus scrapes once a minute where nobody says otherwise: less than two minutes have no sample now and then.
    const [, minutes] = /\[(\d+)m\]/.exec(rule.metricsQuery)!;
    expect(Number(minutes)).toBeGreaterThanOrEqual(2);
    // One thread reads the requests: a server at its end uses little more than one processor.
    const { averageUtilization } = metrics.find(({ type }: Loose) => type === "Resource").resource.target;
    const { cpu } = spec.template.spec.containers[0].resources.requests;
    expect((Number(cpu) * averageUtilization) / 100).toBeLessThan(0.9);
    // Nothing of a rolling update or of a drained node is missed.
    expect(spec.strategy.rollingUpdate).toEqual({ maxUnavailable: 0, maxSurge: 1 });
    expect(the("PodDisruptionBudget").spec.maxUnavailable).toBeLessThan(minReplicas);
  });
});

test("kserve/: service and runtime know one another", () => {
  const runtime = the("ServingRuntime");
  const { model } = the("InferenceService").spec.predictor;
  expect(model.runtime).toBe(runtime.metadata.name);
  expect(runtime.spec.protocolVersions).toEqual(["v2", "grpc-v2"]);
  expect(runtime.spec.protocolVersions).toContain(model.protocolVersion);
  const { name, version } = model.modelFormat;
  expect(runtime.spec.supportedModelFormats).toContainEqual(expect.objectContaining({ name, version }));
  const [container] = runtime.spec.containers;
  expect(container.name).toBe("kserve-container");
  expect(commandOf(container).options.get("--model-repository")).toBe("/mnt/models");
  const [, claim, folder] = /^pvc:\/\/([\w-]+)\/(.+)$/.exec(model.storageUri)!;
  expect(the("PersistentVolumeClaim", claim).metadata.name).toBe("lenet5-models");
  const plain = commandOf(the("Deployment").spec.template.spec.containers[0]).options.get("--model-repository");
  expect(plain).toBe(`/models/${folder}`);
});

describe("training/", () => {
  const { Master, Worker } = the("PyTorchJob").spec.pytorchReplicaSpecs;
  const [container] = Master.template.spec.containers;
  const { options } = commandOf(container);

  test("one master and workers of the same template, as the operator wants them", () => {
    expect(Object.keys(the("PyTorchJob").spec.pytorchReplicaSpecs)).toEqual(["Master", "Worker"]);
    expect(Master.replicas).toBe(1);
    expect(Worker.template).toEqual(Master.template);
    expect(container.name).toBe("pytorch");
    expect(container.ports.map(({ name }: Loose) => name)).toEqual(["pytorchjob-port"]);
    // The operator's, not ours.
    const set = container.env.map(({ name }: Loose) => name);
    for (const name of ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"]) expect(set).not.toContain(name);
    expect([...options.keys()]).toContain("--distributed");
  });

  test("outlives three failures, and leaves no pod behind", () => {
    const { backoffLimit, cleanPodPolicy } = the("PyTorchJob").spec.runPolicy;
    // The operator sums the starts of all containers; of one failure those of all pods, and of the first one again.
    expect(backoffLimit).toBeGreaterThanOrEqual(3 * (Master.replicas + Worker.replicas + 1));
    expect(cleanPodPolicy).toBe("Running");
  });

  test("reads what the data's job writes, and writes what the server reads", () => {
    const data = the("Job", "lenet5-data").spec.template.spec.containers[0];
    expect(options.get("--data")).toBe(commandOf(data).options.get("--output"));
    const repository = commandOf(the("Deployment").spec.template.spec.containers[0]).options.get("--model-repository")!;
    const file = relative(repository, options.get("--output")!);
    expect(file).toMatch(/^[a-z]+\/1\/model\.pt$/);
  });

  test("its script is a shell's, makes the model's folder, and ends in the command itself", () => {
    const [script] = container.args as [string];
    expect(container.command).toEqual(["sh", "-euc"]);
    const folder = temporaryFolder();
    // Its own shell, below a folder of ours, and a command that says what it is given.
    writeFileSync(join(folder, "lenet5"), '#!/bin/sh\necho "$$ $*"\n', { mode: 0o755 });
    const moved = script.replaceAll(/(?<=[ =])\/(models|workspace)\//g, `${folder}/$1/`);
    const env = { PATH: `${folder}:${process.env.PATH}` };
    const { status, stdout, stderr, pid } = spawnSync("sh", ["-euc", moved], { encoding: "utf8", env });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    // The shell's own process, so that SIGTERM reaches the command.
    expect(stdout).toMatch(new RegExp(`^${pid} train --distributed `));
    expect(stdout).toContain(` --checkpoint-dir ${join(folder, "workspace", "checkpoints", "digits")} --resume auto `);
    expect(existsSync(join(folder, dirname(options.get("--output")!)))).toBe(true);
  });
});

test("batch/: as many parts as pods, each with a file of its own", () => {
  const { spec } = the("Job", "lenet5-predict");
  const [container] = spec.template.spec.containers;
  expect(spec.completionMode).toBe("Indexed");
  const { options } = commandOf(container);
  expect(options.get("--shards")).toBe(String(spec.completions));
  // The part is Kubernetes' to say.
  const set = container.env.map(({ name }: Loose) => name);
  for (const name of ["RANK", "WORLD_SIZE", "JOB_COMPLETION_INDEX"]) expect(set).not.toContain(name);
  expect(spec.parallelism).toBeLessThanOrEqual(spec.completions);
  expect(spec.template.spec.restartPolicy).toBe("Never");
  expect(spec.podFailurePolicy.rules.at(-1).onExitCodes).toMatchObject({ containerName: container.name, values: [2] });
  const trained = commandOf(the("PyTorchJob").spec.pytorchReplicaSpecs.Master.template.spec.containers[0]).options;
  expect(options.get("--model")).toBe(trained.get("--output"));
});

let guide: string;
beforeAll(() => {
  guide = readFileSync(join(FOLDER, "README.md"), "utf8");
});

test("README.md names each folder, what is there to apply, and the times of the manifests", () => {
  const folders = kustomizations.map((file) => dirname(file)).filter((folder) => folder !== ".");
  for (const folder of folders) {
    expect(guide).toContain(`\`${folder}/\``);
    expect(guide).toContain(`kubectl apply -k deploy/kubernetes/${folder}`);
  }
  // By folder, where kustomize names the registry.
  expect(guide).not.toMatch(/kubectl (apply|create) -f/);
  for (const [, path] of guide.matchAll(/deploy\/kubernetes\/([\w./-]+)/g))
    expect([...files, ...folders, ""]).toContain(path!.replace(/\.$/, ""));
  for (const { pod, container } of servers) {
    expect(guide).toContain(`\`--shutdown-delay\` (${milliseconds(container, "--shutdown-delay") / 1000} s`);
    expect(guide).toContain(`\`--drain-timeout\` (${milliseconds(container, "--drain-timeout") / 1000} s`);
    expect(guide).toContain(`\`terminationGracePeriodSeconds\` (${pod.spec.terminationGracePeriodSeconds} s)`);
  }
});
