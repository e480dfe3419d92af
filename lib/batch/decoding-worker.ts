// A thread that decodes: lib/batch/decoders.ts starts it.
import { parentPort, workerData } from "node:worker_threads";
import { isLeNet5Error } from "../errors.js";
import { isNativeError } from "../is.js";
import { decodeFiles } from "./decode-files.js";
import { BETWEEN_NAMES, type DecodingAnswer, type DecodingJob, type DecodingThread } from "./decoding.js";

const port = parentPort!;
const { root } = workerData as DecodingThread;
const stopping = new AbortController();

/** One job at a time: each has its memory. */
let last = Promise.resolve();

port.on("message", ({ id, names }: DecodingJob) => {
  if (names !== undefined) {
    last = last.then(() => answer(id, names));
    return;
  }
  stopping.abort();
  // The thread ends by itself when the libraries are done with what they have begun.
  port.close();
});

async function answer(id: number, names: string): Promise<void> {
  try {
    const { pixels, unreadable } = await decodeFiles(root, names.split(BETWEEN_NAMES), stopping.signal);
    port.postMessage({ id, pixels, unreadable } satisfies DecodingAnswer, [pixels.buffer]);
  } catch (error) {
    const code = isLeNet5Error(error) ? error.code : undefined;
    const message = isNativeError(error) ? error.message : String(error);
    port.postMessage({ id, failure: { code, message } } satisfies DecodingAnswer);
  }
}
