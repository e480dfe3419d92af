// Fetches one file from the first mirror that delivers it whole.
//
// Problem: a mirror may be down, stall, drip, cut the connection, refuse to resume, send too much or the wrong bytes; a
// half-fetched file must never be taken for a whole one. Resolution: bytes go to a `.part` file of their own for each
// address, an attempt that brought bytes is continued where it ended, the caller's check decides whether the file is
// right, and only then is it renamed into place. Nothing but the check is believed: neither status nor length. A full disk
// and a progress callback that throws are no mirror's fault: they end the call, whatever other mirrors there are.
import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { throwIfAborted } from "./abort.js";
import { withoutCredentials } from "./credentials.js";
import { isLeNet5Error, LeNet5Error } from "./errors.js";
import { writeFailure } from "./files.js";
import { CallbackFailure, reasonOf, type TransferLimits, TransferWatch } from "./transfer-watch.js";

/** State of a download. */
export interface DownloadProgress {
  /** Name of the file that is being fetched. */
  file: string;
  /** Address it comes from. */
  url: string;
  /** Bytes received so far, those of an earlier attempt included. */
  receivedBytes: number;
  /** Bytes of the whole file, where the server says so. */
  totalBytes: number | undefined;
}

/** What {@link downloadFile} is told. */
export interface DownloadRequest extends TransferLimits {
  /** Addresses of the same file, tried in order. */
  urls: readonly string[];
  /** Where the file goes. */
  target: string;
  /** Name for progress and messages. */
  file: string;
  /** Most bytes that may be received. */
  maxBytes: number;
  /** Throws when the received file is not the right one; LENET5_FILE_READ_FAILED where it cannot be read ends the call. */
  verify: (path: string) => Promise<void>;
  onProgress?: ((progress: DownloadProgress) => void) | undefined;
}

/** Attempts at one address, as long as each of them brings bytes. */
const MAX_ATTEMPTS = 5;

/**
 * Fetches a file, resuming what an earlier call left behind.
 *
 * @returns the address that delivered
 * @throws LENET5_DATA_DOWNLOAD_FAILED with every address and why it failed; LENET5_FILE_WRITE_FAILED; LENET5_ABORTED;
 *   what `onProgress` throws
 */
export async function downloadFile(request: DownloadRequest): Promise<string> {
  await onDisk(request.target, mkdir(dirname(request.target), { recursive: true }));
  const failures: string[] = [];
  for (const url of request.urls) {
    const failure = await fromMirror(url, request);
    if (failure === undefined) return url;
    failures.push(withoutCredentials(`${url}: ${failure}`));
  }
  const reasons = failures.length === 0 ? "no mirror was given" : failures.join("; ");
  throw new LeNet5Error(
    "DATA_DOWNLOAD_FAILED",
    `Expected one mirror that delivers for ${request.file} but received ${reasons}`,
  );
}

/** Tries one address until the file is right or there is no hope; returns why not. */
async function fromMirror(url: string, request: DownloadRequest): Promise<string | undefined> {
  // Mirrors may have compressed the same data differently: what one sent is never continued by another.
  const part = `${request.target}.${createHash("sha256").update(url).digest("hex").slice(0, 8)}.part`;
  let failure = "";
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    throwIfAborted(request.signal);
    const before = await sizeOf(part);
    try {
      await receive(url, part, before, request);
    } catch (error) {
      if (error instanceof CallbackFailure) throw error.thrown;
      throwIfAborted(request.signal);
      if (isLeNet5Error(error)) throw error;
      failure = reasonOf(error);
      const hopeless = error instanceof Refusal && !error.retry;
      if (hopeless || (before === 0 && (await sizeOf(part)) === 0)) break;
      if (!(error instanceof Refusal) && (await sizeOf(part)) <= before) break;
      continue;
    }
    try {
      await request.verify(part);
    } catch (error) {
      throwIfAborted(request.signal);
      if (isLeNet5Error(error) && error.code === "LENET5_FILE_READ_FAILED") throw error;
      await onDisk(part, rm(part, { force: true }));
      failure = reasonOf(error);
      // The start may have been left by an earlier, broken attempt: once more, from nothing.
      if (before > 0) continue;
      break;
    }
    throwIfAborted(request.signal);
    await onDisk(request.target, rename(part, request.target));
    return undefined;
  }
  if ((await sizeOf(part)) === 0) await onDisk(part, rm(part, { force: true }));
  return failure;
}

/** An answer that is of no use; `retry` when asking again from the start may help. */
class Refusal extends Error {
  constructor(
    message: string,
    readonly retry = false,
  ) {
    super(message);
  }
}

/** A failure of this machine's disk ends the call: the next mirror would meet the same. */
async function onDisk<T>(path: string, work: Promise<T>): Promise<T> {
  return await work.catch((error: unknown) => {
    throw writeFailure(error, path);
  });
}

async function receive(url: string, part: string, offset: number, request: DownloadRequest): Promise<void> {
  const watch = new TransferWatch(request);
  let file: FileHandle | undefined;
  try {
    const response = await fetch(url, {
      // Without this a server may pack the packed file once more, and lengths and ranges mean something else.
      headers: { "accept-encoding": "identity", ...(offset > 0 ? { range: `bytes=${offset}-` } : {}) },
      redirect: "follow",
      signal: watch.signal,
    });
    watch.answered();
    const start = await startOf(response, offset, part);
    const encoded = response.headers.has("content-encoding");
    const length = Number(response.headers.get("content-length") ?? Number.NaN);
    const total = encoded || !Number.isSafeInteger(length) ? undefined : start + length;
    if (total !== undefined && total > request.maxBytes) throw await tooMuch(part, request.maxBytes);
    file = await onDisk(part, open(part, start > 0 ? "a" : "w"));
    let received = start;
    const report = () =>
      CallbackFailure.of(() =>
        request.onProgress?.({ file: request.file, url, receivedBytes: received, totalBytes: total }),
      );
    report();
    if (response.body === null) throw new Refusal("an answer without a body");
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      received += chunk.length;
      if (received > request.maxBytes) throw await tooMuch(part, request.maxBytes);
      await onDisk(part, file.writeFile(chunk));
      watch.progress(chunk.length);
      report();
    }
    if (total !== undefined && received < total) throw new Error(`${received} of ${total} bytes`);
    await onDisk(part, file.sync());
  } catch (error) {
    throw watch.reason ?? error;
  } finally {
    watch.stop();
    await file?.close().catch(() => {}); // what was written was synchronised before
  }
}

/** Where the body of an answer belongs in the file: at the offset asked for, or at the start when ranges are refused. */
async function startOf(response: Response, offset: number, part: string): Promise<number> {
  if (response.status === 200) return 0;
  if (response.status === 206 && offset > 0) {
    const start = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1];
    if (Number(start) === offset) return offset;
  }
  await response.body?.cancel();
  if (offset > 0) {
    // 416, or a range nobody asked for: the part file does not fit what the server has.
    await onDisk(part, rm(part, { force: true }));
    throw new Refusal(`status ${response.status} for a range`, true);
  }
  throw new Refusal(`status ${response.status}`);
}

async function tooMuch(part: string, maxBytes: number): Promise<Refusal> {
  await onDisk(part, rm(part, { force: true }));
  return new Refusal(`more than the ${maxBytes} bytes that the file can have`);
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0;
  }
}
