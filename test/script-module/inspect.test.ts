// What a module says of itself: inspect(), parameters(), the text of `lenet5 inspect`, and --emit-types.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { emitTypes, formatInspection, type ModuleInspection, ScriptModule } from "../../lib/index.js";
import { encoded, fixture, output } from "./expected.js";

const inspections: Record<string, ModuleInspection> = {};
let mlp: ScriptModule;

beforeAll(async () => {
  for (const name of ["residual", "counter", "options", "values", "no-forward"]) {
    const module = await ScriptModule.load(fixture(name), { device: "cpu" });
    inspections[name] = module.inspect();
    module.dispose();
  }
  mlp = await ScriptModule.load(fixture("mlp"), { device: "cpu" });
  inspections.mlp = mlp.inspect();
});

afterAll(() => mlp.dispose());

describe("inspect", () => {
  test("tells methods with arguments, types and defaults", () => {
    const forward = inspections.options!.methods.find((each) => each.name === "forward")!;
    expect(forward.signature).toBe(
      'forward(inputs: Dict[str, Tensor], weights: Optional[List[float]] = None, scale: float = 1.0, repeat: int = 1, prefix: str = "") -> Dict[str, Tensor]',
    );
    expect(forward.arguments).toMatchObject([
      { name: "inputs", optional: false, type: { kind: "Dict", inner: [{ kind: "str" }, { kind: "Tensor" }] } },
      { name: "weights", optional: true, default: "None", type: { kind: "Optional", inner: [{ kind: "List" }] } },
      { name: "scale", optional: true, default: "1.0", type: { kind: "float" } },
      { name: "repeat", optional: true, default: "1", type: { kind: "int" } },
      { name: "prefix", optional: true, default: '""', type: { kind: "str" } },
    ]);
    const point = inspections.values!.methods.find((each) => each.name === "point")!;
    expect(point.returns).toMatchObject({ kind: "NamedTuple", names: ["position", "weight"] });
  });

  test("tells parameters, buffers and attributes with shape, dtype and value", () => {
    const { parameters, buffers, attributes } = inspections.residual!;
    expect(parameters.find((each) => each.name === "stem.weight")).toEqual({
      name: "stem.weight",
      shape: [8, 3, 3, 3],
      dtype: "float32",
      device: "cpu",
      requiresGrad: true,
    });
    expect(buffers.map((each) => [each.name, each.dtype, each.shape])).toEqual([
      ["norm.running_mean", "float32", [8]],
      ["norm.running_var", "float32", [8]],
      ["norm.num_batches_tracked", "int64", []],
    ]);
    expect(attributes).toContainEqual({ name: "norm.eps", type: { kind: "float", text: "float" }, value: "1e-05" });
    expect(inspections.counter!.attributes).toEqual([
      { name: "calls", type: { kind: "int", text: "int" }, value: "0" },
    ]);
  });

  test("tells extra files, and gives them", () => {
    expect(inspections.mlp!.extraFiles.toSorted((a, b) => a.name.localeCompare(b.name))).toEqual([
      { name: "classes.json", bytes: 15 },
      { name: "note.txt", bytes: 7 },
    ]);
    expect(Buffer.from(mlp.extraFiles.get("note.txt")!).toString("utf8")).toBe("Größe");
  });

  test("is the caller's own copy, and JSON", () => {
    const inspection = mlp.inspect();
    inspection.methods.length = 0;
    expect(mlp.inspect().methods).toHaveLength(1);
    expect(JSON.parse(JSON.stringify(mlp.inspect()))).toEqual(mlp.inspect());
  });
});

describe("parameters", () => {
  test("are PyTorch's, by name", async () => {
    expect(await mlp.parameters()).toEqual(output(encoded("mlp-parameters")));
  });

  test("are copies: writing into one leaves the module alone", async () => {
    const first = await mlp.parameters();
    first["hidden.weight"]!.data.fill(0 as never);
    expect((await mlp.parameters())["hidden.weight"]!.data[0]).not.toBe(0);
  });

  test("can stay in native memory", async () => {
    const handles = await mlp.parameters({ keep: true });
    expect(handles["hidden.weight"]!.shape).toEqual([16, 4]);
    expect(await mlp.forward(handles["hidden.weight"]!)).toMatchObject({ shape: [16, 3] });
  });
});

describe("formatInspection", () => {
  test("shows everything, one thing a line", () => {
    const text = formatInspection(inspections.residual!);
    expect(text).toContain("TorchScript module __torch__.script_module_sources.Residual on cpu\n");
    expect(text).toContain("  forward(image: Tensor, condition: Tensor) -> Tuple[Tensor, Tensor]\n");
    expect(text).toMatch(/\n {2}stem\.weight +float32 {2}\[8, 3, 3, 3\]\n/);
    expect(text).toContain("Parameters (1,493 values)");
    expect(formatInspection(inspections["no-forward"]!)).toContain("no method `forward`");
  });

  test("lets no control character through to a terminal", () => {
    const evil = structuredClone(inspections.mlp!);
    evil.extraFiles[0]!.name = "\x1b[2Jgone\n";
    expect(formatInspection(evil)).not.toContain("\x1b");
  });
});

describe("emitTypes", () => {
  const compile = (files: Record<string, string>, folder: string): string[] => {
    const program = ts.createProgram(
      Object.keys(files).map((name) => join(folder, name)),
      {
        strict: true,
        noEmit: true,
        target: ts.ScriptTarget.ES2022,
        lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
        module: ts.ModuleKind.NodeNext,
        moduleResolution: ts.ModuleResolutionKind.NodeNext,
        types: ["node"],
        typeRoots: [join(packageRoot, "node_modules", "@types")],
        skipLibCheck: true,
        paths: { "lenet5-libtorch": [join(packageRoot, "lib", "index.ts")] },
      },
    );
    return ts
      .getPreEmitDiagnostics(program)
      .filter((each) => each.file?.fileName.startsWith(folder))
      .map((each) => ts.flattenDiagnosticMessageText(each.messageText, "\n"));
  };

  test("writes declarations that compile, take right calls and refuse wrong ones", async () => {
    const folder = await mkdtemp(join(tmpdir(), "lenet5-emit-"));
    try {
      const files: Record<string, string> = {};
      for (const [name, inspection] of Object.entries(inspections)) {
        files[`${name}.d.ts`] = emitTypes(inspection, "Model");
      }
      files["right.ts"] = `
        import { ScriptModule, float, type Tensor } from "lenet5-libtorch";
        import type { Model as Mlp } from "./mlp.js";
        import type { Model as Options } from "./options.js";
        import type { Model as Values } from "./values.js";
        const mlp = await ScriptModule.load<Mlp>("mlp.pt");
        const x: Tensor = { dtype: "float32", shape: [1], data: new Float32Array(1) };
        const y: Tensor = await mlp.forward(x);
        const z: Tensor = await mlp.call("forward", x);
        const options = await ScriptModule.load<Options>("options.pt");
        const named: { [key: string]: Tensor } = await options.forward({ a: x }, null, float(2));
        const counts = await options.call("count", new Map([[1, "one"]]), [1, 2n]);
        const maybe: Tensor | null = await options.call("maybe", null);
        const values = await ScriptModule.load<Values>("values.pt");
        const [text, number] = await values.call("swap", [1, "two"]);
        const exact: [string, number | bigint] = [text, number];
        const map: Map<number | bigint, number> = await values.call("by_number", new Map([[1, 2]]));
        const kind: string = await values.call("kind", { anything: [x] });
        mlp.dispose();
        export { y, z, named, counts, maybe, exact, map, kind };`;
      files["wrong.ts"] = `
        import type { Model as Mlp } from "./mlp.js";
        import type { Model as NoForward } from "./no-forward.js";
        export async function wrong(mlp: Mlp, none: NoForward): Promise<void> {
          await mlp.forward();
          await mlp.forward(1);
          await mlp.call("nope");
          await none.forward();
        }`;
      files["package.json"] = '{ "type": "module" }';
      for (const [name, contents] of Object.entries(files)) await writeFile(join(folder, name), contents);
      delete files["package.json"];
      const { "wrong.ts": _, ...right } = files;
      expect(compile(right, folder)).toEqual([]);
      expect(compile({ "wrong.ts": "" }, folder)).toHaveLength(4);
    } finally {
      await rm(folder, { recursive: true });
    }
  }, 60_000);

  test("survives names that TypeScript does not take", () => {
    const odd = structuredClone(inspections.mlp!);
    odd.methods[0]!.arguments = ["in", "in", "method", "a-b"].map((name) => ({
      ...odd.methods[0]!.arguments[0]!,
      name,
    }));
    odd.methods[0]!.signature = "forward() */ evil(); /*";
    const text = emitTypes(odd, "Odd");
    expect(text).toContain("forward(in_: Tensor | TensorHandle, in__: ");
    expect(text).toContain("method_: ");
    expect(text).toContain("argument3: ");
    expect(text).not.toContain("*/ evil");
  });

  test.each(["", "a b", "class", "Tensor", "1a"])('refuses the interface name "%s"', (name) => {
    expect(() => emitTypes(inspections.mlp!, name)).toThrow(
      expect.objectContaining({ code: "LENET5_INVALID_ARGUMENT" }),
    );
  });
});
