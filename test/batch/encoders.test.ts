// The formats: the same rows in both, and Parquet as pyarrow reads it.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Answers, Chunk, Columns } from "../../lib/batch/answers.js";
import { JsonLinesEncoder } from "../../lib/batch/json-lines.js";
import { GROUP_ROWS, ParquetEncoder } from "../../lib/batch/parquet.js";
import { temporaryFolder } from "../data/folder.js";
import { describeWithPyarrow, python } from "../python.js";

const CLASSES = ["null", 'one "1"', "zwei\n"];
const FILES: Columns = { named: true, classNames: CLASSES, probabilities: true };
const PLACES: Columns = { named: false, classNames: CLASSES, probabilities: false };

/** Answers of consecutive images; every seventh could not be read. */
function answers(first: number, count: number, named = true): Answers {
  const images = Array.from({ length: count }, (_, i) => first + i);
  const labels = Int32Array.from(images, (image) => image % 3);
  const probabilities = Float32Array.from(
    images.flatMap((image) => CLASSES.map((_, label) => (label === image % 3 ? 0.5 + (image % 100) / 250 : 0))),
  );
  const bad = images.filter((image) => image % 7 === 3);
  return {
    ...{ first, count, labels, probabilities, top: undefined },
    names: named ? images.map((image) => `ä/"${image}".png`) : undefined,
    unreadable: new Map(
      bad.map((image) => [image - first, { code: "LENET5_IMAGE_UNREADABLE", message: `bad ${image}` }]),
    ),
  };
}

function row(image: number, { named, probabilities }: Columns): Record<string, unknown> {
  const which = named ? { file: `ä/"${image}".png` } : { index: image };
  if (image % 7 === 3) return { ...which, error: "LENET5_IMAGE_UNREADABLE", message: `bad ${image}` };
  const probability = Math.fround(0.5 + (image % 100) / 250);
  return {
    ...{ ...which, label: image % 3, className: CLASSES[image % 3], probability },
    ...(probabilities && { probabilities: CLASSES.map((_, label) => (label === image % 3 ? probability : 0)) }),
  };
}

const bytesOf = (chunks: Chunk[]) => Buffer.concat(chunks.map(({ bytes }) => bytes));

test.each([FILES, PLACES])("JSON Lines has a row an image: %j", (columns) => {
  const encoder = new JsonLinesEncoder(columns);
  const chunks = [
    ...encoder.add(answers(0, 10, columns.named)),
    ...encoder.add(answers(10, 5, columns.named)),
    encoder.end(),
  ];
  const rows = bytesOf(chunks)
    .toString()
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(rows).toEqual(Array.from({ length: 15 }, (_, image) => row(image, columns)));
  expect(chunks.map(({ images, unreadable }) => [images, unreadable])).toEqual([
    [10, 1],
    [5, 1],
    [0, 0],
  ]);
});

test("JSON Lines has the most probable classes where they are asked for", () => {
  const top = [[{ label: 2, className: "zwei\n", probability: 0.5 }]];
  const encoder = new JsonLinesEncoder(PLACES);
  const [chunk] = encoder.add({ ...answers(5, 1, false), top });
  expect(JSON.parse(String(chunk!.bytes))).toEqual({ ...row(5, PLACES), top: top[0] });
});

test("JSON Lines of a model with NaN in it is JSON", () => {
  const [nan, infinite] = [Number.NaN, Number.POSITIVE_INFINITY];
  const probabilities = Float32Array.of(nan, infinite, 0.5);
  const top = [[{ label: 1, className: CLASSES[1]!, probability: nan }]];
  const columns = { ...FILES, named: false };
  const one = {
    first: 0,
    count: 1,
    names: undefined,
    unreadable: new Map(),
    labels: Int32Array.of(0),
    probabilities,
    top,
  };
  const [chunk] = new JsonLinesEncoder(columns).add(one);
  expect(JSON.parse(String(chunk!.bytes))).toEqual({
    ...{ index: 0, label: 0, className: "null", probability: "NaN", probabilities: ["NaN", "Infinity", 0.5] },
    top: [{ label: 1, className: CLASSES[1], probability: "NaN" }],
  });
});

describe("Parquet", () => {
  const COUNT = 2 * GROUP_ROWS + 1000;
  const STEP = 1000;

  /** All chunks, in one go or with a new encoder at a place where the first one has just written a group. */
  function chunksOf(columns: Columns, resumed: boolean): Chunk[] {
    let encoder = new ParquetEncoder(columns);
    const chunks: Chunk[] = [];
    let images = 0;
    for (let first = 0; first < COUNT; ) {
      const some = encoder.add(answers(first, Math.min(STEP, COUNT - first), columns.named));
      chunks.push(...some);
      images += some.reduce((sum, chunk) => sum + chunk.images, 0);
      first += STEP;
      if (!resumed || some.length === 0) continue;
      const notes = JSON.parse(JSON.stringify(chunks.map(({ note }) => note)));
      encoder = new ParquetEncoder(columns, { bytes: bytesOf(chunks).length, images, notes });
      first = images;
    }
    return [...chunks, encoder.end()];
  }

  test.each([FILES, PLACES])(
    "is the same, byte for byte, where a later run goes on after each group: %j",
    (columns) => {
      const whole = chunksOf(columns, false);
      expect(whole.map(({ images }) => images)).toEqual([GROUP_ROWS, GROUP_ROWS, 1000]);
      expect(whole.reduce((sum, { unreadable }) => sum + unreadable, 0)).toBe(
        Array.from({ length: COUNT }, (_, image) => image).filter((image) => image % 7 === 3).length,
      );
      expect(bytesOf(chunksOf(columns, true)).equals(bytesOf(whole))).toBe(true);
    },
  );

  describeWithPyarrow("read by pyarrow", () => {
    const READ = `
import json, sys
import pyarrow.parquet as pq
file = pq.ParquetFile(sys.argv[1])
rows = file.read().to_pylist()
print(json.dumps({"groups": file.num_row_groups, "types": {f.name: str(f.type) for f in file.schema_arrow},
                  "count": len(rows), "rows": [rows[int(i)] for i in sys.argv[2:]]}))`;
    const INDICES = [0, 1, 2, 3, 10, GROUP_ROWS - 1, GROUP_ROWS, COUNT - 1];

    test.each([FILES, PLACES])("has the rows and the types: %j", async (columns) => {
      const path = join(temporaryFolder(), "out.parquet");
      writeFileSync(path, bytesOf(chunksOf(columns, true)));
      const read = await python<Record<string, unknown>>(READ, [path, ...INDICES.map(String)]);
      const none = { label: null, className: null, probability: null, error: null, message: null };
      const all = columns.probabilities ? { probabilities: null } : {};
      expect(read).toEqual({
        groups: 3,
        count: COUNT,
        types: {
          ...(columns.named ? { file: "string" } : { index: "int64" }),
          ...{ label: "int32", className: "string", probability: "float" },
          ...(columns.probabilities && { probabilities: expect.stringMatching(/^list<\w+: float/) }),
          ...{ error: "string", message: "string" },
        },
        rows: INDICES.map((image) => ({ ...none, ...all, ...row(image, columns) })),
      });
    });

    test("of no images, and of nothing but bad ones, can be read", async () => {
      for (const bad of [0, 4]) {
        const encoder = new ParquetEncoder(FILES);
        const all = answers(0, bad);
        const unreadable = new Map(Array.from({ length: bad }, (_, i) => [i, { code: "C", message: "m" }]));
        const path = join(temporaryFolder(), "out.parquet");
        writeFileSync(path, bytesOf([...encoder.add({ ...all, unreadable }), encoder.end()]));
        expect(await python(READ, [path])).toMatchObject({ count: bad });
      }
    });
  });
});
