// The seeded random numbers of the data room: shuffles, splits and synthetic digits repeat from a seed on every
// platform. Not for secrets, and not the generator of training, which is libtorch's or the kernels' own.

/** A small seeded generator: Mulberry32 (Tommy Ettinger, public domain) over a 32-bit state. */
export class Random {
  #state: number;

  /**
   * @param seed - any safe integer
   * @param stream - number of an independent stream of the same seed
   */
  constructor(seed: number, stream = 0) {
    // Seeds and streams are small neighbouring numbers: mixing keeps their sequences apart.
    const high = Math.floor(seed / 0x1_0000_0000) | 0;
    this.#state = mix(mix(mix(seed | 0) ^ high) ^ mix(stream + 0x9e3779b9));
  }

  /** Uniform in [0, 1), with 32 bits of resolution. */
  uniform(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  /** Uniform in [low, high). */
  between(low: number, high: number): number {
    return low + (high - low) * this.uniform();
  }

  /** A uniform integer in [0, limit). */
  integer(limit: number): number {
    return Math.floor(this.uniform() * limit);
  }

  /** Roughly normal with mean 0 and variance 1, never beyond ±3.46: the sum of four uniforms (Irwin–Hall). */
  normal(): number {
    const sum = this.uniform() + this.uniform() + this.uniform() + this.uniform();
    return (sum - 2) * Math.sqrt(3);
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.uniform() < probability;
  }

  /** Shuffles in place (Fisher–Yates) and returns the same array. */
  shuffle<T extends { length: number; [index: number]: number }>(items: T): T {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      const held = items[i]!;
      items[i] = items[j]!;
      items[j] = held;
    }
    return items;
  }
}

/** The finaliser of MurmurHash3: every bit of the input reaches every bit of the output. */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
