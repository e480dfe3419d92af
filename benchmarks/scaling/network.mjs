// Networks between the ranks: the bare machine, and namespaces with a bridge whose ends are shaped by `tc`.
//
// Each rank's namespace sends through netem (delay, and a rate). A kernel without netem gets a relay in place of the bridge
// (relay.c), which does the same. What came of it is measured (probe.mjs).
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { NETWORKS, RELAY } from "./model.mjs";

const PREFIX = "lenet5r";
const HUB = "lenet5hub";
const PROBE_PORT = 29_499;
const here = dirname(fileURLToPath(import.meta.url));

/** Carries a command out, given as words in one text. */
const run = (text) => {
  const [command, ...words] = text.split(" ");
  return execFileSync(command, words, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
};
const succeeds = (text) => {
  try {
    run(text);
    return true;
  } catch {
    return false;
  }
};

const BARE = { name: "bare", master: "127.0.0.1", place: () => ({ prefix: [], environment: {} }) };

/** Why this machine cannot shape networks; undefined where it can. */
function cannotShape() {
  if (process.platform !== "linux" || process.getuid() !== 0) return "shaping networks needs root on Linux";
  for (const tool of ["ip", "tc"]) if (!succeeds(`${tool} -V`)) return `${tool} (Debian: iproute2) is not installed`;
  if (!succeeds("ip netns list")) return "this kernel has no network namespaces";
  if (hasNetem()) return undefined;
  if (!succeeds("ethtool --version")) return "this kernel has no netem, and ethtool is not installed";
  return succeeds("cc --version") ? undefined : "this kernel has no netem, and there is no compiler for what stands in";
}

/** Whether the kernel has netem, by asking for it. */
function hasNetem() {
  const space = `${HUB}-tried`;
  run(`ip netns add ${space}`);
  try {
    return succeeds(`ip netns exec ${space} tc qdisc add dev lo root netem delay 1ms`);
  } finally {
    run(`ip netns del ${space}`);
  }
}

function cleanUp(most) {
  for (let rank = 0; rank < most; rank += 1) succeeds(`ip netns del ${PREFIX}${rank}`);
  succeeds(`ip netns del ${HUB}`);
}

async function shaped(name, size) {
  const { delay, bandwidth } = NETWORKS[name];
  const netem = hasNetem();
  cleanUp(size);
  run(`ip netns add ${HUB}`);
  const ports = Array.from({ length: size }, (_, rank) => `p${rank}`);
  for (const [rank, port] of ports.entries()) {
    const space = `${PREFIX}${rank}`;
    const inside = (text) => run(`ip netns exec ${space} ${text}`);
    run(`ip netns add ${space}`);
    run(`ip link add eth0 netns ${space} mtu 9000 type veth peer name ${port} netns ${HUB} mtu 9000`);
    inside(`ip addr add 10.77.0.${rank + 1}/24 dev eth0`);
    inside("ip link set eth0 up");
    inside("ip link set lo up");
    run(`ip netns exec ${HUB} ip link set ${port} up`);
    if (netem) {
      inside(`tc qdisc add dev eth0 root netem delay ${delay * 1e6}us rate ${(bandwidth * 8) / 1e6}mbit limit 100000`);
    } else {
      // Frames as they are on a wire: the relay neither splits them nor finishes their checksums.
      for (const feature of ["tx", "tso", "gso", "gro"]) inside(`ethtool -K eth0 ${feature} off`);
    }
  }
  const folder = mkdtempSync(join(tmpdir(), "lenet5-relay-"));
  let relay;
  if (netem) {
    const hub = (text) => run(`ip netns exec ${HUB} ip link ${text}`);
    hub("add br0 mtu 9000 type bridge");
    for (const port of ports) hub(`set ${port} master br0`);
    hub("set br0 up");
  } else {
    const program = join(folder, "relay");
    run(`cc -O2 -o ${program} ${join(here, "relay.c")}`);
    relay = spawn("ip", ["netns", "exec", HUB, program, String(delay * 1e6), String(bandwidth), ...ports], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(relay.stdout, "data");
  }
  return {
    name,
    master: "10.77.0.1",
    shapedBy: netem ? "netem" : RELAY,
    place: (rank) => ({
      prefix: ["ip", "netns", "exec", `${PREFIX}${rank}`],
      environment: { GLOO_SOCKET_IFNAME: "eth0" },
    }),
    async end() {
      if (relay !== undefined) {
        const closed = once(relay, "close");
        relay.kill("SIGKILL");
        await closed;
      }
      rmSync(folder, { recursive: true, force: true });
      cleanUp(size);
    },
  };
}

/** What a network's delay and rate are as two processes see them. */
async function probed(network) {
  const start = (rank, ...words) => {
    const [command, ...rest] = [...network.place(rank).prefix, process.execPath, join(here, "probe.mjs"), ...words];
    return spawn(command, rest, { stdio: ["ignore", "pipe", "inherit"], timeout: 60_000 });
  };
  const server = start(0, "serve", String(PROBE_PORT));
  const served = once(server, "close");
  await once(server.stdout, "data");
  const asker = start(1, "ask", network.master, String(PROBE_PORT));
  const [said] = await once(asker.stdout, "data");
  await served;
  return JSON.parse(said);
}

/** Each network that was asked for, set up while it is used; those that cannot be had are said and left out. */
export async function* inNetworks(names, size, say) {
  const bare = await probed(BARE);
  for (const name of names ?? Object.keys(NETWORKS)) {
    if (NETWORKS[name] === undefined) throw new Error(`--networks ${name}: one of ${Object.keys(NETWORKS).join(", ")}`);
    if (name === "bare") {
      yield { ...BARE, ...NETWORKS.bare };
      continue;
    }
    const why = cannotShape();
    if (why !== undefined) {
      say(`absent: ${name}: ${why}`);
      continue;
    }
    const network = await shaped(name, Math.max(size, 2));
    try {
      const { latency, bandwidth } = await probed(network);
      // What two processes of this machine take to wake each other is no delay of the network.
      const delay = Math.max(0, latency - bare.latency);
      say(
        `${name}: shaped by ${network.shapedBy}; measured ${(delay * 1e3).toFixed(3)} ms and ${((bandwidth * 8) / 1e9).toFixed(2)} Gbit/s`,
      );
      yield { ...network, delay, bandwidth };
    } finally {
      await network.end();
    }
  }
}
