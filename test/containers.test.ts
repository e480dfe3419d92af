// The rules that compose.yaml and the Dockerfiles keep, read by parsers; test/long/containers.test.ts builds and runs the images.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { packageRoot } from "#package-root";

const read = (file: string): string => readFileSync(join(packageRoot, file), "utf8");

interface Service {
  image: string;
  build?: { dockerfile: string; target?: string };
  ports?: string[];
  volumes?: string[];
  profiles?: string[];
  environment?: Record<string, string>;
  healthcheck?: object;
  restart: string;
  cap_drop?: string[];
  security_opt?: string[];
  privileged?: boolean;
  depends_on?: Record<string, { condition: string }>;
}

const { services } = parse(read("compose.yaml"), { merge: true }) as { services: Record<string, Service> };
const all = Object.entries(services);
/** They end when they have done their work. */
const lasting = all.filter(([, { restart }]) => restart !== "no");

/** A tag that names a version, or a digest. */
const PINNED = /^[\w./-]+:v?\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?$/;

interface Instruction {
  name: string;
  value: string;
}

interface Stage {
  from: string;
  name: string;
  /** Those of the stages that it starts from come first. */
  instructions: Instruction[];
}

/** The instructions of a Dockerfile: continued lines joined, comments left out. */
function instructionsOf(file: string): Instruction[] {
  const lines = read(file)
    .split("\n")
    .filter((line) => !/^\s*#/.test(line));
  const joined = lines.join("\n").replaceAll(/\\\n/g, " ").split("\n");
  return joined.flatMap((line) => {
    const [, name, value] = /^(\w+)\s+(.*)$/.exec(line) ?? [];
    return name === undefined ? [] : [{ name: name.toUpperCase(), value: value!.trim() }];
  });
}

function stagesOf(file: string): Stage[] {
  const stages: Stage[] = [];
  for (const { name, value } of instructionsOf(file)) {
    if (name === "FROM") {
      const [from, , own = ""] = value.split(/\s+/) as [string, string?, string?];
      const before = stages.find((stage) => stage.name === from)?.instructions ?? [];
      stages.push({ from, name: own, instructions: [...before] });
    } else stages.at(-1)?.instructions.push({ name, value });
  }
  return stages;
}

const last = ({ instructions }: Stage, name: string): string | undefined =>
  instructions.findLast((instruction) => instruction.name === name)?.value;

const DOCKERFILES = readdirSync(join(packageRoot, "docker"))
  .filter((name) => name.endsWith("Dockerfile"))
  .map((name) => `docker/${name}`);
/** What is built to be run; the other stages are on the way there. */
const RUN = ["serve", "train", "serve-libtorch", "benchmark", "airflow", ""];
const images = DOCKERFILES.flatMap((file) =>
  stagesOf(file)
    .filter(({ name }) => RUN.includes(name))
    .map((stage) => ({ image: `${file} ${stage.name}`, stage })),
);

describe.each(DOCKERFILES)("%s", (file) => {
  test("starts from nothing but its own stages and versions by name", () => {
    const names = stagesOf(file).map(({ name }) => name);
    const defaults = instructionsOf(file).filter(({ name, value }) => name === "ARG" && /^\w+_IMAGE=/.test(value));
    expect(defaults.length).toBeGreaterThan(0);
    for (const { value } of defaults) expect(value.replace(/^\w+=/, "")).toMatch(PINNED);
    const known = [...names, ...defaults.map(({ value }) => `\${${value.split("=")[0]}}`)];
    for (const { from } of stagesOf(file)) expect(known).toContain(from);
  });

  test("fetches nothing but by package managers, and holds no secret", () => {
    for (const { name, value } of instructionsOf(file)) {
      expect(name).not.toBe("ADD");
      if (name === "RUN") expect(value).not.toMatch(/\b(curl|wget)\b/);
      if (name === "ENV" || name === "ARG") expect(value).not.toMatch(/PASSWORD|SECRET|TOKEN/);
    }
  });
});

test.each(images)("$image runs as a user that is not root, in the exec form", ({ stage }) => {
  expect(last(stage, "USER")).toMatch(stage.name === "airflow" ? /^airflow$/ : /^10001:0$/);
  const command = last(stage, "CMD");
  if (stage.name === "airflow") expect(command).toBeUndefined();
  else expect(JSON.parse(command!)).toEqual(expect.arrayContaining([expect.any(String)]));
  expect(stage.instructions.filter(({ name, value }) => name === "LABEL" && value.includes("image.title"))).not.toEqual(
    [],
  );
});

test("servers' images ask their server whether it is ready", () => {
  const probes = Object.fromEntries(images.map(({ image, stage }) => [image, last(stage, "HEALTHCHECK")]));
  for (const name of ["serve", "serve-libtorch"]) {
    expect(probes[`docker/Dockerfile ${name}`]).toContain("http://127.0.0.1:8080/readyz");
  }
  expect(probes["docker/tensorboard.Dockerfile "]).toContain("http://127.0.0.1:6006/");
});

test("versions are those of the package and of its Python environments", () => {
  const pinned = (file: string, name: string) => new RegExp(`^${name}==([\\w.]+)`, "m").exec(read(file))?.[1];
  const { version } = JSON.parse(read("package.json")) as { version: string };
  expect(read("docker/Dockerfile")).toContain(`\nARG VERSION=${version}\n`);
  expect(read("docker/Dockerfile")).toContain(
    `apache/airflow:${pinned("pipelines/requirements-airflow.txt", "apache-airflow")}-`,
  );
  expect(pinned("docker/requirements-tensorboard.txt", "tensorboard")).toBe(
    pinned("test/requirements.txt", "tensorboard"),
  );
});

describe("compose.yaml", () => {
  test("names versions, or images that it builds", () => {
    for (const [name, { image, build }] of all) {
      if (build === undefined) expect(image, name).toMatch(PINNED);
      else expect(image, name).toMatch(/^lenet5-libtorch:/);
      const { dockerfile, target = "" } = build ?? { dockerfile: "docker/Dockerfile", target: "serve" };
      expect(
        stagesOf(dockerfile).map((stage) => stage.name),
        name,
      ).toContain(target);
    }
  });

  test("takes capabilities from everybody and gives nobody more than the database needs", () => {
    for (const [name, service] of all) {
      expect(service, name).toMatchObject({ cap_drop: ["ALL"], security_opt: ["no-new-privileges:true"] });
      expect(service.privileged, name).toBeUndefined();
    }
    const given = all.filter(([, service]) => "cap_add" in service).map(([name]) => name);
    expect(given).toEqual(["postgres"]);
  });

  test("mounts Docker's socket in the profile that needs it, behind a filter", () => {
    const mounting = all.filter(([, { volumes = [] }]) => volumes.some((volume) => volume.includes("docker.sock")));
    expect(mounting.map(([name, { profiles }]) => [name, profiles])).toEqual([["docker-proxy", ["containers"]]]);
  });

  test("knows of each server whether it is well, and waits for it where another needs it", () => {
    const byImage = new Set(
      images.filter(({ stage }) => last(stage, "HEALTHCHECK")).map(({ image }) => image.replace(/ $/, "")),
    );
    const unknown = lasting.filter(([, { healthcheck, build }]) => {
      const own = build && byImage.has(`${build.dockerfile} ${build.target ?? ""}`.trimEnd());
      return healthcheck === undefined && !own;
    });
    expect(unknown.map(([name]) => name)).toEqual(["docker-proxy"]);
    for (const [name, { depends_on = {} }] of all) {
      for (const [other, { condition }] of Object.entries(depends_on)) {
        const ends = services[other]!.restart === "no";
        expect(condition, `${name} on ${other}`).toBe(ends ? "service_completed_successfully" : "service_healthy");
      }
    }
  });

  test("opens ports on the loopback address alone, those of the table in docs/containers.md", () => {
    const open = all.flatMap(([name, { ports = [] }]) =>
      ports.map((port) => {
        const [, outside, inside] = /^127\.0\.0\.1:(\d+):(\d+)$/.exec(port) ?? [];
        return [outside, name, inside];
      }),
    );
    const rows = [...read("docs/containers.md").matchAll(/^\| (\d+) \| `([\w-]+)` \| (\d+) \|/gm)];
    expect(rows.map(([, ...cells]) => cells).sort()).toEqual(open.sort());
    expect(new Set(open.map(([outside]) => outside)).size).toBe(open.length);
  });

  test("has no default for a secret, and .env.example names each of them, empty", () => {
    const named = [...read("compose.yaml").matchAll(/\$\{(\w+)(?::?([?-])([^}]*))?\}/g)];
    const secret = (name: string) => /PASSWORD|SECRET|KEY|TOKEN/.test(name);
    for (const [whole, name, kind] of named) if (secret(name!)) expect(kind, whole).toBe("?");
    const secrets = new Set(named.map(([, name]) => name!).filter(secret));
    expect([...secrets].sort()).toEqual(SECRETS);
    const example = [...read(".env.example").matchAll(/^(\w+)=(.*)$/gm)];
    const empty = example.filter(([, , value]) => value === "").map(([, name]) => name);
    expect(empty.sort()).toEqual(SECRETS);
    // And none in a value of its own.
    for (const [name, { environment = {} }] of all) {
      for (const [variable, value] of Object.entries(environment)) {
        if (secret(variable) && !variable.endsWith("_FILE"))
          expect(value, `${name}: ${variable}`).toMatch(/^\$\{\w+:\?/);
      }
    }
  });
});

const SECRETS = [
  "AIRFLOW_FERNET_KEY",
  "AIRFLOW_JWT_SECRET",
  "AIRFLOW_PASSWORD",
  "AIRFLOW_SECRET_KEY",
  "LENET5_MANAGEMENT_TOKEN",
  "POSTGRES_PASSWORD",
];

/** Debian's program, or the plugin of Docker's. */
const compose = [["docker-compose"], ["docker", "compose"]].find(
  ([program, ...words]) => spawnSync(program!, [...words, "version"]).status === 0,
);

describe.runIf(compose !== undefined || process.env.CI === "true")("docker-compose", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "lenet5-compose-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function config(variables: string[], ...words: string[]) {
    const file = join(folder, ".env");
    writeFileSync(file, variables.map((name) => `${name}=test-${name}\n`).join(""));
    const [program, ...before] = compose ?? ["docker-compose"];
    const options = ["--env-file", file, "--file", join(packageRoot, "compose.yaml"), ...words];
    const env = { PATH: process.env.PATH, HOME: folder };
    return spawnSync(program!, [...before, ...options, "config"], { encoding: "utf8", env });
  }

  test("takes compose.yaml, with the profile and without", () => {
    // Debian's names the services of a profile without it, too.
    expect(config(SECRETS)).toMatchObject({ status: 0, stderr: "" });
    const { status, stdout, stderr } = config(SECRETS, "--profile", "containers");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const names = Object.keys((parse(stdout) as { services: object }).services);
    expect(names.sort()).toEqual(all.map(([name]) => name).sort());
  });

  test.each(SECRETS)("refuses to go on without %s, and names it", (name) => {
    const { status, stdout, stderr } = config(SECRETS.filter((other) => other !== name));
    expect(status).not.toBe(0);
    expect(stdout).toBe("");
    expect(stderr).toContain(name);
    expect(stderr).toContain("set it in .env (see .env.example)");
  });
});

describe("npm run containers", () => {
  const run = (words: string[], env: NodeJS.ProcessEnv = process.env) =>
    spawnSync(process.execPath, [join(packageRoot, "scripts", "containers.mjs"), ...words], { encoding: "utf8", env });

  test("says what it does and takes", () => {
    const { status, stdout } = run(["--help"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Usage: npm run containers -- /);
  });

  test("refuses an option that it has not", () => {
    expect(run(["--keep"])).toMatchObject({ status: 1, stdout: "", stderr: expect.stringContaining("Usage: npm run") });
  });

  test.runIf(process.platform === "linux")("names the programs that are missing, and their packages", () => {
    const { status, stderr } = run([], { PATH: tmpdir() });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^Expected buildah, .*on the PATH .*\(Debian: apt-get install buildah .*\)\n$/);
  });

  test.runIf(process.platform === "linux")("refuses to be nobody in particular", () => {
    const folder = mkdtempSync(join(tmpdir(), "lenet5-programs-"));
    try {
      // Programs enough, of which none is run.
      for (const name of ["buildah", "debootstrap", "ip", "nsenter", "setpriv", "unshare"]) {
        writeFileSync(join(folder, name), "#!/bin/sh\nexit 64\n", { mode: 0o755 });
      }
      const become = "process.getuid = () => 1000; const [script] = process.argv.splice(1, 1); await import(script);";
      const words = ["--input-type=module", "--eval", become, join(packageRoot, "scripts", "containers.mjs")];
      const options = { encoding: "utf8", env: { PATH: folder } } as const;
      expect(spawnSync(process.execPath, words, options)).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/^Expected root, .* but this is user 1000\n$/),
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
