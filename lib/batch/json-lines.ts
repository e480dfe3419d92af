// One JSON object a line and image (https://jsonlines.org).
import type { Answers, Chunk, Columns, Encoder } from "./answers.js";

/** Writes JSON Lines. */
export class JsonLinesEncoder implements Encoder {
  readonly #columns: Columns;
  /** The class names as JSON has them. */
  readonly #names: readonly string[];

  constructor(columns: Columns) {
    this.#columns = columns;
    this.#names = columns.classNames.map((name) => JSON.stringify(name));
  }

  add(answers: Answers): Chunk[] {
    let text = "";
    for (let image = 0; image < answers.count; image++)
      text += `{${this.#image(answers, image)},${this.#answer(answers, image)}}\n`;
    return [{ bytes: Buffer.from(text), images: answers.count, unreadable: answers.unreadable.size }];
  }

  end(): Chunk {
    return { bytes: Buffer.alloc(0), images: 0, unreadable: 0 };
  }

  #image({ names, first }: Answers, image: number): string {
    return names === undefined ? `"index":${first + image}` : `"file":${JSON.stringify(names[image])}`;
  }

  #answer({ unreadable, labels, probabilities, top }: Answers, image: number): string {
    const error = unreadable.get(image);
    if (error !== undefined) return `"error":${JSON.stringify(error.code)},"message":${JSON.stringify(error.message)}`;
    const classes = this.#names.length;
    const label = labels[image]!;
    const row = probabilities.subarray(image * classes, (image + 1) * classes);
    const all = this.#columns.probabilities ? `,"probabilities":[${Array.from(row, numeral).join(",")}]` : "";
    const best = top === undefined ? "" : `,"top":${JSON.stringify(top[image], exact)}`;
    return `"label":${label},"className":${this.#names[label]},"probability":${numeral(row[label]!)}${all}${best}`;
  }
}

/** A number as JSON has it; what it has none for, the answers of a model with NaN in it, as text. */
function numeral(value: number): string {
  return Number.isFinite(value) ? String(value) : `"${value}"`;
}

function exact(_: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}
