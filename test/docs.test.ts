// What the documents say is there is there, and the API reference is what the doc comments say.
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { ERRORS } from "../lib/index.js";

const read = (file: string): string => readFileSync(join(packageRoot, file), "utf8");
const DOCUMENTS = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  join("pipelines", "README.md"),
  join("pipelines", "airflow", "README.md"),
  join("pipelines", "trainers", "README.md"),
  join("notebooks", "README.md"),
  join("deploy", "kubernetes", "README.md"),
  ...readdirSync(join(packageRoot, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
];

/** A document's headings as GitHub's anchors, and the anchors that it sets itself. */
function anchorsOf(file: string): Set<string> {
  const text = read(file).replaceAll(/^```[\s\S]*?^```/gm, "");
  const anchors = new Set([...text.matchAll(/<a id="([^"]+)">/g)].map((match) => match[1]!));
  const seen = new Map<string, number>();
  for (const [, heading] of text.matchAll(/^#+ (.+)$/gm)) {
    const plain = heading!.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const slug = plain.replaceAll(/[^\p{L}\p{N}_ -]/gu, "").replaceAll(" ", "-");
    const before = seen.get(slug) ?? 0;
    anchors.add(before === 0 ? slug : `${slug}-${before}`);
    seen.set(slug, before + 1);
  }
  return anchors;
}

/** Links of a document that lead nowhere: to a file that is not there, or to a place that a document does not have. */
function deadLinks(file: string): string[] {
  const links = [...read(file).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].map((match) => match[1]!);
  return links.filter((link) => {
    const [path, anchor] = link.split("#") as [string, string?];
    const target = path === "" ? file : join(dirname(file), path);
    if (!existsSync(join(packageRoot, target))) return true;
    return anchor !== undefined && target.endsWith(".md") && !anchorsOf(target).has(anchor);
  });
}

describe.each(DOCUMENTS)("%s", (file) => {
  test("links to files, and places in them, that exist", () => {
    expect(deadLinks(file)).toEqual([]);
  });

  test("runs scripts that package.json has", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const named = [...read(file).matchAll(/npm run ([\w:-]+)/g)].map((match) => match[1]!);
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });
});

describe.each([
  { reference: join("docs", "reference"), config: "typedoc.json", least: 50 },
  { reference: join("docs", "reference-server"), config: "typedoc.server.json", least: 15 },
  { reference: join("docs", "reference-tensorboard"), config: "typedoc.tensorboard.json", least: 5 },
])("$reference", ({ reference, config, least }) => {
  const pagesIn = (folder: string): string[] =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".md"))
      .sort();
  let fresh: string;

  beforeAll(async () => {
    fresh = mkdtempSync(join(tmpdir(), "lenet5-reference-"));
    // Warnings are errors here: a link to a name that is not public, a type that is used and not exported.
    const typedoc = join(packageRoot, "node_modules", "typedoc", "bin", "typedoc");
    const words = [typedoc, "--options", config, "--out", fresh, "--treatWarningsAsErrors"];
    await promisify(execFile)(process.execPath, words, { cwd: packageRoot });
  }, 120_000);
  afterAll(() => rmSync(fresh, { recursive: true, force: true }));

  test("is what the doc comments say (npm run docs writes it anew)", () => {
    const contents = (folder: string) =>
      Object.fromEntries(pagesIn(folder).map((page) => [page, readFileSync(join(folder, page), "utf8")]));
    const [written, wanted] = [contents(join(packageRoot, reference)), contents(fresh)];
    const names = [...new Set([...Object.keys(written), ...Object.keys(wanted)])];
    const stale = names.filter((page) => written[page] !== wanted[page]);
    expect(stale, `${reference} is older than lib/: run npm run docs and commit what it writes`).toEqual([]);
  });

  test("has only links that lead somewhere", () => {
    const pages = pagesIn(join(packageRoot, reference)).map((page) => join(reference, page));
    expect(pages.length).toBeGreaterThan(least);
    expect(pages.flatMap((page) => deadLinks(page).map((link) => `${page}: ${link}`))).toEqual([]);
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
