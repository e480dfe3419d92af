// IDX, the format of MNIST: two zero bytes, a type byte, the number of dimensions, one big-endian u32 a dimension, data.
// Plain or gzip, told apart by the first two bytes.
//
// Problem: a header of a few bytes may declare any size, and a small gzip file may unpack to any size; neither may
// decide how much memory is taken. Resolution: the header is read first (from the unpacked first kilobytes of a gzip
// file), the size it declares is held against the file's own length (deflate cannot pack more than 1,032 to 1), and
// unpacking stops at exactly the declared size.
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { expected, expectedButGot } from "../errors.js";
import { writeFileAtomically } from "../files.js";
import { isObject, isUint8Array } from "../is.js";
import { readOptions } from "../options.js";
import { readBytes, withRegularFile } from "../regular-file.js";
import { checkDataset, checkLabels, type Dataset, DIGIT_NAMES, SIDE } from "./dataset.js";
import {
  corrupt,
  damaged,
  isGzip,
  MAX_DIMENSIONS,
  MAX_HEADER,
  MAX_RATIO,
  parseHeader,
  UNSIGNED_BYTE,
  unpackPrefix,
  wrongLength,
} from "./idx-header.js";

/** The contents of an IDX file of unsigned bytes. */
export interface IdxArray {
  /** Elements, row-major. */
  data: Uint8Array;
  /** Sizes of the dimensions, for MNIST `[60000, 28, 28]` or `[60000]`. */
  shape: number[];
}

/** Options of {@link readDataset}. */
export interface IdxDatasetOptions {
  /** One name a class; labels must lie below their number. @defaultValue `["0", …, "9"]` */
  classNames?: readonly string[];
}

/** The four files that make up a training and a test set, by MNIST's names. */
export const IDX_FILES = {
  trainImages: "train-images-idx3-ubyte",
  trainLabels: "train-labels-idx1-ubyte",
  testImages: "t10k-images-idx3-ubyte",
  testLabels: "t10k-labels-idx1-ubyte",
} as const;

/** More than any data set of small images: 1 GiB unpacked. */
const MAX_BYTES = 2 ** 30;

const unpack = promisify(gunzip);
const pack = promisify<Buffer, { level: number }, Buffer>(gzip);

/**
 * Reads an IDX file of unsigned bytes, plain or gzip.
 *
 * @param source - path, or the file's contents
 * @returns its elements and shape
 * @throws LENET5_DATA_NOT_FOUND when there is no such file, LENET5_FILE_READ_FAILED when there is one that cannot be read;
 *   LENET5_DATA_CORRUPT when magic, dimensions and length
 *   contradict one another, or a gzip file is damaged or unpacks to more than its header declares
 */
export async function read(source: string | Uint8Array): Promise<IdxArray> {
  return (await readWhole(source)).array;
}

/**
 * Like {@link read}, and also gives the unpacked file byte for byte, for checksums.
 * @internal
 */
export async function readWhole(source: string | Uint8Array): Promise<{ array: IdxArray; bytes: Uint8Array }> {
  const where = typeof source === "string" ? source : "IDX data";
  if (typeof source !== "string" && !isUint8Array(source)) {
    throw expected("INVALID_ARGUMENT", "a path or a Buffer", "IDX data", source);
  }
  // What was handed over is the caller's to change as soon as the call has returned.
  const contents = typeof source === "string" ? await readPath(source) : Uint8Array.from(source);
  const zipped = isGzip(contents);
  const header = parseHeader(zipped ? unpackPrefix(contents, where) : contents, where, MAX_BYTES);
  const declared = header.length + header.elements;
  const room = zipped ? contents.length * MAX_RATIO : contents.length;
  if (declared > room || (!zipped && declared !== room)) throw wrongLength(where, header, zipped, room);
  const bytes = zipped ? await unpackExactly(contents, declared, where) : contents;
  // A plain Uint8Array even over a Buffer: a Buffer means "an encoded image" elsewhere in the API.
  const data = new Uint8Array(bytes.buffer, bytes.byteOffset + header.length, header.elements);
  return { array: { data, shape: header.shape }, bytes };
}

/**
 * Reads a pair of IDX files as a data set.
 *
 * @param images - path or contents of the images, `[N, 28, 28]`
 * @param labels - path or contents of the labels, `[N]`
 * @throws what {@link read} throws; LENET5_INVALID_SHAPE for other dimensions, LENET5_COUNT_MISMATCH when images and
 *   labels differ in number, LENET5_DATA_EMPTY for none, LENET5_INVALID_LABELS for a label without a class
 */
export async function readDataset(
  images: string | Uint8Array,
  labels: string | Uint8Array,
  options: IdxDatasetOptions = {},
): Promise<Dataset> {
  const { classNames: given = DIGIT_NAMES } = readOptions(options, ["classNames"], "idx.readDataset");
  if (!Array.isArray(given) || given.length === 0 || given.some((name) => typeof name !== "string")) {
    throw expected("INVALID_OPTION", "an array of at least one string", "classNames", given);
  }
  const classNames: string[] = [...given];
  const [pixels, classes] = await Promise.all([read(images), read(labels)]);
  const imagesName = typeof images === "string" ? images : "images";
  const labelsName = typeof labels === "string" ? labels : "labels";
  const [count, height, width] = pixels.shape;
  if (pixels.shape.length !== 3 || height !== SIDE || width !== SIDE) {
    throw expected("INVALID_SHAPE", `dimensions [N, ${SIDE}, ${SIDE}]`, imagesName, pixels.shape);
  }
  if (classes.shape.length !== 1) throw expected("INVALID_SHAPE", "one dimension [N]", labelsName, classes.shape);
  if (classes.shape[0] !== count) {
    throw expectedButGot("COUNT_MISMATCH", `${count} labels, one an image,`, labelsName, `${classes.shape[0]}`);
  }
  checkLabels(classes.data, classNames.length, labelsName);
  const dataset: Dataset = {
    images: pixels.data,
    labels: Int32Array.from(classes.data),
    count: count ?? 0,
    height: SIDE,
    width: SIDE,
    classNames,
  };
  checkDataset(dataset, imagesName);
  return dataset;
}

/**
 * Encodes an array as the bytes of a plain IDX file.
 * @throws LENET5_INVALID_ARGUMENT; LENET5_INVALID_SHAPE when the shape does not fit the data or the format
 */
export function encode(array: IdxArray): Buffer {
  const { data, shape } = Object(array) as Partial<IdxArray>;
  if (!isUint8Array(data) || !Array.isArray(shape)) {
    throw expected("INVALID_ARGUMENT", "{ data: Uint8Array, shape }", "an IDX file", array);
  }
  const fits = shape.length >= 1 && shape.length <= MAX_DIMENSIONS && shape.every((size) => size >>> 0 === size);
  if (!fits || shape.reduce((product, size) => product * size, 1) !== data.length) {
    throw expected("INVALID_SHAPE", `dimensions with the product ${data.length}`, "an IDX file", shape);
  }
  const bytes = Buffer.alloc(4 + 4 * shape.length + data.length);
  bytes[2] = UNSIGNED_BYTE;
  bytes[3] = shape.length;
  for (const [axis, size] of shape.entries()) bytes.writeUInt32BE(size, 4 + 4 * axis);
  bytes.set(data, 4 + 4 * shape.length);
  return bytes;
}

/**
 * Writes an IDX file, gzip'd when the path ends in `.gz`. The file appears whole or not at all.
 * @throws LENET5_INVALID_ARGUMENT, LENET5_INVALID_SHAPE, LENET5_FILE_BUSY, LENET5_FILE_WRITE_FAILED
 */
export async function write(path: string, array: IdxArray): Promise<void> {
  if (typeof path !== "string" || path === "") throw expected("INVALID_ARGUMENT", "a file's path", "idx.write", path);
  const bytes = encode(array);
  await writeFileAtomically(path, path.endsWith(".gz") ? await pack(bytes, { level: 9 }) : bytes);
}

/**
 * Writes a training and a test set as the four gzip'd files of MNIST, so that any MNIST reader can take the folder.
 *
 * @param directory - created when it is not there
 * @returns the paths written
 * @throws LENET5_INVALID_LABELS when a label is above 255, and what {@link write} throws
 */
export async function writeDatasets(directory: string, sets: { train: Dataset; test: Dataset }): Promise<string[]> {
  if (typeof directory !== "string") throw expected("INVALID_ARGUMENT", "a folder", "idx.writeDatasets", directory);
  if (!isObject(sets)) throw expected("INVALID_ARGUMENT", "{ train, test }", "idx.writeDatasets", sets);
  const paths: string[] = [];
  for (const part of ["train", "test"] as const) {
    const dataset = sets[part];
    checkDataset(dataset, part);
    checkLabels(dataset.labels, 256, `${part}.labels`);
    const imagesPath = join(directory, `${IDX_FILES[`${part}Images`]}.gz`);
    const labelsPath = join(directory, `${IDX_FILES[`${part}Labels`]}.gz`);
    await write(imagesPath, { data: dataset.images, shape: [dataset.count, SIDE, SIDE] });
    await write(labelsPath, { data: Uint8Array.from(dataset.labels), shape: [dataset.count] });
    paths.push(imagesPath, labelsPath);
  }
  return paths;
}

/** Reads a file once its header has been held against its length: a wrong file is refused before it is read whole. */
async function readPath(path: string): Promise<Uint8Array> {
  return await withRegularFile(path, { what: "an IDX file", missing: "DATA_NOT_FOUND" }, async (file, size) => {
    if (size > MAX_BYTES) throw expectedButGot("DATA_CORRUPT", `at most ${MAX_BYTES} bytes`, path, `${size} bytes`);
    const start = await readBytes(file, Math.min(size, MAX_HEADER));
    if (!isGzip(start)) {
      const header = parseHeader(start, path, MAX_BYTES);
      if (header.length + header.elements !== size) throw wrongLength(path, header, false, size);
    }
    return await readBytes(file, size);
  });
}

async function unpackExactly(contents: Uint8Array, declared: number, where: string): Promise<Uint8Array> {
  let bytes: Buffer;
  try {
    bytes = await unpack(contents, { maxOutputLength: declared });
  } catch (error) {
    if ((error as { code?: string }).code === "ERR_BUFFER_TOO_LARGE") {
      throw corrupt(`the ${declared} bytes that its header declares`, where, "a gzip file that unpacks to more");
    }
    throw damaged(where, error);
  }
  if (bytes.length !== declared) {
    throw corrupt(`the ${declared} bytes that its header declares`, where, `${bytes.length} bytes after unpacking`);
  }
  return bytes;
}
