// A wheel's RECORD: the size and checksum of each file in it (https://packaging.python.org/specifications/binary-distribution-format).

/** What RECORD says of one file. */
export interface RecordedFile {
  /** A hash algorithm of Node's, for example "sha256". */
  algorithm: string;
  /** The checksum in base64url without padding. */
  digest: string;
  /** Length in bytes. */
  size: number;
}

/** Algorithms that the specification takes: SHA-256 or better. */
const ALGORITHMS = ["sha256", "sha384", "sha512"];

/**
 * Reads RECORD, a CSV file of path, `algorithm=digest` and size. Lines that have no checksum (RECORD's own) are left out:
 * what is not in the result cannot be proven.
 */
export function parseRecord(text: string): Map<string, RecordedFile> {
  const files = new Map<string, RecordedFile>();
  for (const line of text.split(/\r?\n/)) {
    const [, quoted, bare, checksum, length] =
      /^(?:"((?:[^"]|"")*)"|([^",]*)),"?([^",]*)"?,"?(\d*)"?$/.exec(line) ?? [];
    const path = quoted?.replaceAll('""', '"') ?? bare;
    const [algorithm = "", digest = ""] = checksum?.split("=", 2) ?? [];
    if (!path || !ALGORITHMS.includes(algorithm) || !digest || !length) continue;
    files.set(path, { algorithm, digest, size: Number(length) });
  }
  return files;
}
