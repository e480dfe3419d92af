// A rolling update as Kubernetes does one, of real server processes behind a real load balancer, under load: nothing is lost.
//
// HAProxy stands for whatever sends requests to the endpoints of a Service. As there, it does not look for itself whether a server is
// well: it is told, by its own control socket, when a new one is ready, and that an old one is going some time after SIGTERM was sent,
// which is the order that costs requests. It tries nothing twice, so that nothing hides a loss.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { exportSafetensors, LeNet5, syntheticDigits } from "../../lib/index.js";
import { temporaryFolder } from "../cli/lenet5.js";
import { freePort } from "../free-ports.js";
import { Client } from "../server/grpc/client.js";
import { cleanUp, emptyRepository, placeFile } from "../server/models.js";
import { type ServeProcess, serveProcess } from "../server/serve-process.js";

const PATHS = [process.env.LENET5_HAPROXY, "/usr/sbin/haproxy", "/usr/local/sbin/haproxy", "/usr/bin/haproxy"];
const haproxy = PATHS.find((path) => path !== undefined && existsSync(path));

/** Places for servers in the load balancer: three, and one more for the newest. */
const SLOTS = ["a", "b", "c", "d"];
/** From SIGTERM to the moment at which the load balancer knows. */
const PROPAGATION = 400;
const DELAY = 1000;
const DRAIN = 5000;
const IMAGES = 32;

interface Digits {
  /** The model's file. */
  file: string;
  pixels: Float32Array[];
  labels: number[];
}

const folder = mkdtempSync(join(tmpdir(), "lenet5-rolling-update-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let digits: Digits;
beforeAll(async () => {
  const { train, test: drawn } = await syntheticDigits.load({ trainCount: 4000, testCount: IMAGES, seed: 7 });
  const model = new LeNet5({ seed: 7, device: "cpu", engine: "fused" });
  await model.fit(train, { epochs: 3 });
  const file = join(folder, "model.safetensors");
  await exportSafetensors(model, file);
  const labels = Array.from(model.predictSync(drawn.images).labels);
  // Enough of them are right, and none is the answer to everything.
  expect(labels.filter((label, i) => label === drawn.labels[i]).length).toBeGreaterThan(IMAGES * 0.8);
  const pixels = labels.map((_, i) => Float32Array.from(drawn.images.subarray(784 * i, 784 * (i + 1)), (x) => x / 255));
  digits = { file, pixels, labels };
}, 120_000);

/** HAProxy with nothing behind it yet. */
class LoadBalancer {
  private constructor(
    readonly child: ChildProcess,
    readonly http: number,
    readonly grpc: number,
    private readonly control: string,
  ) {}

  static async start(): Promise<LoadBalancer> {
    const folder = temporaryFolder();
    const [http, grpc] = [await freePort(), await freePort()];
    const control = join(folder, "control.sock");
    const file = join(folder, "haproxy.cfg");
    const slots = (more: string) => SLOTS.map((name) => `  server ${name} 127.0.0.1:1 ${more} disabled`).join("\n");
    writeFileSync(
      file,
      `global
  stats socket ${control} mode 600 level admin
  nbthread 1
  hard-stop-after 1s
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  retries 0
  balance roundrobin
frontend http
  bind 127.0.0.1:${http}
  default_backend http
backend http
${slots("")}
frontend grpc
  bind 127.0.0.1:${grpc} proto h2
  default_backend grpc
backend grpc
${slots("proto h2")}
`,
    );
    if (haproxy === undefined)
      throw new Error("No HAProxy: install it (Debian: apt-get install haproxy), or set LENET5_HAPROXY");
    const child = spawn(haproxy, ["-db", "-f", file], { stdio: ["ignore", "ignore", "pipe"] });
    onTestFinished(() => {
      child.kill("SIGKILL");
    });
    let said = "";
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    for (let i = 0; !existsSync(control); i++) {
      if (child.exitCode !== null || i > 500) throw new Error(`HAProxy did not start: ${said}`);
      await wait(20);
    }
    return new LoadBalancer(child, http, grpc, control);
  }

  /** A command for the control socket. */
  private async tell(command: string): Promise<void> {
    const socket = connect(this.control);
    socket.end(`${command}\n`);
    let answer = "";
    for await (const piece of socket.setEncoding("utf8")) answer += piece;
    // A change of address is told of, of a state nothing is said; all else is what was wrong.
    if (!/^\s*((no need to change|IP changed|port changed).*\s*)?$/.test(answer))
      throw new Error(`HAProxy answered ${JSON.stringify(command)} with ${JSON.stringify(answer)}`);
  }

  /** There is a new endpoint. */
  async add(slot: string, pod: ServeProcess): Promise<void> {
    for (const [backend, port] of [
      ["http", new URL(pod.url).port],
      ["grpc", pod.grpcPort],
    ]) {
      await this.tell(`set server ${backend}/${slot} addr 127.0.0.1 port ${port}`);
      await this.tell(`set server ${backend}/${slot} state ready`);
    }
  }

  /** An endpoint is gone: nothing new goes there, what is under way goes on. */
  async remove(slot: string): Promise<void> {
    for (const backend of ["http", "grpc"]) await this.tell(`set server ${backend}/${slot} state maint`);
  }
}

/** A server that is ready, as its readiness probe finds it. */
async function pod(delay = DELAY): Promise<ServeProcess> {
  const folder = await emptyRepository();
  await placeFile(folder, "digits", "1", "model.safetensors", digits.file);
  const started = await serveProcess(
    ...["--model-repository", folder, "--port", "0", "--grpc-port", "0", "--threads", "1", "--poll-interval", "0"],
    ...["--shutdown-delay", String(delay), "--drain-timeout", String(DRAIN)],
  );
  expect((await fetch(`${started.url}/readyz`)).status).toBe(200);
  return started;
}

/** Clients that ask without a pause worth the name, until they are told to stop. */
class Load {
  readonly lost: string[] = [];
  /** Right answers, by the way they were asked for. */
  readonly answered = { kept: 0, fresh: 0, grpc: 0 };
  #isOver = false;
  readonly #work: Promise<void>[] = [];
  readonly #close: () => void;

  constructor({ http, grpc }: LoadBalancer) {
    const agent = new Agent({ keepAlive: true });
    const client = new Client(grpc);
    this.#close = () => {
      agent.destroy();
      client.close();
    };
    const bodies = digits.pixels.map((pixels) =>
      JSON.stringify({
        inputs: [{ name: "input0", shape: [1, 1, 28, 28], datatype: "FP32", data: Array.from(pixels) }],
        outputs: [{ name: "label" }],
      }),
    );
    const overHttp = (keep: boolean) => async (n: number) => label(await post(http, bodies[n]!, keep ? agent : false));
    for (let i = 0; i < 8; i++) this.#add("kept", overHttp(true));
    for (let i = 0; i < 4; i++) this.#add("fresh", overHttp(false));
    for (let i = 0; i < 4; i++) this.#add("grpc", (n) => call(client, n));
  }

  #add(way: keyof Load["answered"], ask: (n: number) => Promise<number>): void {
    const work = async (): Promise<void> => {
      for (let n = this.#work.length; !this.#isOver; n = (n + 7) % IMAGES) {
        try {
          const answer = await ask(n);
          if (answer === digits.labels[n]) this.answered[way] += 1;
          else this.lost.push(`${way}: ${answer} for image ${n}`);
        } catch (error) {
          this.lost.push(`${way}: ${(error as Error).message}`);
          await wait(20);
        }
        await wait(5);
      }
    };
    this.#work.push(work());
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#work);
    this.#close();
  }
}

function post(port: number, body: string, agent: Agent | false): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, path: "/v2/models/digits/infer", method: "POST", agent };
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const sent = request({ ...options, headers, timeout: 20_000 }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      response.on("error", reject).on("end", () => {
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`${response.statusCode} ${text.slice(0, 120)}`));
      });
    });
    sent.on("timeout", () => sent.destroy(new Error("no answer within 20 s")));
    sent.on("error", reject).end(body);
  });
}

async function call(client: Client, n: number): Promise<number> {
  const reply = await client.call("ModelInfer", {
    model_name: "digits",
    inputs: [{ name: "input0", datatype: "FP32", shape: [1, 1, 28, 28] }],
    outputs: [{ name: "label" }],
    raw_input_contents: [Buffer.from(digits.pixels[n]!.buffer)],
  });
  return Number((reply.raw_output_contents[0] as Buffer).readBigInt64LE());
}

function label(text: string): number {
  return (JSON.parse(text) as { outputs: [{ name: string; data: [number] }] }).outputs[0].data[0];
}

interface Cluster {
  balancer: LoadBalancer;
  pods: Map<string, ServeProcess>;
  load: Load;
}

/** Three servers behind the load balancer, under load. */
async function cluster(delay?: number): Promise<Cluster> {
  const balancer = await LoadBalancer.start();
  const started = await Promise.all(SLOTS.slice(0, 3).map(async (slot) => [slot, await pod(delay)] as const));
  for (const [slot, each] of started) await balancer.add(slot, each);
  const load = new Load(balancer);
  onTestFinished(() => load.end());
  await wait(300);
  expect(load.lost).toEqual([]);
  return { balancer, pods: new Map(started), load };
}

/** The end of a pod: the signal at once, the endpoint later. */
async function terminate({ balancer, pods }: Cluster, slot: string): Promise<ServeProcess> {
  const going = pods.get(slot)!;
  going.child.kill("SIGTERM");
  await wait(PROPAGATION);
  await balancer.remove(slot);
  pods.delete(slot);
  return going;
}

afterEach(cleanUp);

describe.runIf(haproxy !== undefined || process.env.CI === "true")("three servers behind HAProxy, under load", () => {
  test("are replaced one after the other, and every request is answered rightly", { timeout: 120_000 }, async () => {
    const all = await cluster();
    const { balancer, pods, load } = all;
    const old = [...pods.values()];
    let free = SLOTS.at(-1)!;
    for (const slot of SLOTS.slice(0, 3)) {
      const next = await pod();
      await balancer.add(free, next);
      pods.set(free, next);
      const begun = performance.now();
      const going = await terminate(all, slot);
      // Between the signal and the end it says that it is not ready, to whoever still asks.
      expect((await fetch(`${going.url}/readyz`)).status).toBe(503);
      expect(await going.ended).toEqual([0, null]);
      const took = performance.now() - begun;
      expect(took).toBeGreaterThan(DELAY - 50);
      expect(took).toBeLessThan(DELAY + DRAIN);
      free = slot;
    }
    await wait(300);
    await load.end();
    console.log(`answered during the update: ${JSON.stringify(load.answered)}`);
    expect(load.lost).toEqual([]);
    for (const count of Object.values(load.answered)) expect(count).toBeGreaterThan(100);
    expect(old.every(({ child }) => child.exitCode === 0)).toBe(true);
    expect(pods.size).toBe(3);
  });

  test("lose requests without the delay, which is what it is there for", { timeout: 60_000 }, async () => {
    const all = await cluster(0);
    const going = await terminate(all, "a");
    expect(await going.ended).toEqual([0, null]);
    await all.load.end();
    expect(all.load.lost.length).toBeGreaterThan(0);
  });

  test("lose requests where one is killed", { timeout: 60_000 }, async () => {
    const { pods, load } = await cluster();
    pods.get("a")!.child.kill("SIGKILL");
    await wait(PROPAGATION);
    await load.end();
    expect(load.lost.length).toBeGreaterThan(0);
  });
});

test("a client of gRPC that spreads its calls itself loses none to a server that goes", {
  timeout: 60_000,
}, async () => {
  // As of a Service without an address of its own: the name has the addresses of all pods, and goes on having an old one for a while.
  const [going, staying] = await Promise.all([pod(300), pod(300)]);
  const service_config = JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] });
  const addresses = [going, staying].map(({ grpcPort }) => `127.0.0.1:${grpcPort}`);
  const client = new Client(`ipv4:${addresses.join(",")}`, { "grpc.service_config": service_config });
  let isOver = false;
  let answered = 0;
  const work = async (_: unknown, n: number): Promise<void> => {
    while (!isOver) {
      expect(await call(client, n)).toBe(digits.labels[n]);
      answered += 1;
    }
  };
  const all = Promise.all(Array.from({ length: 8 }, work));
  await wait(300);
  const before = await requestsOf(going);
  going.child.kill("SIGTERM");
  expect(await going.ended).toEqual([0, null]);
  const then = answered;
  await wait(300);
  isOver = true;
  await all;
  client.close();
  expect(before).toBeGreaterThan(0);
  expect(answered).toBeGreaterThan(then);
});

/** How many calls of gRPC a server has counted. */
async function requestsOf({ url }: ServeProcess): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^lenet5_requests_total\{protocol="open-inference-grpc".*\} (\d+)$/m.exec(text)?.[1]);
}
