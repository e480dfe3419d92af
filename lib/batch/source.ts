// The images of a run, in one order, each with its place in it: files of a folder or of a list, or those of an IDX file.
//
// Problem: there may be millions, several processes share them by their places, and a run that goes on after days must find each
// at the same place. Resolution: the input is gone through twice. The first time its images are counted and the names of each
// block of some thousand hashed; the second time a block's names are handed out once they have the hash that they had. Nothing
// is held but a block, the hashes, and the names within one folder. Names alone do not tell one day's images from another's
// (00000.png …): a few files of each block are looked into, and what they hold is hashed too.
import { createHash, type Hash } from "node:crypto";
import { stat } from "node:fs/promises";
import { extname, join, sep } from "node:path";
import { throwIfAborted } from "../abort.js";
import { isGzip } from "../data/idx-header.js";
import { openIdxImages } from "../data/idx-images.js";
import { filesBelow, imageSuffixes } from "../data/image-files.js";
import { expectedButGot, isLeNet5Error } from "../errors.js";
import { readFailure } from "../files.js";
import { imageFormatOf } from "../formats/image-signature.js";
import { readBytes, withRegularFile } from "../regular-file.js";
import { isOfTheFile } from "./decode-files.js";
import { pathsOf } from "./path-list.js";

/** Consecutive images. */
export type Batch =
  /** Files, by their names within the input. */
  | { readonly first: number; readonly names: readonly string[] }
  /** Images that need no decoding. */
  | { readonly first: number; readonly pixels: Uint8Array };

/** An input that was looked at and not read yet. */
export interface Source {
  readonly kind: "folder" | "list" | "idx";
  /** Number of images. */
  readonly count: number;
  /** Of what the images are: another one where they are others. */
  readonly digest: string;
  /** Files of a folder that are no images by their names. */
  readonly ignored: number;
  /** Where the names are relative to; "" where they are paths. */
  readonly root: string;
  /**
   * The images `from` … `to` − 1.
   * @throws LENET5_DATA_CORRUPT where they are not those any more that were counted; LENET5_ABORTED
   */
  batches(from: number, to: number, signal: AbortSignal): AsyncGenerator<Batch>;
}

/** Names that are hashed together. */
const BLOCK = 16_384;
/** Files of a block that are looked into. */
const SAMPLES = 8;
/** Bytes that are looked at of each: all of a small PNG. */
const SAMPLE = 4096;
/** Files in a batch: some milliseconds of decoding where they are small. */
const FILES = 256;
/** Images in a batch of an IDX file: what a model predicts at once. */
const IMAGES = 1024;
/** What is looked at of a file to tell what it is. */
const HEAD = 32;

/**
 * Opens a folder of images, a list of paths (a text file, one a line) or an IDX file, plain or gzip; which one it is tells
 * the file itself.
 * @throws LENET5_DATA_NOT_FOUND, LENET5_FILE_READ_FAILED, LENET5_DATA_CORRUPT, LENET5_DATA_EMPTY, LENET5_INVALID_SHAPE,
 *   LENET5_INVALID_ARGUMENT for a file of another kind, LENET5_ABORTED
 * @param onCounted - called now and then with the number of images that were counted so far, of which there may be millions
 */
export async function openSource(
  path: string,
  signal: AbortSignal,
  onCounted?: (images: number) => void,
): Promise<Source> {
  const source = await sourceAt(path, signal, onCounted ?? (() => {}));
  if (source.count > 0) return source;
  const received = source.ignored === 0 ? "none" : `none among ${source.ignored} files`;
  throw expectedButGot("DATA_EMPTY", "at least one image", path, received);
}

async function sourceAt(path: string, signal: AbortSignal, onCounted: (images: number) => void): Promise<Source> {
  const what = "a folder, a list of paths or an IDX file";
  const found = await stat(path).catch((error: unknown) => {
    throw readFailure(error, "DATA_NOT_FOUND", what, path);
  });
  if (found.isDirectory()) return await folderSource(path, signal, onCounted);
  const head = await withRegularFile(path, { what, missing: "DATA_NOT_FOUND" }, (file, size) =>
    readBytes(file, Math.min(size, HEAD)),
  );
  const format = imageFormatOf(head);
  if (format !== undefined) throw expectedButGot("INVALID_ARGUMENT", what, path, `a ${format} file`);
  if (isGzip(head) || (head[0] === 0 && head[1] === 0)) return await idxSource(path);
  return await namesSource(
    { kind: "list", root: "", path, ignored: () => 0, names: (told) => pathsOf(path, told) },
    signal,
    onCounted,
  );
}

async function idxSource(path: string): Promise<Source> {
  const { count, digest, pixels } = await openIdxImages(path);
  return {
    kind: "idx",
    ...{ count, digest, ignored: 0, root: "" },
    async *batches(from, to, signal) {
      let first = from;
      for await (const some of pixels(from, to, IMAGES, signal)) {
        yield { first, pixels: some };
        first += IMAGES;
      }
    },
  };
}

async function folderSource(path: string, signal: AbortSignal, onCounted: (images: number) => void): Promise<Source> {
  const suffixes = imageSuffixes();
  let ignored = 0;
  async function* names(told: AbortSignal): AsyncGenerator<string[]> {
    ignored = 0;
    for await (const files of filesBelow(path, { skipHidden: true, signal: told })) {
      const images = files.filter((file) => suffixes.has(extname(file).toLowerCase()));
      ignored += files.length - images.length;
      yield sep === "/" ? images : images.map((file) => file.replaceAll(sep, "/"));
    }
  }
  return await namesSource({ kind: "folder", root: path, path, ignored: () => ignored, names }, signal, onCounted);
}

/** Names that can be gone through again and again. */
interface Names {
  kind: "folder" | "list";
  root: string;
  /** For messages. */
  path: string;
  /** As the last reading found them. */
  ignored: () => number;
  names: (signal: AbortSignal) => AsyncIterable<string[]>;
}

async function namesSource(
  { kind, root, path, ignored, names }: Names,
  signal: AbortSignal,
  onCounted: (images: number) => void,
): Promise<Source> {
  const hashes: string[] = [];
  const contents = createHash("sha256");
  let count = 0;
  for await (const block of blocksOf(names(signal))) {
    count += block.length;
    hashes.push(hashOf(block));
    await addSamples(contents, block, root, signal);
    onCounted(count);
  }
  const digest = createHash("sha256")
    .update(`${kind} ${count}\n${hashes.join("\n")}\n${contents.digest("hex")}`)
    .digest("hex");
  return {
    ...{ kind, count, digest, ignored: ignored(), root },
    async *batches(from, to, told) {
      // Each batch but the last has as many: where a run that goes on begins at the end of one, its batches, by which the last
      // digits of the answers may differ, are those of a run without interruption.
      let batch: string[] = [];
      let first = from;
      let start = 0;
      for await (const block of blocksOf(names(told))) {
        if (start >= to) break;
        const end = start + block.length;
        if (end > from && hashOf(block) !== hashes[start / BLOCK]) throw changed(path, kind);
        for (const name of block.slice(Math.max(from - start, 0), Math.min(to, end) - start)) {
          batch.push(name);
          if (batch.length < FILES) continue;
          yield { first, names: batch };
          first += FILES;
          batch = [];
        }
        start = end;
      }
      if (start < to) throw changed(path, kind);
      if (batch.length > 0) yield { first, names: batch };
    },
  };
}

/** The same names in blocks of one size, the last one smaller. */
async function* blocksOf(names: AsyncIterable<string[]>): AsyncGenerator<string[]> {
  let block: string[] = [];
  for await (const some of names) {
    for (const name of some) {
      block.push(name);
      if (block.length < BLOCK) continue;
      yield block;
      block = [];
    }
  }
  if (block.length > 0) yield block;
}

/** What some of a block's files begin with, and how long they are. */
async function addSamples(hash: Hash, block: readonly string[], root: string, signal: AbortSignal): Promise<void> {
  const samples = Math.min(SAMPLES, block.length);
  for (let i = 0; i < samples; i++) {
    throwIfAborted(signal);
    const name = block[Math.floor((i * block.length) / samples)]!;
    const path = root === "" ? name : join(root, name);
    try {
      await withRegularFile(path, { what: "an image file", missing: "DATA_NOT_FOUND" }, async (file, size) => {
        hash.update(`${size}\n`).update(await readBytes(file, Math.min(size, SAMPLE)));
      });
    } catch (error) {
      // It will have a row that says why.
      if (!isLeNet5Error(error) || !isOfTheFile(error)) throw error;
      hash.update("none\n");
    }
  }
}

/** No name has a zero byte. */
function hashOf(names: readonly string[]): string {
  return createHash("sha256").update(names.join("\0")).digest("hex");
}

function changed(path: string, kind: string) {
  const what = `the names that were there when they were counted`;
  return expectedButGot("DATA_CORRUPT", what, path, `a ${kind} that has changed since`);
}
