// Every public name carries a doc comment, and so does every member of a public class or interface.
import { join } from "node:path";
import ts from "typescript";
import { beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";

const ENTRIES = ["lenet5-libtorch.d.ts", "server.d.ts", "tensorboard.d.ts"].map((name) =>
  join(packageRoot, "dist", "esm", name),
);

let checker: ts.TypeChecker;
let exported: { name: string; symbol: ts.Symbol }[];

beforeAll(() => {
  const program = ts.createProgram(ENTRIES, {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
    types: ["node"],
  });
  checker = program.getTypeChecker();
  exported = ENTRIES.flatMap((entry) => {
    const source = program.getSourceFile(entry);
    const module = source && checker.getSymbolAtLocation(source);
    if (module === undefined) throw new Error(`${entry} is not there: run npm run setup`);
    return checker.getExportsOfModule(module).flatMap((symbol) => {
      const target = resolved(symbol);
      // `export * as idx`: what is public are the names inside.
      const isNamespace = (target.flags & ts.SymbolFlags.ValueModule) !== 0;
      if (!isNamespace) return [{ name: symbol.name, symbol: target }];
      return checker
        .getExportsOfModule(target)
        .map((inner) => ({ name: `${symbol.name}.${inner.name}`, symbol: resolved(inner) }));
    });
  });
});

function resolved(symbol: ts.Symbol): ts.Symbol {
  return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
}

function isDocumented(symbol: ts.Symbol): boolean {
  return ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim().length > 0;
}

/** Members that are part of the public surface. */
function membersOf(symbol: ts.Symbol): ts.Symbol[] {
  const declaration = symbol.declarations?.find(
    (node) => ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node),
  );
  if (declaration === undefined) return [];
  return declaration.members.flatMap((member) => {
    if (member.name === undefined || ts.isPrivateIdentifier(member.name)) return [];
    if (
      ts.canHaveModifiers(member) &&
      ts.getModifiers(member)?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword)
    )
      return [];
    return checker.getSymbolAtLocation(member.name) ?? [];
  });
}

describe("the public API", () => {
  test("holds what README promises", () => {
    const names = exported.map(({ name }) => name);
    for (const name of [
      "LeNet5",
      "ScriptModule",
      "mnist",
      "fashionMnist",
      "idx.read",
      "imageFolder.load",
      "syntheticDigits.generate",
    ]) {
      expect(names).toContain(name);
    }
    for (const name of [
      "exportOnnx",
      "exportSafetensors",
      "exportModelArchive",
      "setNumThreads",
      "LeNet5Error",
      "createServer",
      "SummaryWriter",
    ]) {
      expect(names).toContain(name);
    }
  });

  test("has a doc comment on every name", () => {
    expect(exported.filter(({ symbol }) => !isDocumented(symbol)).map(({ name }) => name)).toEqual([]);
  });

  test("has a doc comment on every member", () => {
    const bare = exported.flatMap(({ name, symbol }) =>
      membersOf(symbol)
        .filter((member) => !isDocumented(member))
        .map((member) => `${name}.${member.name}`),
    );
    expect(bare).toEqual([]);
  });
});
