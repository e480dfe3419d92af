// A server's process: started, asked until it answers rightly, stopped while another is measured, ended with all its
// workers.
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const alive = new Set();
process.on("exit", () => {
  for (const server of alive) server.signal("SIGKILL");
});

export class ServerProcess {
  #process;
  #output = "";
  #code;

  constructor(command, args, options = {}) {
    // A group of its own, so that workers are stopped and ended with it.
    this.#process = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], detached: true, ...options });
    alive.add(this);
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.on("data", (chunk) => {
        this.#output = (this.#output + chunk).slice(-20_000);
      });
    }
    this.#process.on("error", (error) => {
      this.#code = error.message;
    });
    this.#process.on("exit", (code, signal) => {
      this.#code = signal ?? code;
    });
  }

  signal(name) {
    try {
      process.kill(-this.#process.pid, name);
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
  }

  pause() {
    this.signal("SIGSTOP");
  }

  resume() {
    this.signal("SIGCONT");
  }

  /** Waits until `probe` gives something; its errors are those of a server that is not there yet. */
  async until(probe, seconds = 120) {
    const deadline = performance.now() + seconds * 1000;
    let last = "nothing";
    while (performance.now() < deadline) {
      if (this.#code !== undefined) break;
      try {
        const found = await probe(this.#output);
        if (found) return found;
      } catch (error) {
        last = error.message;
      }
      await delay(100);
    }
    throw new Error(`the server is not ready (${last}; ended: ${this.#code ?? "no"}): ${this.#output.slice(-500)}`);
  }

  async end() {
    this.resume();
    this.signal("SIGTERM");
    const deadline = performance.now() + 15_000;
    while (this.#code === undefined && performance.now() < deadline) await delay(50);
    this.signal("SIGKILL");
    alive.delete(this);
  }
}

/** Ports of the loopback that were free a moment ago, all different. */
export async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.once("listening", resolve))));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
