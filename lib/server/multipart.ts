// The parts of a multipart form whose bytes are there.
//
// @fastify/multipart would read it as it comes in, at the price of two promises and a listener for each request of the route,
// whether it is a form or not: as much as the network takes. Bodies are bounded and read whole here; the parser below it does.
//
// Problem: the parser waits for whoever reads a part, and for a large one that it skips itself, having no name for it, it waits
// for ever; and it makes a stream of each of a million parts, in one go of seconds, after it has said that they are too many.
// Resolution: no part is as large as to wait for, since all bytes are there; the first part too many ends the parsing.
import type { Readable } from "node:stream";
import { expectedButGot, isLeNet5Error } from "../errors.js";
import { isNativeError } from "../is.js";
import { busboy } from "./dependencies.js";

/** One part of a form. */
export interface Part {
  readonly body: Buffer;
  /** Its `Content-Type`, in lower case and without parameters; `text/plain` where it says none. */
  readonly contentType: string;
}

const MOST_PARTS = 2;
const MOST_HEADERS = 100;
const LONGEST_HEADERS = 16_384;

/**
 * The parts of a form by their names.
 * @param contentType - the whole header, which has the boundary
 * @throws LENET5_REQUEST_INVALID for a form that is not whole, LENET5_REQUEST_TOO_LARGE for one of more than two parts
 */
export async function partsOf(body: Buffer, contentType: string): Promise<Map<string, Part>> {
  const parts = new Map<string, Part>();
  const reading: Promise<void>[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      const parser = new (busboy())({
        headers: { "content-type": contentType },
        limits: { files: MOST_PARTS, parts: MOST_PARTS, headerPairs: MOST_HEADERS, headerSize: LONGEST_HEADERS },
        // Every part is bytes: as a field its bytes would become text.
        isPartAFile: () => true,
        fileHwm: body.length + 1,
      });
      let isParsing = false;
      const tooMany = (): void => {
        const error = expectedButGot("REQUEST_TOO_LARGE", `at most ${MOST_PARTS} parts`, "the form", "more");
        reject(error);
        // Out of the parser, through all that called it.
        if (isParsing) throw error;
      };
      parser.on("file", (name: string, file: Readable, _fileName: string, _encoding: string, type: string) => {
        const read = bytesOf(file).then((bytes) => void parts.set(name, { body: bytes, contentType: type }));
        read.catch(reject);
        reading.push(read);
      });
      parser.on("partsLimit", tooMany).on("filesLimit", tooMany);
      parser.on("error", reject).on("finish", resolve);
      isParsing = true;
      try {
        parser.end(body);
      } finally {
        isParsing = false;
      }
    });
    await Promise.all(reading);
  } catch (error) {
    if (isLeNet5Error(error)) throw error;
    const received = isNativeError(error) ? error.message : String(error);
    throw expectedButGot("REQUEST_INVALID", "a whole multipart form", "the body", received);
  }
  return parts;
}

async function bytesOf(file: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of file) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
