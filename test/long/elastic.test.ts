// Elastic training as torchrun has it: one of two machines is lost, and the run goes on from its checkpoint with the other.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { CHECKPOINT_NAME, checkpointEpoch } from "../../lib/lenet5/checkpoint.js";
import { line, MAIN, temporaryFolder } from "../cli/lenet5.js";
import { freePort } from "../free-ports.js";
import { describeWithPython, pythonPath } from "../python.js";

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** An agent and its rank end at once. The rank is of no group of the agent's: torchrun starts each in a session of its own. */
function loseMachine(agent: ChildProcess): void {
  const ranks = readFileSync(`/proc/${agent.pid}/task/${agent.pid}/children`, "utf8").trim().split(" ").filter(Boolean);
  for (const pid of [agent.pid!, ...ranks.map(Number)]) process.kill(pid, "SIGKILL");
}

describeWithPython(
  "elastic training",
  () => {
    test("goes on from the last checkpoint with another number of ranks", { timeout: 300_000 }, async () => {
      const folder = temporaryFolder();
      const checkpoints = join(folder, "checkpoints");
      const port = await freePort();
      const launcher = [
        ...line`-m torch.distributed.run --nnodes 1:2 --nproc-per-node 1 --max-restarts 3 --rdzv-backend c10d`,
        ...line`--rdzv-endpoint ${`127.0.0.1:${port}`} --rdzv-id lenet5 --rdzv-conf last_call_timeout=5`,
        ...line`--monitor-interval 0.5 --no-python ${process.execPath} ${MAIN}`,
      ];
      const training = line`train --distributed --resume auto --checkpoint-dir ${checkpoints} --data synthetic
        --synthetic-count 4000 --epochs 300 --seed 3 --distributed-timeout 30 --output ${join(folder, "model.pt")} --json`;
      const start = (): { agent: ChildProcess; printed: { out: string; err: string } } => {
        const agent = spawn(pythonPath!, [...launcher, ...training], { stdio: ["ignore", "pipe", "pipe"] });
        const printed = { out: "", err: "" };
        agent.stdout!.setEncoding("utf8").on("data", (text: string) => {
          printed.out += text;
        });
        agent.stderr!.setEncoding("utf8").on("data", (text: string) => {
          printed.err += text;
        });
        onTestFinished(() => {
          if (agent.exitCode === null && agent.signalCode === null) loseMachine(agent);
        });
        return { agent, printed };
      };
      const first = start();
      const firstEnd = once(first.agent, "close");
      // Who comes first keeps the store of the rendezvous: that must not be the one that is lost.
      while (!(await listens(port))) await wait(100);
      const second = start();
      while (!existsSync(join(checkpoints, CHECKPOINT_NAME))) {
        expect(first.agent.exitCode, first.printed.err).toBeNull();
        await wait(100);
      }
      await wait(1000);
      const before = (await checkpointEpoch(checkpoints))!;
      loseMachine(second.agent);
      const [status] = await firstEnd;
      expect(status, first.printed.err).toBe(0);
      const { epochs } = JSON.parse(first.printed.out.trim().split("\n").at(-1)!);
      expect(epochs[0].epoch).toBeGreaterThanOrEqual(before);
      expect(epochs[0].epoch).toBeGreaterThan(1);
      expect(epochs.at(-1).epoch).toBe(300);
      expect(existsSync(join(folder, "model.pt"))).toBe(true);
    });
  },
  300_000,
);
