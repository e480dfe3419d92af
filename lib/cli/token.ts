// Tokens for a server, from where nobody else on the machine reads them.
import { readFile } from "node:fs/promises";
import { expectedButGot, LeNet5Error } from "../errors.js";

/** Secrets come in files or in the environment, never on the command line, which everybody on the machine can read. */
export async function tokenOf(file: string | undefined, variable: string): Promise<string | undefined> {
  const token = file === undefined ? process.env[variable] : await textOf(file);
  // A secret that came out empty is a mistake: to serve without it would open what was meant to be closed.
  if (token === "") throw expectedButGot("INVALID_OPTION", "a token", file ?? variable, "an empty text");
  return token;
}

async function textOf(file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (cause) {
    throw new LeNet5Error("FILE_READ_FAILED", `Expected to read a token from ${file} but received ${cause}`, { cause });
  }
}
