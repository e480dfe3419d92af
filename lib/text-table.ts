// Rows of text in columns: the one table of the command line and of `formatInspection`.
import type CliTable from "cli-table3";
import { lazily } from "./lazily.js";

const cliTable = lazily<typeof CliTable>("cli-table3");

/** How {@link textTable} draws. */
export interface TextTableOptions {
  /** A line of titles. @defaultValue none */
  head?: readonly string[];
  /** Which way the columns after the first are flush. @defaultValue "right" */
  align?: "left" | "right";
  /** Lines around the cells. @defaultValue true */
  border?: boolean;
  /** Colours for a terminal. @defaultValue false */
  colours?: boolean;
}

/** Two blanks between columns and nothing else. */
const NO_BORDER = Object.fromEntries(
  [..."top top-mid top-left top-right bottom bottom-mid bottom-left bottom-right".split(" ")]
    .concat("left left-mid mid mid-mid right right-mid middle".split(" "))
    .map((name) => [name, ""]),
);

/** Lays rows out in columns, the first one flush left. */
export function textTable(rows: readonly (readonly string[])[], options: TextTableOptions = {}): string {
  const { head = [], align = "right", border = true, colours = false } = options;
  const columns = Math.max(head.length, 0, ...rows.slice(0, 1).map((row) => row.length));
  const Table = cliTable();
  const built = new Table({
    ...(head.length === 0 ? {} : { head: [...head] }),
    colAligns: Array.from({ length: columns }, (_, i) => (i === 0 ? "left" : align)),
    ...(border ? {} : { chars: NO_BORDER }),
    style: {
      head: colours ? ["bold"] : [],
      border: colours ? ["grey"] : [],
      compact: true,
      ...(border ? {} : { "padding-left": 0, "padding-right": 2 }),
    },
  });
  for (const row of rows) built.push([...row]);
  const text = built.toString();
  return border ? text : text.replace(/ +$/gm, "");
}
