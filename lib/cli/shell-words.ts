// The command line that is being carried out, as a person can give it again.

/** The words of this process after `lenet5`, where given without one of them, and with one more behind. */
export function thisCommand({ without, and }: { without?: string; and?: string } = {}): string {
  const words = process.argv.slice(2).filter((word) => word !== without);
  return ["lenet5", ...words, ...(and === undefined ? [] : [and])].map(quoted).join(" ");
}

/** A word as a shell takes it. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
