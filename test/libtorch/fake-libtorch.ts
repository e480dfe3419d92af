// Folders and archives that look like a libtorch to whoever only looks: headers with a version, libraries with the mangled
// names that tell the ABI. Nothing in them can be loaded.
import { createWriteStream, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { ZipFile } from "yazl";

const NEW_ABI = "_ZN3c105ErrorC1ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE";
const OLD_ABI = "_ZN3c105ErrorC1ENS_14SourceLocationESs";

/** Its files, path → contents. */
export function fakeLibtorchFiles(
  version: string,
  { cxx11Abi = true, headers = version } = {},
): Record<string, string> {
  const [major, minor, patch] = headers.split(".");
  return {
    "include/torch/csrc/api/include/torch/torch.h": "#pragma once\n",
    "include/torch/csrc/api/include/torch/version.h": `#define TORCH_VERSION_MAJOR ${major}\n#define TORCH_VERSION_MINOR ${minor}\n#define TORCH_VERSION_PATCH ${patch}\n`,
    "lib/libc10.so": cxx11Abi ? NEW_ABI : OLD_ABI,
    "lib/libtorch_cpu.so": "no code",
    "build-version": `${version}+cpu\n`,
  };
}

/** Writes such a folder. */
export function writeFakeLibtorch(
  folder: string,
  version: string,
  options?: { cxx11Abi?: boolean; headers?: string },
): string {
  for (const [name, contents] of Object.entries(fakeLibtorchFiles(version, options))) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), contents);
  }
  return folder;
}

/** Writes a zip archive. */
export async function writeZip(path: string, files: Record<string, string>): Promise<string> {
  const zip = new ZipFile();
  for (const [name, contents] of Object.entries(files)) zip.addBuffer(Buffer.from(contents), name);
  zip.end();
  await pipeline(zip.outputStream, createWriteStream(path));
  return path;
}

/** The official archive: one folder `libtorch`. */
export function writeFakeArchive(path: string, version: string): Promise<string> {
  const files = Object.entries(fakeLibtorchFiles(version)).map(([name, contents]) => [`libtorch/${name}`, contents]);
  return writeZip(path, Object.fromEntries(files));
}
