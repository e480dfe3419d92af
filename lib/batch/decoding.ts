// What a run and its decoding threads say to each other.
import type { DecodedFiles } from "./decode-files.js";

/** What a thread is begun with. */
export interface DecodingThread {
  /** Where the names are relative to. */
  readonly root: string;
}

/** Files to decode; without names: no more of them, and what is under way is dropped. */
export interface DecodingJob {
  readonly id: number;
  /** With a zero byte between two: one string costs less on its way than hundreds. */
  readonly names?: string;
}

/** What became of a job. */
export type DecodingAnswer = { readonly id: number } & (
  | DecodedFiles
  | { readonly failure: { readonly code: string | undefined; readonly message: string } }
);

/** Between two names. */
export const BETWEEN_NAMES = "\0";
