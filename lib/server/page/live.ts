// What the server does now: requests a second over the last minute.
import { count, element } from "./elements.js";
import type { Server } from "./server.js";

/** Milliseconds between two looks. */
const INTERVAL = 1000;
/** Looks that the curve shows. */
const LENGTH = 60;
/** The drawing's size, which index.html says. */
const [WIDTH, HEIGHT] = [300, 72];

/** The part of the page that shows throughput. */
export class Live {
  readonly #server: Server;
  readonly #connection = element("connection", HTMLElement);
  readonly #rate = element("rate", HTMLElement);
  readonly #total = element("total", HTMLElement);
  readonly #waiting = element("waiting", HTMLElement);
  readonly #peak = element("peak", HTMLElement);
  readonly #line = element("line", SVGPolylineElement);
  readonly #area = element("area", SVGPolygonElement);
  #rates: number[] = [];
  #last: { at: number; requests: number } | undefined;

  constructor(server: Server) {
    this.#server = server;
  }

  /** Looks once a second, as long as somebody sees it. */
  async start(): Promise<void> {
    for (;;) {
      if (!document.hidden) await this.#look();
      else this.#last = undefined;
      await new Promise((resolve) => setTimeout(resolve, INTERVAL));
    }
  }

  async #look(): Promise<void> {
    try {
      const { requests, waiting, ready } = await this.#server.status();
      const at = performance.now();
      if (this.#last !== undefined) {
        // A server that was started anew counts from nothing.
        const answered = Math.max(0, requests - this.#last.requests);
        this.#rates = [...this.#rates, (1000 * answered) / (at - this.#last.at)].slice(-LENGTH);
      }
      this.#last = { at, requests };
      this.#rate.textContent = count(this.#rates.at(-1) ?? 0);
      this.#total.textContent = count(requests);
      this.#waiting.textContent = count(waiting);
      const peak = Math.max(0, ...this.#rates);
      this.#peak.textContent = peak < 1 ? "the last minute" : `the last minute, at most ${count(peak)} a second`;
      this.#draw();
      this.#say(ready ? "good" : "", ready ? "Ready" : "Loading models");
    } catch {
      this.#last = undefined;
      this.#say("bad", "No answer from the server");
    }
  }

  #say(state: string, text: string): void {
    this.#connection.dataset.state = state;
    if (this.#connection.textContent !== text) this.#connection.textContent = text;
  }

  #draw(): void {
    const most = Math.max(10, ...this.#rates);
    const step = WIDTH / (LENGTH - 1);
    const first = LENGTH - this.#rates.length;
    const points = this.#rates.map((rate, i) => {
      const y = HEIGHT - 3 - (rate / most) * (HEIGHT - 8);
      return `${((first + i) * step).toFixed(1)},${y.toFixed(1)}`;
    });
    this.#line.setAttribute("points", points.join(" "));
    const closed = points.length < 2 ? [] : [...points, `${WIDTH},${HEIGHT}`, `${(first * step).toFixed(1)},${HEIGHT}`];
    this.#area.setAttribute("points", closed.join(" "));
  }
}
