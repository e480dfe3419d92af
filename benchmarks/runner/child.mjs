// A system's process: requests go in as JSON lines, replies and events come out as such.
//
// Problem: libraries' threads spin for a while after a call, and an idle process may do work of its own; either would be
// charged to whoever is measured next. Resolution: a child is stopped (SIGSTOP, with its process group) as soon as it has
// replied, and continued only for its own request.
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

const alive = new Set();
process.on("exit", () => {
  for (const child of alive) child.kill();
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

export class Child {
  #process;
  #waiting;
  #events = [];
  #stderr = "";
  #ended;
  /** `performance.now()` of the moment before the process was started. */
  startedAt = performance.now();

  constructor(system, environment, { onEvent = () => {} } = {}) {
    this.name = system.name;
    // A process group of its own, so that workers it starts are stopped and ended with it.
    this.#process = spawn(system.command, system.args, {
      env: environment,
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    });
    alive.add(this);
    this.#process.stdin.on("error", () => {}); // a dead child is reported by its end
    this.#process.stderr.on("data", (chunk) => {
      this.#stderr = (this.#stderr + chunk).slice(-20_000);
    });
    createInterface({ input: this.#process.stdout }).on("line", (line) => {
      const at = performance.now();
      let message;
      try {
        message = JSON.parse(line);
      } catch {
        return; // a library's own print
      }
      if (message.event === undefined) this.#settle("resolve", { ...message, at });
      else if (message.event === "ready") this.#settle("resolve", { ...message, at });
      else onEvent({ ...message, at });
    });
    this.#ended = new Promise((resolve) => {
      const end = (why) => {
        alive.delete(this);
        this.#settle("reject", new Error(why));
        resolve();
      };
      this.#process.on("error", (error) => end(error.message));
      this.#process.on("close", (code, signal) => end(`the process ended with ${signal ?? code}${this.#lastWords()}`));
    });
  }

  get pid() {
    return this.#process.pid;
  }

  #lastWords() {
    const lines = this.#stderr.split("\n").filter((line) => line.trim() !== "");
    const telling = lines.findLast((line) => /error|cannot|failed/i.test(line)) ?? lines.at(-1);
    return telling === undefined ? "" : `: ${telling.trim().slice(0, 300)}`;
  }

  #settle(how, value) {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) {
      clearTimeout(waiting.timer);
      waiting[how](value);
    } else if (how === "resolve") this.#events.push(value);
  }

  #next(timeoutSeconds) {
    if (this.#events.length > 0) return Promise.resolve(this.#events.shift());
    if (!alive.has(this)) return Promise.reject(new Error("the process has ended"));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting = undefined;
        reject(new Error(`no reply within ${timeoutSeconds} s`));
      }, timeoutSeconds * 1000);
      this.#waiting = { resolve, reject, timer };
    });
  }

  /** Waits until the system has been imported; resolves with its versions. */
  async ready(timeoutSeconds = 120) {
    return this.#next(timeoutSeconds);
  }

  /** Sends a request and waits for its reply. Rejects when the system reports an error, ends or does not answer. */
  async request(message, timeoutSeconds = 300) {
    const reply = this.#next(timeoutSeconds);
    this.#process.stdin.write(`${JSON.stringify(message)}\n`);
    const { ok, error, ...members } = await reply;
    if (!ok) throw new Error(error);
    return members;
  }

  /** A request of a child that is otherwise stopped. */
  async turn(message, timeoutSeconds) {
    this.#signal("SIGCONT");
    await delay(5); // its threads wake before its clock runs
    try {
      return await this.request(message, timeoutSeconds);
    } finally {
      this.pause();
    }
  }

  pause() {
    this.#signal("SIGSTOP");
  }

  #signal(name) {
    try {
      process.kill(-this.#process.pid, name);
    } catch {
      // it has ended; the pending or next request says so
    }
  }

  /** Megabytes: what is resident now, and the most that ever was. */
  async memory() {
    const status = await readFile(`/proc/${this.pid}/status`, "utf8").catch(() => "");
    const megabytes = (key) => {
      const found = new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(status);
      return found === null ? null : Math.round(Number(found[1]) / 1024);
    };
    return { residentMB: megabytes("VmRSS"), peakResidentMB: megabytes("VmHWM") };
  }

  kill() {
    if (this.#process.pid !== undefined && alive.has(this)) this.#signal("SIGKILL");
  }

  /** Ends the process and waits until it is gone. */
  async end() {
    this.kill();
    await this.#ended;
  }
}
