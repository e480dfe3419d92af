// Apache Parquet: columns, in groups of rows, with what lies where at the file's end.
//
// Problem: a file of millions of rows is written over hours, and whoever goes on with it later has to write an end that speaks of
// all groups. Resolution: every group has the same number of rows, is written once it is full, and what the end will say of it
// goes into the run's record (as the note of its chunk), from which a later run takes it back.
import type * as HyparquetWriter from "hyparquet-writer";
import { lazily } from "../lazily.js";
import type { Answers, Chunk, Columns, Encoder } from "./answers.js";

const hyparquetWriter = lazily<typeof HyparquetWriter>("hyparquet-writer");

/** Rows of a group: two megabytes, and some seconds' work at most. */
export const GROUP_ROWS = 65_536;

type ParquetWriter = HyparquetWriter.ParquetWriter;
type Group = ParquetWriter["row_groups"][number];
type Schema = ParquetWriter["schema"];

/** Values of the columns by their names, one a row. */
type Values = Record<string, unknown[]>;

/** Writes Parquet. */
export class ParquetEncoder implements Encoder {
  readonly #columns: Columns;
  readonly #parquet: ParquetWriter;
  readonly #bytes: HyparquetWriter.ByteWriter;
  #rows: Values;
  #count = 0;
  #unreadable = 0;

  /**
   * @param before - what an earlier run has written of the file: its length, and the notes of its chunks
   */
  constructor(columns: Columns, before?: { bytes: number; images: number; notes: readonly unknown[] }) {
    this.#columns = columns;
    this.#rows = emptyRows(columns);
    const { ByteWriter, ParquetWriter } = hyparquetWriter();
    this.#bytes = new ByteWriter();
    this.#parquet = new ParquetWriter({ writer: this.#bytes, schema: schemaOf(columns) });
    if (before === undefined || before.bytes === 0) return;
    // The file begins already.
    this.#bytes.index = 0;
    this.#bytes.offset = before.bytes;
    this.#parquet.row_groups.push(...before.notes.map((note) => readNote(note) as Group));
    this.#parquet.num_rows = BigInt(before.images);
  }

  add(answers: Answers): Chunk[] {
    const chunks: Chunk[] = [];
    for (let image = 0; image < answers.count; image++) {
      this.#push(answers, image);
      if (this.#count === GROUP_ROWS) chunks.push(this.#group());
    }
    return chunks;
  }

  end(): Chunk {
    const last = this.#count === 0 ? undefined : this.#group();
    this.#parquet.finish();
    const end = this.#take();
    if (last === undefined) return { bytes: end, images: 0, unreadable: 0 };
    return { ...last, bytes: Buffer.concat([last.bytes, end]) };
  }

  #push({ names, first, unreadable, labels, probabilities }: Answers, image: number): void {
    const rows = this.#rows;
    const { named, classNames, probabilities: all } = this.#columns;
    const error = unreadable.get(image);
    const label = labels[image]!;
    const classes = classNames.length;
    if (named) rows.file!.push(names![image]);
    else rows.index!.push(BigInt(first + image));
    rows.label!.push(error ? null : label);
    rows.className!.push(error ? null : classNames[label]);
    rows.probability!.push(error ? null : probabilities[image * classes + label]);
    if (all) {
      rows.probabilities!.push(
        error ? null : Array.from(probabilities.subarray(image * classes, (image + 1) * classes)),
      );
    }
    rows.error!.push(error?.code ?? null);
    rows.message!.push(error?.message ?? null);
    this.#count++;
    if (error) this.#unreadable++;
  }

  /** Writes the rows that there are as a group. */
  #group(): Chunk {
    const columnData = Object.entries(this.#rows).map(([name, data]) => ({ name, data, offsetIndex: false }));
    this.#parquet.write({ columnData, rowGroupSize: this.#count });
    const chunk: Chunk = {
      bytes: this.#take(),
      images: this.#count,
      unreadable: this.#unreadable,
      note: writeNote(this.#parquet.row_groups.at(-1)),
    };
    this.#rows = emptyRows(this.#columns);
    this.#count = 0;
    this.#unreadable = 0;
    return chunk;
  }

  /** What the library has written since the last time. */
  #take(): Uint8Array {
    const bytes = this.#bytes.getBytes().slice();
    this.#bytes.index = 0;
    return bytes;
  }
}

function emptyRows({ named, probabilities }: Columns): Values {
  return {
    ...(named ? { file: [] } : { index: [] }),
    ...{ label: [], className: [], probability: [] },
    ...(probabilities ? { probabilities: [] } : {}),
    ...{ error: [], message: [] },
  };
}

/** Names and types, flattened as the format has them; an image that could not be read has no answer, and others no error. */
function schemaOf(columns: Columns): Schema {
  const names = Object.keys(emptyRows(columns));
  const text = { type: "BYTE_ARRAY", converted_type: "UTF8" } as const;
  const types: Record<string, Schema> = {
    file: [{ name: "file", repetition_type: "REQUIRED", ...text }],
    index: [{ name: "index", repetition_type: "REQUIRED", type: "INT64" }],
    label: [{ name: "label", repetition_type: "OPTIONAL", type: "INT32" }],
    className: [{ name: "className", repetition_type: "OPTIONAL", ...text }],
    probability: [{ name: "probability", repetition_type: "OPTIONAL", type: "FLOAT" }],
    probabilities: [
      { name: "probabilities", repetition_type: "OPTIONAL", converted_type: "LIST", num_children: 1 },
      { name: "list", repetition_type: "REPEATED", num_children: 1 },
      { name: "element", repetition_type: "REQUIRED", type: "FLOAT" },
    ],
    error: [{ name: "error", repetition_type: "OPTIONAL", ...text }],
    message: [{ name: "message", repetition_type: "OPTIONAL", ...text }],
  };
  return [{ name: "root", num_children: names.length }, ...names.flatMap((name) => types[name]!)];
}

/** A value in a form that comes back from JSON as it was: with its big integers and its negative zeroes. */
function writeNote(value: unknown): unknown {
  if (typeof value === "bigint") return { $bigint: String(value) };
  if (Object.is(value, -0)) return { $negativeZero: true };
  if (Array.isArray(value)) return value.map(writeNote);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, writeNote(each)]));
}

function readNote(note: unknown): unknown {
  if (Array.isArray(note)) return note.map(readNote);
  if (typeof note !== "object" || note === null) return note;
  if ("$bigint" in note) return BigInt(String(note.$bigint));
  if ("$negativeZero" in note) return -0;
  return Object.fromEntries(Object.entries(note).map(([name, each]) => [name, readNote(each)]));
}
