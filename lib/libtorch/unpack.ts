// Takes a libtorch out of a wheel or of the official zip archive: headers, and the libraries that are needed here. A
// wheel of 530 MB holds 1 GB of CUDA code, which a CPU machine has no use for.
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Entry, openPromise } from "yauzl";
import { throwIfAborted } from "../abort.js";
import { isLeNet5Error, LeNet5Error } from "../errors.js";

/** Libraries that only CUDA or Python need; libtorch.so and libtorch_global_deps only tie the others together. */
const CUDA_LIBRARY =
  /^(lib)?(torch\.so|torch_global_deps|torch_cuda|c10_cuda|caffe2_nvrtc|torch_nvshmem|cudart|cudnn|cublas|nvrtc|nvToolsExt)/;
const UNNEEDED_LIBRARY = /^(lib)?(torch_python|shm)|_windows|\.a$|\.pyd$/;
/** No library of a libtorch is larger; what declares more is not unpacked. */
const LARGEST_ENTRY = 4 * 2 ** 30;

/** What {@link unpackLibtorch} is told. */
export interface UnpackOptions {
  /** Keeps the CUDA libraries too. */
  cuda?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

/** Where an archive's entry goes below the target, or `undefined` where it is not needed. */
type Placement = (name: string) => string | undefined;

/** The place of an entry of a torch wheel (`torch/…`, `torch.libs/…`) or of the official archive (`libtorch/…`). */
function libtorchPlacement(cuda: boolean): Placement {
  return (name) => {
    const inside = /^(?:torch|libtorch)\/(.+)$/.exec(name)?.[1];
    const beside = /^torch\.libs\/([^/]+)$/.exec(name)?.[1];
    const library = beside ?? /^lib\/([^/]+)$/.exec(inside ?? "")?.[1];
    if (library) {
      if (UNNEEDED_LIBRARY.test(library) || (!cuda && CUDA_LIBRARY.test(library))) return undefined;
      return join("lib", library);
    }
    return inside && (inside.startsWith("include/") || /^(version\.py|build-version|build-hash)$/.test(inside))
      ? inside
      : undefined;
  };
}

/** The place of an entry of one of NVIDIA's wheels: its libraries, in one folder with those of libtorch. */
const nvidiaPlacement: Placement = (name) =>
  /^nvidia\/.*\/lib[^/]+\.so[.0-9]*$/.test(name) ? join("lib", basename(name)) : undefined;

/**
 * Unpacks a torch wheel or an official libtorch archive.
 *
 * @returns contents of the wheel's METADATA, which names the packages that go with it; empty for an archive
 * @throws LeNet5Error `LENET5_LIBTORCH_INSTALL_FAILED`, `LENET5_ABORTED`
 */
export async function unpackLibtorch(archive: string, target: string, options: UnpackOptions): Promise<string> {
  const { metadata, count } = await unpack(archive, target, libtorchPlacement(options.cuda === true), options.signal);
  if (count === 0) throw failed(archive, "it holds no libtorch (torch/… or libtorch/…)");
  return metadata;
}

/** Unpacks those libraries of an NVIDIA wheel whose names `wanted` takes. */
export async function unpackNvidia(
  archive: string,
  target: string,
  wanted: (name: string) => boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  await unpack(archive, target, (name) => (wanted(basename(name)) ? nvidiaPlacement(name) : undefined), signal);
}

async function unpack(archive: string, target: string, place: Placement, signal: AbortSignal | undefined) {
  let metadata = "";
  let count = 0;
  // yauzl refuses names that lead out of the target: absolute ones, "..", backslashes.
  const zip = await openPromise(archive, { autoClose: false }).catch((cause: Error) => {
    throw failed(archive, cause.message, cause);
  });
  try {
    for await (const entry of zip.eachEntry() as AsyncIterable<Entry>) {
      throwIfAborted(signal);
      const name = entry.fileName;
      if (name.endsWith("/")) continue;
      const isMetadata = /^torch-[^/]+\.dist-info\/METADATA$/.test(name);
      const placed = isMetadata ? undefined : place(name);
      if (!isMetadata && !placed) continue;
      if (entry.uncompressedSize > (isMetadata ? 2 ** 20 : LARGEST_ENTRY))
        throw failed(archive, `${name} is too large`);
      const contents = await zip.openReadStreamPromise(entry);
      if (isMetadata) {
        const chunks: Buffer[] = [];
        for await (const chunk of contents) chunks.push(chunk as Buffer);
        metadata = Buffer.concat(chunks).toString("utf8");
        continue;
      }
      const path = join(target, placed!);
      await mkdir(dirname(path), { recursive: true });
      const executable = placed!.startsWith("lib") ? 0o755 : 0o644;
      await pipeline(contents, aborting(signal), createWriteStream(path, { mode: executable, flags: "wx" }));
      count++;
    }
  } catch (cause) {
    throwIfAborted(signal);
    if (isLeNet5Error(cause)) throw cause;
    throw failed(archive, (cause as Error).message, cause);
  } finally {
    zip.close();
  }
  return { metadata, count };
}

function aborting(signal: AbortSignal | undefined): Transform {
  return new Transform({
    transform(chunk, _encoding, done) {
      if (signal?.aborted) done(new Error("aborted"));
      else done(null, chunk);
    },
  });
}

function failed(archive: string, reason: string, cause?: unknown): LeNet5Error {
  return new LeNet5Error(
    "LIBTORCH_INSTALL_FAILED",
    `Expected a torch wheel or a libtorch archive in ${archive} but ${reason}`,
    {
      cause,
    },
  );
}
