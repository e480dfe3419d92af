// Folders and archives that look like a libtorch to whoever only looks: headers with a version, libraries with the mangled
// names that tell the ABI. Nothing in them can be loaded.
import { createHash } from "node:crypto";
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
export async function writeZip(path: string, files: Record<string, string>, { compress = true } = {}): Promise<string> {
  const zip = new ZipFile();
  for (const [name, contents] of Object.entries(files)) zip.addBuffer(Buffer.from(contents), name, { compress });
  zip.end();
  await pipeline(zip.outputStream, createWriteStream(path));
  return path;
}

/** The official archive: one folder `libtorch`. */
export function writeFakeArchive(path: string, version: string): Promise<string> {
  const files = Object.entries(fakeLibtorchFiles(version)).map(([name, contents]) => [`libtorch/${name}`, contents]);
  return writeZip(path, Object.fromEntries(files));
}

/** The lines of a wheel's RECORD, by the path that each is about. */
export function recordLines(files: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(files).map(([name, contents]) => {
      const digest = createHash("sha256").update(contents).digest("base64url");
      return [name, `${name},sha256=${digest},${Buffer.byteLength(contents)}`];
    }),
  );
}

/** Writes a wheel of torch: a fake libtorch, what else it is to hold, and the RECORD that proves all of it. */
export async function writeFakeWheel(
  path: string,
  version: string,
  more: Record<string, string> = {},
  change: (files: Record<string, string>, lines: Record<string, string>) => void = () => {},
): Promise<string> {
  const libtorch = Object.entries(fakeLibtorchFiles(version)).map(([name, text]) => [`torch/${name}`, text]);
  const info = `torch-${version}.dist-info`;
  const files = { ...Object.fromEntries(libtorch), [`${info}/METADATA`]: "Name: torch\n", ...more };
  const lines = recordLines(files);
  change(files, lines);
  const record = [...Object.values(lines), `${info}/RECORD,,`].join("\n");
  return writeZip(path, { ...files, [`${info}/RECORD`]: record });
}
