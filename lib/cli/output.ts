// What a command writes and where: results on stdout, everything else on stderr, `--json` one object at the end of stdout.
import type CliProgress from "cli-progress";
import type { SingleBar } from "cli-progress";
import { isStandardOutput } from "../file-place.js";
import { lazily } from "../lazily.js";
import { textTable } from "../text-table.js";
import { usageError } from "./failure.js";

const cliProgress = lazily<typeof CliProgress>("cli-progress");

/** Milliseconds between two progress lines where stderr is no terminal. */
const PLAIN_INTERVAL = 5_000;

/** The writing side of one command. */
export class Output {
  #stdoutIsTaken = false;

  /** @param json - whether the caller wants one JSON object and no prose on stdout */
  constructor(readonly json: boolean) {}

  /**
   * Keeps stdout clean where it is where `--output` goes (`lenet5 export --output /dev/stdout | …`): what people read then
   * goes to stderr.
   */
  async leaveStdoutTo(path: string | undefined): Promise<void> {
    this.#stdoutIsTaken = path !== undefined && (await isStandardOutput(path));
    if (this.#stdoutIsTaken && this.json)
      throw usageError("INVALID_OPTION", "a file (because of --json)", "--output", path);
  }

  /** A result for people, on stdout; nothing with `--json`. */
  print(text: string): void {
    if (!this.json) (this.#stdoutIsTaken ? process.stderr : process.stdout).write(`${text}\n`);
  }

  /** The result for machines: the last line of stdout with `--json`, else nothing. */
  finish(result: object): void {
    if (this.json) process.stdout.write(`${JSON.stringify(result, exact)}\n`);
  }

  /** A line of the log, on stderr. */
  log(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  /** Begins a progress display on stderr. */
  progress(title: string, total: number): Progress {
    return process.stderr.isTTY ? new BarProgress(title, total) : new PlainProgress(title, total);
  }
}

/** JSON has no integers beyond 2^53 that every reader takes, and no infinities: they become text. */
function exact(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}

/** A display of work under way. */
export interface Progress {
  /** @param value - how much of the total is done; `note` is shown behind it */
  update(value: number, note?: string): void;
  /** Removes the display. A second call does nothing. */
  stop(): void;
}

class BarProgress implements Progress {
  readonly #bar: SingleBar;
  #running = true;

  constructor(title: string, total: number) {
    const format = `${title} {bar} {percentage} % {note}`;
    // gracefulExit would put the library's own SIGINT handler before ours.
    const options = {
      format,
      stream: process.stderr,
      gracefulExit: false,
      clearOnComplete: true,
      fps: 15,
      barsize: 30,
    };
    const { SingleBar, Presets } = cliProgress();
    this.#bar = new SingleBar(options, Presets.shades_classic);
    this.#bar.start(Math.max(total, 1), 0, { note: "" });
  }

  update(value: number, note = ""): void {
    if (this.#running) this.#bar.update(value, { note });
  }

  stop(): void {
    if (this.#running) this.#bar.stop();
    this.#running = false;
  }
}

class PlainProgress implements Progress {
  #last = Date.now();

  constructor(
    readonly title: string,
    readonly total: number,
  ) {}

  update(value: number, note = ""): void {
    if (Date.now() - this.#last < PLAIN_INTERVAL) return;
    this.#last = Date.now();
    const share = Math.floor((100 * value) / Math.max(this.total, 1));
    process.stderr.write(`${this.title} ${share} % ${note}\n`);
  }

  stop(): void {}
}

/** Whether text for people on stdout may carry colours: a terminal, and no `NO_COLOR` (https://no-color.org). */
export function colours(): boolean {
  return process.stdout.isTTY === true && !process.env.NO_COLOR;
}

/** A table for people: the first column flush left, the others right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return textTable(rows, { head, colours: colours() });
}

/** `0.98912` → `98.91 %`. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

/** A whole number with thousands separated: `61,706`. */
export function grouped(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** A size in bytes for people: `241 KiB`. */
export function fileSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  const mebibytes = bytes / 2 ** 20;
  return mebibytes < 1 ? `${Math.round(bytes / 1024)} KiB` : `${mebibytes.toFixed(1)} MiB`;
}
