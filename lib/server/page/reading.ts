// What the network reads: the digit, its probability, the bars, and words for those who listen.
import { element, make } from "./elements.js";

/** Milliseconds without a change after which the digit is read out. */
const SETTLED = 700;

/** The part of the page that shows an answer. */
export class Reading {
  readonly #digit = element("digit", HTMLElement);
  readonly #certainty = element("certainty", HTMLElement);
  readonly #runnerUp = element("runner-up", HTMLElement);
  readonly #took = element("took", HTMLElement);
  readonly #bars = element("bars", HTMLElement);
  readonly #spoken = element("spoken", HTMLElement);
  readonly #problem = element("problem", HTMLElement);
  readonly #seen = element("seen", HTMLCanvasElement);
  #rows: { row: HTMLElement; fill: HTMLElement; share: HTMLElement }[] = [];
  #names: readonly string[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    this.#nameBars(Array.from({ length: 10 }, (_, i) => String(i)));
  }

  /** Shows the probabilities of the classes. */
  show(probabilities: readonly number[], classNames: readonly string[], milliseconds: number): void {
    const names = probabilities.map((_, i) => classNames[i] ?? String(i));
    if (names.join("\n") !== this.#names.join("\n")) this.#nameBars(names);
    const order = probabilities.map((_, i) => i).sort((a, b) => probabilities[b]! - probabilities[a]!);
    const [best = 0, second = 0] = order;
    for (const [i, { row, fill, share }] of this.#rows.entries()) {
      fill.style.transform = `scaleX(${probabilities[i]})`;
      share.textContent = probabilities[i]! < 0.0005 ? "" : percent(probabilities[i]!);
      row.toggleAttribute("data-best", i === best);
    }
    this.#digit.textContent = names[best]!;
    this.#digit.toggleAttribute("data-empty", false);
    this.#digit.toggleAttribute("data-long", names[best]!.length > 2);
    this.#certainty.textContent = percent(probabilities[best]!);
    this.#runnerUp.textContent = `then ${names[second]}, ${percent(probabilities[second]!)}`;
    this.#took.textContent = `answered in ${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
    this.problem("");
    this.#say(`${names[best]}, ${percent(probabilities[best]!)}`);
  }

  /** Shows that there is nothing to read. */
  nothing(): void {
    for (const { row, fill, share } of this.#rows) {
      fill.style.transform = "scaleX(0)";
      share.textContent = "";
      row.toggleAttribute("data-best", false);
    }
    this.#digit.textContent = "?";
    this.#digit.toggleAttribute("data-empty", true);
    this.#digit.toggleAttribute("data-long", false);
    this.#certainty.textContent = "–";
    this.#runnerUp.textContent = "Nothing drawn yet";
    this.#took.textContent = "";
    this.#say("");
  }

  /** Shows what the network sees. */
  saw(pixels: Float32Array): void {
    const { width, height } = this.#seen;
    const image = new ImageData(width, height);
    for (const [i, ink] of pixels.entries()) image.data.set([255 * ink, 255 * ink, 255 * ink, 255], 4 * i);
    this.#seen.getContext("2d")!.putImageData(image, 0, 0);
  }

  /** Says what went wrong; "" that nothing did. */
  problem(text: string): void {
    this.#problem.hidden = text === "";
    if (this.#problem.textContent !== text) this.#problem.textContent = text;
  }

  #nameBars(names: readonly string[]): void {
    this.#names = names;
    this.#rows = names.map((name) => {
      const row = make("li", "");
      const track = make("span", "track");
      const fill = make("span", "fill");
      const share = make("span", "share");
      track.append(fill);
      row.append(make("span", "name", name), track, share);
      return { row, fill, share };
    });
    this.#bars.replaceChildren(...this.#rows.map(({ row }) => row));
  }

  /** Not each of the sixty answers a second, but the one at which it stays. */
  #say(text: string): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#spoken.textContent !== text) this.#spoken.textContent = text;
    }, SETTLED);
  }
}

/** No more certain than the network can be. */
function percent(share: number): string {
  if (share > 0.9995) return "> 99.9 %";
  return share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}
