// A text file with one path a line, read a piece at a time.
import { StringDecoder } from "node:string_decoder";
import { throwIfAborted } from "../abort.js";
import { expectedButGot, isLeNet5Error } from "../errors.js";
import { readFailure } from "../files.js";
import { openRegularFile, type Wanted } from "../regular-file.js";

const WANTED: Wanted = { what: "a list of paths", missing: "DATA_NOT_FOUND" };
/** Bytes that are read at a time. */
const PIECE = 2 ** 16;
/** A line that is longer than this is no path on any system. */
const LONGEST = 2 ** 15;
const BYTE_ORDER_MARK = "\ufeff";

/**
 * The paths of a list, some at a time. Lines may end as on Windows; lines with nothing but spaces are passed over.
 * @throws LENET5_DATA_NOT_FOUND, LENET5_FILE_READ_FAILED, LENET5_DATA_CORRUPT for what is no text, LENET5_ABORTED
 */
export async function* pathsOf(list: string, signal: AbortSignal | undefined): AsyncGenerator<string[]> {
  const { file } = await openRegularFile(list, WANTED);
  try {
    const bytes = Buffer.alloc(PIECE);
    const decoder = new StringDecoder("utf8");
    let rest = "";
    for (let position = 0; ; ) {
      throwIfAborted(signal);
      const { bytesRead } = await file.read(bytes, 0, PIECE, position);
      let text = rest + (bytesRead === 0 ? decoder.end() : decoder.write(bytes.subarray(0, bytesRead)));
      if (position === 0 && text.startsWith(BYTE_ORDER_MARK)) text = text.slice(1);
      position += bytesRead;
      const lines = text.split("\n");
      rest = bytesRead === 0 ? "" : lines.pop()!;
      const paths = lines
        .map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line))
        .filter((line) => line.trim() !== "");
      if (text.includes("\0") || rest.length > LONGEST || paths.some(({ length }) => length > LONGEST)) {
        throw expectedButGot("DATA_CORRUPT", "paths, one a line,", list, "what is no text");
      }
      if (paths.length > 0) yield paths;
      if (bytesRead === 0) return;
    }
  } catch (error) {
    throw isLeNet5Error(error) ? error : readFailure(error, WANTED.missing, WANTED.what, list);
  } finally {
    await file.close();
  }
}
