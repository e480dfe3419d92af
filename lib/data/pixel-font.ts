// Letters of three by five pixels for captions on a contact sheet: machines without any font must draw them too.

/** Columns of a glyph. */
export const GLYPH_WIDTH = 3;
/** Rows of a glyph. */
export const GLYPH_HEIGHT = 5;

// Rows from the top, parted by spaces; a # stands for a pixel that is set.
const DRAWINGS: Readonly<Record<string, string>> = {
  "0": "### #.# #.# #.# ###",
  "1": ".#. ##. .#. .#. ###",
  "2": "### ..# ### #.. ###",
  "3": "### ..# .## ..# ###",
  "4": "#.# #.# ### ..# ..#",
  "5": "### #.. ### ..# ###",
  "6": "### #.. ### #.# ###",
  "7": "### ..# .#. .#. .#.",
  "8": "### #.# ### #.# ###",
  "9": "### #.# ### ..# ###",
  A: ".#. #.# ### #.# #.#",
  B: "##. #.# ##. #.# ##.",
  C: ".## #.. #.. #.. .##",
  D: "##. #.# #.# #.# ##.",
  E: "### #.. ##. #.. ###",
  F: "### #.. ##. #.. #..",
  G: ".## #.. #.# #.# .##",
  H: "#.# #.# ### #.# #.#",
  I: "### .#. .#. .#. ###",
  J: "..# ..# ..# #.# .#.",
  K: "#.# #.# ##. #.# #.#",
  L: "#.. #.. #.. #.. ###",
  M: "#.# ### ### #.# #.#",
  N: "##. #.# #.# #.# #.#",
  O: ".#. #.# #.# #.# .#.",
  P: "##. #.# ##. #.. #..",
  Q: ".#. #.# #.# .#. ..#",
  R: "##. #.# ##. #.# #.#",
  S: ".## #.. .#. ..# ##.",
  T: "### .#. .#. .#. .#.",
  U: "#.# #.# #.# #.# ###",
  V: "#.# #.# #.# #.# .#.",
  W: "#.# #.# ### ### #.#",
  X: "#.# #.# .#. #.# #.#",
  Y: "#.# #.# .#. .#. .#.",
  Z: "### ..# .#. #.. ###",
  " ": "... ... ... ... ...",
  "-": "... ... ### ... ...",
  _: "... ... ... ... ###",
  ".": "... ... ... ... .#.",
  "/": "..# ..# .#. #.. #..",
  "+": "... .#. ### .#. ...",
  "(": ".#. #.. #.. #.. .#.",
  ")": ".#. ..# ..# ..# .#.",
  "?": "##. ..# .#. ... .#.",
};

const GLYPHS = new Map(
  Object.entries(DRAWINGS).map(([letter, drawing]) => [letter, drawing.split(" ").map((row) => [...row].map(isSet))]),
);

function isSet(mark: string): boolean {
  return mark === "#";
}

/** Whether a pixel of a letter is set. Small letters look like capitals, unknown ones like a question mark. */
export function glyphPixel(letter: string, row: number, column: number): boolean {
  const plain = letter.normalize("NFD")[0]?.toUpperCase() ?? "?";
  return (GLYPHS.get(plain) ?? GLYPHS.get("?")!)[row]![column]!;
}
