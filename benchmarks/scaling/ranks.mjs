// Starts the ranks of one training as processes, with the variables that torchrun sets, and collects what each printed.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { pythonExecutable, systems } from "../runner/paths.mjs";
import { freePorts } from "../runner/serving/server-process.mjs";

/** A training of this package's, as a command. */
export function ours(task) {
  return { command: process.execPath, args: [join(systems, "lenet5_distributed.mjs"), JSON.stringify(task)] };
}

/** One by PyTorch's DistributedDataParallel. */
export function pytorch(task) {
  return { command: pythonExecutable, args: [join(systems, "pytorch_distributed.py"), JSON.stringify(task)] };
}

/** Runs so many ranks to their end, each in its place of the network; resolves with the JSON that each printed last. */
export async function trainTogether({ command, args }, size, network) {
  const [port] = await freePorts(1);
  // The task says how many threads a rank has.
  const { OMP_NUM_THREADS: _, ...inherited } = process.env;
  const runs = Array.from({ length: size }, async (_, rank) => {
    const place = network.place(rank);
    const [program, ...words] = [...place.prefix, command, ...args];
    const child = spawn(program, words, {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 600_000,
      killSignal: "SIGKILL",
      env: {
        ...inherited,
        ...{ RANK: String(rank), WORLD_SIZE: String(size) },
        ...{ MASTER_ADDR: network.master, MASTER_PORT: String(port), ...place.environment },
      },
    });
    let out = "";
    let err = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      out += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      err += text;
    });
    const [status] = await once(child, "close");
    if (status !== 0) throw new Error(`rank ${rank} of ${size} ended with ${status}: ${err.slice(-2000)}`);
    return JSON.parse(out.trim().split("\n").at(-1));
  });
  return await Promise.all(runs);
}
