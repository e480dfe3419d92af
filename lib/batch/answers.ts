// What is known of a batch once it was predicted, and what of it is written.
import type { TopClass } from "../lenet5/top-classes.js";

/** Images that could not be read, by their place in the batch. */
export type UnreadableImages = ReadonlyMap<number, { readonly code: string; readonly message: string }>;

/** The answers of consecutive images. */
export interface Answers {
  /** Place of the first image in the input. */
  readonly first: number;
  readonly count: number;
  /** Of files; images of an IDX file have their places alone. */
  readonly names: readonly string[] | undefined;
  readonly unreadable: UnreadableImages;
  /** Of each image; meaningless where it could not be read, as is what follows. */
  readonly labels: Int32Array;
  /** count × classes. */
  readonly probabilities: Float32Array;
  readonly top: readonly (readonly TopClass[])[] | undefined;
}

/** What a row has. */
export interface Columns {
  /** Whether images have names, or places alone. */
  readonly named: boolean;
  readonly classNames: readonly string[];
  /** Whether the probabilities of all classes are written. */
  readonly probabilities: boolean;
}

/** Rows in a file's format. */
export interface Chunk {
  readonly bytes: Uint8Array;
  /** Number of images. */
  readonly images: number;
  /** How many of them could not be read. */
  readonly unreadable: number;
  /** What the format has to know of these bytes at its end; it goes through JSON. */
  readonly note?: unknown;
}

/** The writer of a format. */
export interface Encoder {
  /** Takes answers. @returns what is ready to be written, each with whole images */
  add(answers: Answers): Chunk[];
  /** What is left, and the end of the file. */
  end(): Chunk;
}
