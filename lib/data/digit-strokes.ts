// How people write the digits 0 to 9: one list of variants a digit, each a few pen strokes.
//
// Coordinates lie on a grid 10 wide and 14 high, y downwards. A stroke is a flat list x, y, x, y, … of points that a
// smooth curve passes through in this order; a point given twice in a row is a corner. Sizes need not agree between
// variants: every digit is scaled into the same box afterwards.

/** One way of writing a digit. */
export interface DigitVariant {
  /** How often it is chosen, relative to the digit's other variants. */
  weight: number;
  /** Pen strokes, each x, y, x, y, … */
  strokes: readonly (readonly number[])[];
  /** Share of its own width by which it is usually written wider (above 1) or narrower. @defaultValue 1 */
  width?: number;
}

/** Variants of each digit, by the digit. */
export const DIGIT_STROKES: readonly (readonly DigitVariant[])[] = [
  // 0
  [
    // closed oval, begun at the top
    { weight: 5, width: 1.25, strokes: [[5, 0, 2, 2.2, 0.8, 7, 2, 11.8, 5, 14, 8, 11.8, 9.2, 7, 8, 2.2, 5, 0]] },
    // begun right of the top, ends crossing the start
    {
      weight: 3,
      width: 1.2,
      strokes: [
        [6.6, 0.6, 3.4, 0.9, 1.2, 4.4, 0.8, 9, 2.4, 13, 5.4, 14, 8.4, 11.4, 9.2, 6.6, 8, 2, 5.4, 0.2, 3.6, 1.2],
      ],
    },
    // open at the top
    {
      weight: 1,
      width: 1.2,
      strokes: [[4.2, 0.8, 1.6, 3.4, 0.9, 8, 2.4, 12.6, 5.4, 14, 8.2, 11.8, 9.1, 7, 7.8, 2.4, 6, 0.2]],
    },
    // ends in a small loop at the top
    {
      weight: 1.2,
      width: 1.2,
      strokes: [
        [
          6.2, 1.6, 3.4, 0.6, 1.2, 4.4, 0.9, 9, 2.8, 13.2, 6, 13.8, 8.8, 10.6, 9.1, 5.6, 7.2, 1.4, 5, 0.8, 4, 2.2, 5.2,
          3.2, 7.6, 2,
        ],
      ],
    },
    // leaning oval
    {
      weight: 2,
      width: 1.15,
      strokes: [[7, 0.4, 4, 1.8, 1.6, 6, 1, 10.4, 2.6, 13.6, 5.2, 13.2, 8, 9.4, 9.2, 4.6, 8.6, 1.4, 7, 0.4]],
    },
    // round
    { weight: 2, width: 1.5, strokes: [[5, 1, 2, 2.6, 0.6, 7, 2, 11.4, 5, 13, 8, 11.4, 9.4, 7, 8, 2.6, 5, 1]] },
    // begun inside, the end runs past the start
    {
      weight: 1,
      width: 1.2,
      strokes: [[5.4, 2.2, 3, 1.6, 1.2, 5, 1, 9.6, 3, 13.4, 6, 13.6, 8.6, 10.2, 8.8, 5.2, 7, 1.2, 4.4, 0.4, 2.6, 2]],
    },
    // open at the top, its arms apart
    {
      weight: 0.8,
      width: 1.15,
      strokes: [[2.6, 0.8, 1.2, 4.6, 1, 9, 2.6, 13, 5.4, 14, 8, 12, 9, 8, 8.4, 3.6, 6.6, 0]],
    },
    // a last stroke that runs on to the right
    {
      weight: 0.8,
      width: 1.25,
      strokes: [
        [7, 1, 4, 0.8, 1.6, 3.8, 0.8, 8.6, 2.2, 12.8, 5, 14, 7.8, 11.8, 8.4, 7, 7.2, 3, 5.2, 1.2, 6.4, 0.6, 9.4, 1.4],
      ],
    },
  ],
  // 1
  [
    // plain stroke
    { weight: 12, strokes: [[5, 0, 5, 4.7, 5, 9.3, 5, 14]] },
    // plain, slightly bent
    { weight: 3, strokes: [[4.4, 0, 5.2, 4.6, 5.4, 9.4, 5, 14]] },
    { weight: 2, strokes: [[5.8, 0, 5, 4.6, 4.7, 9.4, 4.8, 14]] },
    // with an upstroke
    { weight: 1.2, strokes: [[3, 3.2, 4.4, 1.9, 5.6, 0, 5.6, 0, 5.5, 4.7, 5.4, 9.3, 5.4, 14]] },
    { weight: 0.6, strokes: [[2.2, 3.6, 3.9, 2.3, 5.6, 0, 5.6, 0, 5.6, 7, 5.6, 14]] },
    // with an upstroke and a foot
    {
      weight: 1.2,
      strokes: [
        [2.8, 3, 4.2, 1.8, 5.4, 0, 5.4, 0, 5.3, 7, 5.2, 13.6],
        [1.8, 13.8, 5.2, 13.6, 8.6, 13.6],
      ],
    },
    // foot only
    {
      weight: 0.3,
      strokes: [
        [5.2, 0, 5.1, 7, 5, 13.6],
        [2.2, 13.8, 5, 13.6, 8, 13.6],
      ],
    },
  ],
  // 2
  [
    // round top, straight foot
    {
      weight: 4,
      width: 1.2,
      strokes: [[1.2, 3.6, 2.4, 1, 5, 0, 7.8, 1.2, 8.4, 4, 6.8, 7.6, 4, 10.8, 1, 13.6, 1, 13.6, 4, 13.4, 9.4, 13.4]],
    },
    // loop at the foot
    {
      weight: 5,
      width: 1.2,
      strokes: [
        [
          1.2, 3, 3, 0.6, 6, 0.2, 8, 2, 7.8, 5, 6, 8.6, 3.6, 12, 1.6, 13.6, 0.6, 12.6, 1.6, 11, 3.8, 11.4, 6, 13, 9.8,
          13,
        ],
      ],
    },
    // wide loop at the foot
    {
      weight: 2,
      width: 1.25,
      strokes: [
        [
          1.6, 3.4, 3, 1, 5.8, 0.2, 7.8, 1.8, 7.6, 5, 5.4, 9.4, 2.8, 12.8, 0.8, 13.2, 0.4, 11.4, 2.4, 10.4, 5, 11.6,
          7.4, 13.6, 10, 13.2,
        ],
      ],
    },
    // like a Z
    {
      weight: 4,
      width: 1.35,
      strokes: [[1, 1.8, 3.6, 1, 7.4, 0.8, 8.4, 1.6, 7, 4.8, 4.2, 8.8, 1, 13, 1, 13, 4.6, 12.8, 9.8, 13]],
    },
    {
      weight: 1.5,
      width: 1.3,
      strokes: [[1.4, 1.4, 4.6, 0.4, 8, 0.6, 8, 0.6, 6, 5.4, 1.2, 13, 1.2, 13, 5, 12.4, 9.6, 12.6]],
    },
    // curled start
    {
      weight: 1.5,
      width: 1.1,
      strokes: [
        [
          3.6, 4.4, 2, 4.6, 1.6, 2.6, 3.4, 0.6, 6.2, 0.4, 8, 2.4, 7.6, 5.6, 5.4, 9.4, 1.6, 13.4, 1.6, 13.4, 5.2, 12.8,
          9.4, 13.4,
        ],
      ],
    },
    // wavy foot
    {
      weight: 1.5,
      width: 1.2,
      strokes: [
        [1.4, 3.2, 3.6, 0.6, 6.6, 0.6, 8.2, 2.8, 7.2, 6.4, 4.4, 10, 1, 13, 1, 13, 3.2, 12, 6, 12.8, 8, 13.8, 10, 12.4],
      ],
    },
    // large loop at the foot that swings far right
    {
      weight: 2,
      width: 1.45,
      strokes: [[2.6, 2, 4.4, 0.4, 6.4, 1, 6.6, 4, 5, 8, 2.6, 11.8, 0.8, 11.6, 1.4, 9.8, 4, 10.2, 7, 12.4, 10, 13.4]],
    },
    // round and closed below, like a script letter
    {
      weight: 1.5,
      width: 1.1,
      strokes: [
        [1.6, 2.6, 3.6, 0.4, 6.6, 0.6, 8, 3.4, 7.4, 7.6, 5, 11.4, 2.2, 12.8, 1, 11, 2.6, 9.4, 5.2, 10.6, 7, 13, 9, 14],
      ],
    },
    // tall stem, short hook, straight foot
    { weight: 1.2, width: 1.2, strokes: [[3, 1.4, 5, 0.2, 5.8, 2, 4.6, 6.4, 2, 12.2, 2, 12.2, 5, 12.4, 9.4, 13]] },
    // small hook, long wavy foot
    {
      weight: 1.2,
      width: 1.5,
      strokes: [[1, 4, 3, 2, 6, 1.6, 7.4, 3.4, 5.6, 6.6, 2.6, 9.6, 0.2, 11.6, 0.2, 11.6, 3, 11, 6, 12.2, 10, 12]],
    },
    // loop at the foot as large as the bow above
    {
      weight: 4,
      width: 1.15,
      strokes: [
        [
          1.8, 2.6, 3.8, 0.4, 6.8, 0.8, 7.8, 3.8, 6.6, 7.8, 4.2, 11.6, 1.8, 12.4, 0.8, 10.2, 2.2, 8.2, 4.8, 8.8, 7,
          11.4, 9.4, 13.4,
        ],
      ],
    },
    {
      weight: 2.5,
      width: 1.2,
      strokes: [
        [
          2.4, 1.4, 5, 0.2, 7.4, 1.8, 7.6, 5.4, 5.8, 10, 3.2, 12.8, 1, 12.6, 0.6, 10, 2.6, 8, 5.4, 9, 7.4, 11, 9.8,
          11.8,
        ],
      ],
    },
    {
      weight: 1.5,
      width: 1.15,
      strokes: [
        [
          3.2, 3.2, 3.2, 1, 5.6, 0.2, 7.4, 2.2, 7, 6.4, 4.8, 10.8, 2.2, 12.2, 1, 10.6, 2.4, 9, 5, 10, 7.2, 12.2, 8.6,
          14,
        ],
      ],
    },
  ],
  // 3
  [
    // two bows, the middle a sharp corner
    {
      weight: 4,
      width: 1.15,
      strokes: [
        [
          1.8, 1.8, 4, 0.2, 7, 0.6, 8.2, 2.8, 7, 5.2, 4, 6.6, 4, 6.6, 7.2, 7, 9, 9.4, 8.2, 12.4, 5, 14, 2.2, 13.4, 1,
          11.8,
        ],
      ],
    },
    // the middle runs back softly
    {
      weight: 4,
      width: 1.15,
      strokes: [
        [1.6, 1.4, 4.2, 0.2, 7.2, 0.8, 8, 3, 6.6, 5.4, 4.4, 6.6, 6.8, 7.2, 8.6, 9.4, 8, 12.2, 5, 13.9, 1, 13.2],
      ],
    },
    // small loop in the middle
    {
      weight: 1.5,
      width: 1.15,
      strokes: [
        [
          1.8, 2, 4.4, 0.2, 7.4, 1, 7.8, 3.6, 5.6, 6, 3.8, 6.9, 3.6, 6, 5.2, 6.2, 7.8, 7.6, 8.8, 10.2, 7.4, 13, 4.2, 14,
          1, 12.8,
        ],
      ],
    },
    // flat top
    {
      weight: 1,
      width: 1.15,
      strokes: [
        [
          1.4, 0.6, 4.6, 0.5, 8.2, 0.4, 8.2, 0.4, 6.2, 3, 4.2, 5.6, 4.2, 5.6, 7.4, 6.4, 8.8, 9, 8, 12.2, 5, 13.8, 1.2,
          12.8,
        ],
      ],
    },
    // small upper bow
    {
      weight: 1.5,
      width: 1.2,
      strokes: [[2, 1, 5, 0.2, 7, 1.6, 6.6, 4, 3.4, 5.6, 3.4, 5.6, 7, 6.2, 9, 9, 8, 12.4, 4.4, 14, 0.6, 13]],
    },
    // small lower bow, long start
    {
      weight: 1.2,
      width: 1.2,
      strokes: [
        [
          0.8, 2.6, 3, 0.6, 6.6, 0.2, 8.6, 2.2, 7.4, 5.4, 4, 7.4, 4, 7.4, 6.8, 7.8, 8.4, 10, 7.6, 12.6, 5, 13.8, 1.6,
          13.4,
        ],
      ],
    },
    // long tail to the left
    {
      weight: 1.2,
      width: 1.1,
      strokes: [
        [2.4, 1.4, 4.8, 0.2, 7.2, 1.4, 6.4, 4, 4.2, 5.8, 4.2, 5.8, 6.8, 6.6, 7.8, 9, 6.4, 12, 3.4, 13.6, 0.2, 13.8],
      ],
    },
    // pointed upper bow like a Z
    {
      weight: 1,
      width: 1.15,
      strokes: [
        [1.6, 1.2, 4.8, 0.8, 8, 1.2, 8, 1.2, 5.8, 3.6, 3.4, 5.6, 3.4, 5.6, 6.8, 6.6, 8.2, 9, 7, 12, 4, 13.6, 1, 14],
      ],
    },
    // both bows deep and round
    {
      weight: 1.2,
      width: 1.1,
      strokes: [
        [
          1.2, 3.4, 2.4, 0.8, 5.4, 0, 7.8, 1.6, 7.4, 4.6, 4.6, 6.2, 7.6, 7.4, 8.8, 10.2, 7, 13.2, 4, 14, 1.6, 12.8, 0.8,
          10.8,
        ],
      ],
    },
  ],
  // 4
  [
    // open: the bow in one stroke, the stem in another
    {
      weight: 5,
      width: 1.2,
      strokes: [
        [1.8, 1, 1.2, 4.4, 0.8, 7.6, 0.8, 7.6, 4, 7.6, 8.8, 7],
        [7.6, 0.6, 7.2, 5, 6.6, 9.6, 6.2, 14],
      ],
    },
    // open and round
    {
      weight: 4,
      width: 1.15,
      strokes: [
        [2.2, 0.6, 1.2, 3.6, 0.8, 6.4, 2.2, 7.8, 5, 7.4, 8, 6],
        [7.8, 0.4, 7.2, 5, 6.6, 9.6, 6.4, 14],
      ],
    },
    // open, with the bow's end short of the stem's right side
    {
      weight: 2,
      width: 1.1,
      strokes: [
        [1.8, 0.8, 1, 4.4, 1, 6.8, 1, 6.8, 3.6, 7.4, 7.4, 6.8],
        [7.8, 0, 7.4, 4.6, 7, 9.4, 6.6, 14],
      ],
    },
    // closed, printed
    {
      weight: 1.2,
      width: 1.25,
      strokes: [[6.6, 14, 6.7, 9.6, 6.8, 4.8, 6.8, 0.2, 6.8, 0.2, 3.6, 4.6, 0.4, 9.2, 0.4, 9.2, 4.8, 9.2, 9.6, 9]],
    },
    // bow, then back up and the stem down, in one stroke
    {
      weight: 2.5,
      width: 1.15,
      strokes: [[2, 1.2, 1, 4.6, 0.8, 7.4, 0.8, 7.4, 4, 7.2, 6.8, 4.4, 8, 0.6, 8, 0.6, 7.2, 5, 6.6, 9.6, 6.2, 14]],
    },
    // bar that crosses far
    {
      weight: 2,
      width: 1.2,
      strokes: [
        [3, 0.6, 1.8, 4.2, 0.2, 8, 0.2, 8, 4.6, 8, 9.8, 7.6],
        [6.6, 4, 6, 9, 5.6, 14],
      ],
    },
    // narrow, the two tops nearly touching
    {
      weight: 1.5,
      width: 1.1,
      strokes: [
        [5.4, 0.2, 3.4, 3.6, 1, 7.6, 1, 7.6, 4.6, 7.8, 8.8, 7.2],
        [6.8, 1, 6.2, 5.4, 5.8, 9.8, 5.6, 14],
      ],
    },
    // small high bow
    {
      weight: 1,
      width: 1,
      strokes: [
        [2.4, 0.6, 2, 3.2, 3.2, 5.4, 5.4, 5.2, 7.4, 3.4],
        [7.8, 0.2, 7.2, 5, 6.6, 9.6, 6.2, 14],
      ],
    },
    // bar rises steeply
    {
      weight: 1.2,
      width: 1.15,
      strokes: [
        [2.4, 1, 1.6, 4.4, 1.2, 8, 1.2, 8, 4.4, 6.8, 8.6, 5],
        [7.6, 0.4, 7, 5, 6.2, 9.6, 5.6, 14],
      ],
    },
    // square bow
    {
      weight: 1,
      width: 1.25,
      strokes: [
        [1.2, 0.4, 1, 3.4, 1, 6.6, 1, 6.6, 4.4, 6.6, 8.2, 6.4],
        [8.2, 0, 8.1, 4.7, 8, 9.3, 8, 14],
      ],
    },
  ],
  // 5
  [
    // stem and bow, bar on top as a second stroke
    {
      weight: 4,
      width: 1.15,
      strokes: [
        [3, 0.8, 2.4, 3.4, 1.8, 6, 1.8, 6, 4.6, 5.2, 7.6, 6.6, 8.4, 9.6, 7, 12.6, 4, 14, 1, 12.8],
        [3, 0.8, 6, 0.6, 9.4, 0],
      ],
    },
    // in one stroke from the bar's end
    {
      weight: 4,
      width: 1.2,
      strokes: [
        [
          9, 0.6, 6, 0.9, 3, 1, 3, 1, 2.4, 3.6, 1.8, 6.2, 1.8, 6.2, 4.8, 5.6, 7.4, 7, 8, 10, 6.6, 12.8, 3.6, 14, 0.6,
          12.8,
        ],
      ],
    },
    // like an S
    {
      weight: 2.5,
      width: 1.15,
      strokes: [[8.6, 0.8, 5.4, 0.4, 2.8, 1.6, 2.2, 4.2, 4.2, 6.2, 6.6, 8, 7.4, 10.6, 5.8, 13.2, 3, 13.9, 0.8, 12.4]],
    },
    // small bow, long bar
    {
      weight: 3,
      width: 1.35,
      strokes: [
        [3.6, 2, 3, 4.4, 2.4, 6.6, 2.4, 6.6, 4.8, 6.4, 6.6, 8, 6.6, 10.6, 4.8, 13, 2.4, 13.8, 0, 12.6],
        [3.6, 2, 6.6, 1.6, 10, 0.4],
      ],
    },
    // angular shoulder
    {
      weight: 1.5,
      width: 1.2,
      strokes: [
        [
          8.4, 0.4, 5.2, 0.5, 2, 0.8, 2, 0.8, 1.9, 3.6, 1.8, 6.4, 1.8, 6.4, 5, 6.2, 8, 7.4, 8.6, 10.4, 7, 13, 4.4, 13.8,
          1.4, 13.6,
        ],
      ],
    },
    // bar apart from the stem
    {
      weight: 1.2,
      width: 1.15,
      strokes: [
        [3, 1.8, 2.8, 4.2, 2.4, 6.4, 4.8, 6.2, 7.2, 7.6, 7.6, 10.4, 6, 13, 3.2, 14, 0.8, 13],
        [4.4, 1, 6.6, 0.8, 9.2, 0.4],
      ],
    },
    // bow that curls in at its end
    {
      weight: 1,
      width: 1.1,
      strokes: [
        [8, 0.4, 5.4, 0.6, 3, 1, 3, 1, 2.6, 3.4, 2.2, 5.8, 5, 6, 7.6, 7.8, 8, 10.8, 6, 13.6, 3, 13.6, 1.8, 12, 3, 11],
      ],
    },
    // leaning, its bar far to the right and its bow small
    {
      weight: 1.5,
      width: 1.35,
      strokes: [
        [9.8, 0.6, 7, 1.2, 4.4, 1.6, 4.4, 1.6, 3.6, 4, 3, 6.2, 3, 6.2, 5.4, 6.6, 6.4, 8.6, 5.4, 11.2, 3, 13, 0.2, 13.4],
      ],
    },
    // tall bow that nearly closes
    {
      weight: 1,
      width: 1.05,
      strokes: [
        [
          7.6, 0.4, 4.8, 0.6, 2.4, 1, 2.4, 1, 2.2, 3, 1.8, 5, 1.8, 5, 5, 4.6, 7.8, 6.6, 8.4, 10, 6.4, 13.2, 3.4, 13.8,
          1.4, 12, 1.8, 10.4,
        ],
      ],
    },
    // large round bow, the end drawn back up
    {
      weight: 1.2,
      width: 1.15,
      strokes: [
        [
          8.4, 0.8, 5.6, 0.8, 3, 1.2, 3, 1.2, 2.2, 3.8, 1.6, 6, 4.2, 4.8, 7.4, 5.8, 8.8, 9, 7.4, 12.6, 4, 14, 1, 12.6,
          0.6, 10.6,
        ],
      ],
    },
    // angular bow
    {
      weight: 1,
      width: 1.2,
      strokes: [[9, 0.4, 2.8, 0.8, 2.8, 0.8, 2.2, 5.8, 2.2, 5.8, 7.2, 6.4, 8.2, 8.4, 7.2, 11.6, 4.4, 13.6, 0.6, 14]],
    },
    // top bar thick and short, the stem hardly there
    {
      weight: 1,
      width: 1.2,
      strokes: [[8.6, 1.4, 5, 1, 2.4, 2.4, 1.4, 5, 3.4, 6.4, 6.2, 7.4, 7.2, 9.8, 6, 12.6, 3.4, 13.8, 1.2, 12.6]],
    },
  ],
  // 6
  [
    // curved stem, closed bow
    {
      weight: 5,
      width: 1.05,
      strokes: [[6.8, 0.2, 4, 2.4, 2, 6, 1.2, 10, 2.6, 13.2, 5.4, 14, 8, 12.2, 8.4, 9.4, 6.6, 7.6, 4, 8.2, 2, 10.4]],
    },
    // straight stem
    {
      weight: 3,
      width: 1.05,
      strokes: [
        [5.6, 0, 3.8, 3.4, 2.2, 7.2, 1.6, 11, 3.4, 13.8, 6.4, 13.6, 8.4, 11.4, 8, 8.8, 5.8, 7.8, 3.4, 9.2, 1.9, 11.4],
      ],
    },
    // bow that ends in a loop inside
    {
      weight: 2,
      width: 1.1,
      strokes: [
        [6.2, 0.2, 3.4, 3, 1.6, 7.4, 1.4, 11.4, 3.6, 14, 7, 13.2, 8.8, 10.6, 7.6, 8.4, 5, 8.8, 3.6, 10.8, 4.4, 12],
      ],
    },
    // wide low bow
    {
      weight: 2,
      width: 1.3,
      strokes: [
        [5.4, 0.2, 3, 3.6, 1.2, 7.8, 1, 11.4, 3.2, 13.8, 6.8, 13.6, 9.6, 11.2, 9, 8.6, 6.2, 8.2, 3.2, 10, 1.6, 12],
      ],
    },
    // round stem like a C
    {
      weight: 1.5,
      width: 1.15,
      strokes: [
        [7.6, 1.6, 5.6, 0.4, 3.2, 2, 1.4, 6, 1.2, 10.4, 3, 13.4, 6, 14, 8.4, 11.8, 8.2, 9, 6, 7.8, 3.4, 8.8, 1.6, 11],
      ],
    },
    // narrow
    {
      weight: 2,
      width: 0.85,
      strokes: [[6.4, 0, 4.2, 3.4, 2.8, 7.4, 2.4, 11.2, 3.8, 13.8, 6.2, 13.6, 7.6, 11.4, 6.8, 9.2, 4.8, 9.4, 3, 11.4]],
    },
    // large bow
    {
      weight: 1,
      width: 1.15,
      strokes: [[4.4, 0, 2.4, 3.4, 1.2, 7.6, 1.6, 11.8, 4.2, 14, 7.6, 13, 9.2, 9.8, 8, 6.8, 5, 6.2, 2.4, 8, 1.4, 10]],
    },
    // lying: stem long and flat
    {
      weight: 1,
      width: 1.4,
      strokes: [[8.8, 1, 5.4, 3, 2.4, 6.4, 1, 10.2, 2.6, 13.2, 5.8, 13.4, 8, 11.4, 7.4, 9.2, 4.8, 9.2, 2.4, 11.2]],
    },
    // open bow
    {
      weight: 1,
      width: 1.05,
      strokes: [[4.4, 0, 2.4, 4, 1.2, 8.4, 2, 12.4, 4.8, 13.9, 7.6, 12.2, 8.6, 9, 7.4, 6.8, 5.6, 7.6]],
    },
  ],
  // 7
  [
    // bar and slanted stem
    { weight: 6, width: 1.15, strokes: [[1, 1.4, 4.6, 1.2, 8.8, 0.8, 8.8, 0.8, 7, 5, 5.4, 9.4, 4.4, 14]] },
    // a hook at the start
    {
      weight: 3,
      width: 1.15,
      strokes: [[1.2, 3.4, 1.6, 1, 1.6, 1, 5, 1, 8.8, 0.6, 8.8, 0.6, 7, 5, 5.6, 9.4, 4.8, 14]],
    },
    // rounded corner
    { weight: 4, width: 1.15, strokes: [[1, 2.4, 3, 1, 6, 0.6, 8.4, 0.8, 8.6, 2.4, 7.2, 6, 5.6, 10, 4.6, 14]] },
    // crossed stem
    {
      weight: 1.8,
      width: 1.1,
      strokes: [
        [1, 1.2, 4.8, 1.2, 8.8, 0.8, 8.8, 0.8, 7, 5, 5.2, 9.4, 4, 14],
        [2.6, 7.6, 5.4, 7.2, 8.8, 7],
      ],
    },
    {
      weight: 0.8,
      width: 1.1,
      strokes: [
        [1.4, 2.4, 3.2, 0.9, 6, 1.2, 8.8, 0.4, 7.4, 4.6, 5.4, 9.6, 4.4, 14],
        [2.2, 7, 5.4, 7, 9.2, 7],
      ],
    },
    // wavy bar, curved stem
    { weight: 2, width: 1.15, strokes: [[0.8, 2.2, 2.4, 0.8, 5.6, 1.6, 8.8, 0.6, 8.8, 0.6, 6.4, 4.4, 5, 9, 4.8, 14]] },
    // steep and narrow
    { weight: 2, width: 0.95, strokes: [[2.2, 1.4, 4.8, 1.2, 7.6, 0.6, 7.6, 0.6, 7, 5, 6.4, 9.6, 6, 14]] },
    // bar that falls to the left
    { weight: 1.5, width: 1.2, strokes: [[0.8, 3.8, 2, 2, 5, 1.6, 8.6, 1, 8.6, 1, 6.8, 5.2, 5, 9.6, 3.6, 14]] },
    // a short bar that rises into the corner
    { weight: 1.5, width: 1, strokes: [[2, 3.8, 4.2, 2.4, 7.8, 0.2, 7.8, 0.2, 7.2, 5, 6.2, 9.6, 5.6, 14]] },
    // arch: hook, round top, straight stem
    { weight: 1.5, width: 1, strokes: [[1.4, 4.6, 1.6, 2, 3.6, 0.6, 6.6, 0.4, 8.2, 2, 7.8, 6, 7, 10, 6.4, 14]] },
    // hooked bar, crossed stem
    {
      weight: 0.8,
      width: 1.15,
      strokes: [
        [1.2, 3.2, 1.4, 1.2, 1.4, 1.2, 5, 1.2, 8.8, 0.6, 8.8, 0.6, 7, 5, 5.4, 9.4, 4.4, 14],
        [2.2, 8, 5.4, 7.4, 9, 6.8],
      ],
    },
    // stem bent towards the left
    { weight: 1.2, width: 1.15, strokes: [[0.8, 1.6, 4.4, 1, 8.4, 1, 8.4, 1, 7.8, 5, 6.2, 9.6, 3, 14]] },
  ],
  // 8
  [
    // an S closed by an upstroke
    {
      weight: 5,
      width: 1.05,
      strokes: [
        [
          8, 1.6, 5.4, 0.2, 2.6, 1.4, 2.6, 4, 5.2, 6.6, 7.6, 9.4, 7.2, 12.6, 4.6, 14, 2, 12.4, 2.2, 9.4, 4.8, 6.6, 7.6,
          4, 8, 1.6,
        ],
      ],
    },
    // begun in the middle
    {
      weight: 2,
      width: 1.05,
      strokes: [
        [5, 6.6, 2.4, 4.8, 2.4, 1.8, 5, 0.2, 7.6, 1.6, 7.6, 4.6, 5, 6.6, 2, 9, 2, 12.2, 5, 14, 8, 12.2, 8, 9, 5, 6.6],
      ],
    },
    // open at the upper right
    {
      weight: 3,
      width: 1.15,
      strokes: [
        [8.6, 2, 6.2, 0.4, 3.2, 0.8, 2.2, 3.2, 4.4, 6, 7, 8.6, 7, 12, 4.6, 13.8, 2, 12.4, 2.4, 9.6, 5.4, 6.4, 9, 2.6],
      ],
    },
    // two rings
    {
      weight: 1,
      width: 1.05,
      strokes: [
        [5, 0.2, 2.6, 1.6, 2.6, 4.8, 5, 6.4, 7.4, 4.8, 7.4, 1.6, 5, 0.2],
        [5, 6.4, 2, 8.4, 1.8, 12, 5, 14, 8.2, 12, 8, 8.4, 5, 6.4],
      ],
    },
    // slim, a small lower loop
    {
      weight: 2.5,
      width: 0.9,
      strokes: [
        [
          7.8, 1.4, 5.2, 0.2, 2.8, 1.8, 3.2, 4.8, 5.8, 7.6, 6.6, 10.8, 5.4, 13.6, 3.4, 13.2, 3.2, 10.6, 5.2, 7, 7.8,
          3.6, 7.8, 1.4,
        ],
      ],
    },
    // large lower loop
    {
      weight: 1.5,
      width: 1.2,
      strokes: [
        [
          7.2, 1.2, 5, 0.2, 2.8, 1.6, 3.2, 4.2, 6, 6.2, 8.6, 8.8, 8.2, 12.4, 5, 14, 1.6, 12.6, 1.6, 9.4, 4.4, 6.4, 7, 4,
          7.2, 1.2,
        ],
      ],
    },
    // crossing high, ends past its start
    {
      weight: 1.5,
      width: 1.15,
      strokes: [
        [
          7.6, 2.6, 6.6, 0.6, 3.6, 0.4, 2, 2.6, 3.6, 5, 6.6, 7.2, 7.8, 10.4, 6, 13.6, 3, 13.6, 1.8, 11, 3.4, 8, 6.4,
          5.2, 9.2, 1.4,
        ],
      ],
    },
    // begun with a long stroke from the upper right
    {
      weight: 2,
      width: 1.25,
      strokes: [
        [
          9.6, 1, 6.6, 0.8, 3.6, 1, 2.4, 3.2, 4, 5.6, 6.4, 7.8, 7, 11, 5, 13.6, 2.4, 13.2, 2, 10.6, 4.2, 7.6, 7, 4.8,
          9.6, 1,
        ],
      ],
    },
    // open above, both arms up
    {
      weight: 1.2,
      width: 1.15,
      strokes: [
        [
          8.4, 1.2, 5.6, 0.2, 2.8, 1.2, 2.2, 3.6, 4.6, 6.2, 7, 8.8, 6.8, 12, 4.4, 13.8, 2, 12.2, 2.6, 9.4, 5.6, 6.8,
          7.8, 4.6, 8.8, 2.8,
        ],
      ],
    },
    // upper ring small and open, lower ring large
    {
      weight: 1.2,
      width: 1.05,
      strokes: [
        [
          7, 2.4, 6, 0.4, 3.8, 0.6, 3, 2.8, 4.6, 5, 7, 7, 8.2, 10, 6.8, 13.2, 3.8, 13.8, 1.8, 11.4, 2.6, 8.4, 5, 6, 7,
          4, 7, 2.4,
        ],
      ],
    },
    // small lower ring
    {
      weight: 1.5,
      width: 1,
      strokes: [
        [
          8, 2.4, 6, 0.4, 3, 0.8, 1.8, 3.6, 3.6, 6.6, 6, 9, 6.2, 12, 4.6, 13.6, 3.4, 12, 4.2, 9.4, 6.8, 6.2, 8.2, 3.8,
          8, 2.4,
        ],
      ],
    },
    // begun top left, the upper ring closed by a last stroke to the right
    {
      weight: 1.5,
      width: 1.05,
      strokes: [
        [
          6.8, 4.8, 4, 5, 2.2, 3, 3.4, 0.8, 6, 0.4, 7.2, 2.4, 5.8, 5.6, 3.4, 8.4, 2.2, 11.4, 3.6, 13.8, 6.2, 13, 7,
          10.2, 5.4, 6.8, 3.4, 4.6,
        ],
      ],
    },
    // crossed arms above, no ring closed there
    {
      weight: 1,
      width: 1.15,
      strokes: [
        [7, 0.6, 4.2, 0.8, 2.4, 2.8, 3.6, 5.4, 6.4, 8.2, 6.8, 11.6, 4.8, 13.8, 2.6, 12.6, 2.8, 9.8, 5.4, 6.4, 9, 3.2],
      ],
    },
    // wide rings, squat
    {
      weight: 1,
      width: 1.5,
      strokes: [
        [
          8.4, 2.2, 5.6, 0.2, 2, 1.2, 1.6, 4.4, 5, 6.6, 8.4, 8.6, 8.8, 12, 5.4, 14, 1.6, 12.6, 1.4, 9.2, 4.6, 6.8, 8.2,
          4.8, 8.4, 2.2,
        ],
      ],
    },
  ],
  // 9
  [
    // ring and straight stem, in one stroke
    {
      weight: 5,
      width: 1,
      strokes: [[8, 1.8, 5.4, 0.2, 2.4, 1.6, 1.6, 4.6, 3.4, 6.6, 6.2, 5.6, 8, 1.8, 8, 1.8, 7.4, 6, 6.8, 10, 6.2, 14]],
    },
    // ring closed, stem drawn down from its right side
    {
      weight: 3,
      width: 1,
      strokes: [
        [7.8, 2.8, 6.2, 0.4, 3.2, 0.6, 1.8, 3.4, 2.8, 6, 5.4, 6.2, 7.6, 3.8, 7.8, 2.8, 7.4, 6.6, 6.6, 10.4, 5.8, 14],
      ],
    },
    // curved stem
    {
      weight: 2,
      width: 1.05,
      strokes: [
        [
          8, 2.2, 5.6, 0.2, 2.6, 1.2, 1.8, 4.2, 3.8, 6.6, 6.6, 5.4, 8, 2.2, 8, 2.2, 8.2, 6, 7.2, 10.6, 4.6, 13.8, 2,
          13.4,
        ],
      ],
    },
    // stem bent backwards
    {
      weight: 1.5,
      width: 1,
      strokes: [
        [7.4, 1.2, 4.6, 0.2, 2.2, 2, 2, 4.8, 4.2, 6.4, 6.6, 4.8, 7.4, 1.2, 7.4, 1.2, 7.2, 5.6, 7.2, 10, 7.6, 14],
      ],
    },
    // small ring, long leaning stem
    {
      weight: 2,
      width: 1,
      strokes: [
        [7.8, 1.6, 6, 0.2, 3.4, 1.2, 2.4, 3.6, 3.8, 5.4, 6.2, 4.4, 7.8, 1.6, 7.8, 1.6, 6.8, 5.6, 5.6, 9.8, 4.6, 14],
      ],
    },
    // open at the top, near to a 4
    {
      weight: 1.2,
      width: 1.05,
      strokes: [
        [5.4, 0.6, 2.8, 1.8, 1.6, 4.6, 3.2, 6.6, 6, 5.8, 7.8, 2.8, 8.2, 0.6, 8.2, 0.6, 7.4, 5, 6.8, 9.6, 6.2, 14],
      ],
    },
    // loop that begins inside
    {
      weight: 1.2,
      width: 1.05,
      strokes: [
        [7, 3.4, 7.6, 1.2, 5.4, 0.2, 2.8, 1.6, 1.8, 4.4, 3.6, 6.4, 6.2, 5.2, 7.8, 1.8, 7.6, 6, 6.8, 10, 5.8, 14],
      ],
    },
    // large ring
    {
      weight: 1.5,
      width: 1.1,
      strokes: [[7.8, 2, 5, 0.2, 2, 2, 1.2, 5.4, 3.4, 8, 6.4, 6.8, 8, 2.6, 8, 2.6, 7.6, 6.6, 7, 10.4, 6.6, 14]],
    },
    // wide flat ring, its stem bent inwards
    {
      weight: 1.2,
      width: 1.2,
      strokes: [[8.4, 2.4, 6.4, 0.6, 3, 0.6, 0.8, 2.8, 1.4, 5.4, 4.4, 6, 7.4, 4.6, 8.6, 2, 8, 6.4, 6.8, 10.4, 5, 14]],
    },
    // stem ends in a hook to the left
    {
      weight: 1,
      width: 1.05,
      strokes: [
        [
          7.6, 1.6, 5, 0.2, 2.4, 1.8, 2, 4.8, 4.2, 6.4, 6.8, 5, 7.8, 2, 7.8, 2, 7.8, 6.6, 7.2, 10.8, 5.4, 13.4, 2.6, 14,
          1, 12.6,
        ],
      ],
    },
    // small ring leaning on a long straight stem
    {
      weight: 1,
      width: 0.9,
      strokes: [[7, 1, 4.4, 1, 2.4, 3, 2.8, 5.2, 5, 5.2, 7, 3, 7.6, 0.4, 7.6, 0.4, 7, 5, 6.6, 9.6, 6.4, 14]],
    },
    // ring not closed on its right
    {
      weight: 1.2,
      width: 1.05,
      strokes: [[7.2, 2.2, 5.6, 0.6, 3, 1, 1.6, 3.4, 2.4, 5.8, 5, 6, 7.4, 4.4, 8.4, 2.4, 7.8, 6.4, 7.2, 10.2, 7, 14]],
    },
    // ring left open: a hook, then the stem
    {
      weight: 2,
      width: 1.15,
      strokes: [[8.2, 0.8, 5, 0.6, 2.2, 2, 1.6, 4.4, 3.6, 6, 6.4, 5, 8, 3.2, 8, 3.2, 7, 7, 5.8, 10.6, 4.4, 14]],
    },
    {
      weight: 1,
      width: 1.1,
      strokes: [[7.4, 0.4, 4.4, 1, 2.2, 3, 2.4, 5.2, 5, 5.6, 7.6, 4.2, 7.6, 7.4, 6.8, 10.8, 5.6, 14]],
    },
    // a top stroke that runs out to the right
    {
      weight: 1,
      width: 1.25,
      strokes: [[9.4, 1.4, 6.6, 0.4, 3.4, 1.2, 2, 3.4, 3, 5.4, 5.6, 5, 7.4, 2.8, 7.8, 1.2, 7.2, 5.4, 6, 10, 5, 14]],
    },
  ],
];
