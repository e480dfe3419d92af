// What the documents say is there is there.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { ERRORS } from "../lib/index.js";

const read = (file: string): string => readFileSync(join(packageRoot, file), "utf8");
const DOCUMENTS = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  ...readdirSync(join(packageRoot, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
];

describe.each(DOCUMENTS)("%s", (file) => {
  test("links to files that exist", () => {
    const targets = [...read(file).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map((match) => match[1]!);
    expect(targets.filter((target) => !existsSync(join(packageRoot, dirname(file), target)))).toEqual([]);
  });

  test("runs scripts that package.json has", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const named = [...read(file).matchAll(/npm run ([\w:-]+)/g)].map((match) => match[1]!);
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });
});

test("docs/errors.md lists every error of the table, with its meaning and status", () => {
  const rows = [...read("docs/errors.md").matchAll(/^\| `LENET5_(\w+)` \| (.+) \| (\d+) \|$/gm)];
  const listed = Object.fromEntries(
    rows.map(([, name, meaning, status]) => [name, { status: Number(status), meaning }]),
  );
  expect(listed).toEqual(ERRORS);
});

test("README's tree names files and folders that exist", () => {
  const tree = /```\n(lenet5-libtorch\/\n[\s\S]*?)```/.exec(read("README.md"))![1]!;
  const folders: string[] = [];
  const missing: string[] = [];
  for (const line of tree.trimEnd().split("\n").slice(1)) {
    const [, indent, names] = /^( *)([^\s,]+(?:, [^\s,]+)*)/.exec(line)!;
    const depth = indent!.length / 2 - 1;
    for (const name of names!.split(", ")) {
      const path = join(...folders.slice(0, depth), name);
      if (!existsSync(join(packageRoot, path))) missing.push(path);
      if (name.endsWith("/")) folders[depth] = name;
    }
  }
  expect(missing).toEqual([]);
});
