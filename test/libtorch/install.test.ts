import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { packageRoot } from "#package-root";
import { installFolder } from "../../lib/libtorch/find.js";
import { installLibtorch } from "../../lib/libtorch/install.js";
import { parseRecord } from "../../lib/libtorch/wheel-record.js";
import { fakeLibtorchFiles, writeFakeArchive, writeFakeLibtorch, writeFakeWheel, writeZip } from "./fake-libtorch.js";

let folder: string;
let cache: string;
const servers: Server[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lenet5-install-"));
  cache = join(folder, "cache");
  vi.stubEnv("LENET5_CACHE_DIR", cache);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(folder, { recursive: true, force: true });
});

async function serve(handler: Parameters<typeof createServer>[1]): Promise<string> {
  const server = createServer(handler!);
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const failure = (text: string | RegExp) =>
  expect.objectContaining({ code: "LENET5_LIBTORCH_INSTALL_FAILED", message: expect.stringMatching(text) });

/** What an installation leaves in the cache folder. */
const left = () => (existsSync(cache) ? readdirSync(cache) : []);

describe("installLibtorch", () => {
  test("unpacks the official archive, under its version", async () => {
    const from = await writeFakeArchive(join(folder, "libtorch.zip"), "2.11.0");
    const result = await installLibtorch({ from });
    expect(result).toEqual({ folder: installFolder("2.11.0"), version: "2.11.0", installed: true });
    expect(readdirSync(join(result.folder, "lib")).sort()).toEqual(["libc10.so", "libtorch_cpu.so"]);
    expect(left()).toEqual(["libtorch-2.11.0"]);
  });

  test("takes from a wheel what a CPU needs, and nothing of CUDA or Python", async () => {
    const from = await writeFakeWheel(join(folder, "torch-2.13.0-cp311-cp311-linux_x86_64.whl"), "2.13.0", {
      "torch/lib/libtorch_cuda.so": "x",
      "torch/lib/libtorch_python.so": "x",
      "torch/lib/libgomp.so.1": "x",
      "torch/nn/functional.py": "x",
      "torch.libs/libopenblas.so.0": "x",
    });
    const { folder: target } = await installLibtorch({ from });
    expect(readdirSync(join(target, "lib")).sort()).toEqual([
      "libc10.so",
      "libgomp.so.1",
      "libopenblas.so.0",
      "libtorch_cpu.so",
    ]);
    expect(existsSync(join(target, "nn"))).toBe(false);
  });

  test("copies a folder", async () => {
    const from = writeFakeLibtorch(join(folder, "libtorch"), "2.12.0");
    expect((await installLibtorch({ from })).folder).toBe(installFolder("2.12.0"));
  });

  test("does nothing where the pinned version is there already", async () => {
    writeFakeLibtorch(installFolder(), "2.13.0");
    expect(await installLibtorch()).toMatchObject({ installed: false, version: "2.13.0" });
  });

  test("replaces a whole one only by a whole one", async () => {
    const target = writeFakeLibtorch(installFolder("2.11.0"), "2.11.0");
    writeFileSync(join(target, "mark"), "the old one");
    const broken = await writeZip(join(folder, "broken.zip"), { "libtorch/lib/libc10.so": "half" });
    await expect(installLibtorch({ from: broken })).rejects.toThrow(failure("holds no libtorch for"));
    expect(readFileSync(join(target, "mark"), "utf8")).toBe("the old one");
    await installLibtorch({ from: await writeFakeArchive(join(folder, "whole.zip"), "2.11.0") });
    expect(existsSync(join(target, "mark"))).toBe(false);
  });

  test.each([
    ["a file that is no archive", "text", /Expected a torch wheel or a libtorch archive/],
    ["a truncated archive", "truncated", /Expected a torch wheel or a libtorch archive/],
    ["a path that leads out of the folder", "slip", /invalid relative path/],
    ["an archive of something else", "other", /holds no libtorch/],
    ["headers that contradict the libraries", "mixed", /headers of 2\.12\.0 but libraries of 2\.13\.0/],
  ])("refuses %s and leaves nothing", async (_title, kind, message) => {
    const from = join(folder, "archive.zip");
    if (kind === "text") writeFileSync(from, "not a zip");
    else if (kind === "other") await writeZip(from, { "readme.txt": "hello" });
    else if (kind === "mixed") {
      const files = Object.entries(fakeLibtorchFiles("2.13.0", { headers: "2.12.0" }));
      await writeZip(from, Object.fromEntries(files.map(([name, text]) => [`libtorch/${name}`, text])));
    } else {
      await writeFakeArchive(from, "2.13.0");
      const bytes = readFileSync(from);
      // Names have no checksum: the same length, another place.
      if (kind === "slip")
        writeFileSync(
          from,
          Buffer.from(bytes.toString("latin1").replaceAll("libtorch/lib/", "../../../lib/"), "latin1"),
        );
      else writeFileSync(from, bytes.subarray(0, bytes.length - 100));
    }
    await expect(installLibtorch({ from })).rejects.toThrow(failure(message));
    expect(left()).toEqual([]);
  });

  describe("of damaged contents", () => {
    const LIBRARY = "torch/lib/libtorch_cpu.so";
    const wheel = (change: Parameters<typeof writeFakeWheel>[3], more = {}) =>
      writeFakeWheel(join(folder, "torch-2.13.0-cp311-cp311-linux_x86_64.whl"), "2.13.0", more, change);

    test.each([
      ["stored", false],
      ["deflated", true],
    ])("refuses a bit that turned in an archive without checksums of its own: %s", async (_title, compress) => {
      const code = "machine code ".repeat(40);
      const name = "libtorch/lib/libtorch_cpu.so";
      const files = Object.entries(fakeLibtorchFiles("2.13.0")).map(([path, text]) => [`libtorch/${path}`, text]);
      const from = join(folder, "libtorch.zip");
      await writeZip(from, { ...Object.fromEntries(files), [name]: code }, { compress });
      const bytes = readFileSync(from);
      // The contents stand behind the name in the local header, the first place where the name is.
      bytes[bytes.indexOf(name) + name.length + 4]! ^= 1;
      writeFileSync(from, bytes);
      await expect(installLibtorch({ from })).rejects.toThrow(failure(/libtorch\/lib\/libtorch_cpu\.so/));
      expect(left()).toEqual([]);
    });

    test("refuses a wheel's file that differs from RECORD, though the zip is sound", async () => {
      const from = await wheel((files) => {
        files[LIBRARY] = "No code"; // as long as before
      });
      await expect(installLibtorch({ from })).rejects.toThrow(
        failure(/torch\/lib\/libtorch_cpu\.so differs from its sha256 in RECORD/),
      );
      expect(left()).toEqual([]);
    });

    test("refuses a wheel's file of another length", async () => {
      const from = await wheel((files) => {
        files[LIBRARY] = "no code, and more";
      });
      await expect(installLibtorch({ from })).rejects.toThrow(failure(/libtorch_cpu\.so has 17 bytes and not the 7/));
    });

    test.each([
      ["no line at all", undefined],
      ["a line without a checksum", `${LIBRARY},,`],
      ["a checksum of a broken kind", `${LIBRARY},md5=rL0Y20zC-Fzt72VPzMSk2A,7`],
    ])("refuses a wheel's file that RECORD has %s for", async (_title, line) => {
      const from = await wheel((_files, lines) => {
        if (line === undefined) delete lines[LIBRARY];
        else lines[LIBRARY] = line;
      });
      await expect(installLibtorch({ from })).rejects.toThrow(
        failure(/RECORD has no checksum of torch\/lib\/libtorch_cpu\.so/),
      );
      expect(left()).toEqual([]);
    });

    test("refuses a wheel without a RECORD", async () => {
      const files = Object.entries(fakeLibtorchFiles("2.13.0")).map(([path, text]) => [`torch/${path}`, text]);
      const from = await writeZip(join(folder, "torch.whl"), Object.fromEntries(files));
      await expect(installLibtorch({ from })).rejects.toThrow(failure("the wheel has 0 RECORDs"));
    });

    test("RECORD is read as the CSV that it is", () => {
      const text =
        'a/b.so,sha256=AAA,1\r\n"c, ""d"".so",sha512=BBB_-,20\n"e.so","sha384=C","3"\nx.dist-info/RECORD,,\n';
      expect([...parseRecord(text)]).toEqual([
        ["a/b.so", { algorithm: "sha256", digest: "AAA", size: 1 }],
        ['c, "d".so', { algorithm: "sha512", digest: "BBB_-", size: 20 }],
        ["e.so", { algorithm: "sha384", digest: "C", size: 3 }],
      ]);
    });
  });

  test("names the other ways where none worked", async () => {
    await expect(installLibtorch({ from: join(folder, "none.whl") })).rejects.toThrow(failure(/Other ways: .*--from/));
  });

  test("refuses a misspelt option", async () => {
    await expect(installLibtorch({ form: "x" } as never)).rejects.toThrow(
      expect.objectContaining({ code: "LENET5_UNKNOWN_OPTION" }),
    );
  });

  test("fetches an address, and is told when it lies", async () => {
    const bytes = readFileSync(await writeFakeArchive(join(folder, "libtorch.zip"), "2.11.0"));
    const address = await serve((request, response) => {
      if (request.url === "/libtorch.zip") response.end(bytes);
      else response.writeHead(404).end();
    });
    await expect(installLibtorch({ from: `${address}/none.zip` })).rejects.toThrow(failure("404"));
    expect(left()).toEqual([]);
    expect((await installLibtorch({ from: `${address}/libtorch.zip` })).version).toBe("2.11.0");
  });

  test("sweeps what a killed run left behind", async () => {
    mkdirSync(join(cache, ".libtorch-partial-abc", "libtorch"), { recursive: true });
    await installLibtorch({ from: await writeFakeArchive(join(folder, "libtorch.zip"), "2.11.0") });
    expect(left()).toEqual(["libtorch-2.11.0"]);
  });

  test("an abort ends a download and leaves nothing", async () => {
    const address = await serve((_request, response) => {
      response.writeHead(200, { "content-length": "1000000" });
      response.write("the first bytes, and never any more");
    });
    const controller = new AbortController();
    const installed = installLibtorch({ from: `${address}/libtorch.zip`, signal: controller.signal });
    setTimeout(() => controller.abort(), 100);
    await expect(installed).rejects.toThrow(expect.objectContaining({ code: "LENET5_ABORTED" }));
    expect(left()).toEqual([]);
  });
});

describe("without pip", () => {
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  const name = `torch-2.13.0-cp312-cp312-manylinux_2_28_${machine}.whl`;

  async function index(sha256: (bytes: Buffer) => string): Promise<string> {
    const bytes = readFileSync(await writeFakeWheel(join(folder, name), "2.13.0"));
    const others = ["torch-2.13.0-cp312-cp312-win_arm64.whl", "torch-2.12.0-cp312-cp312-manylinux_2_28_x86_64.whl"];
    const listed = [...others, name].map((filename) => ({
      filename,
      url: `../../files/${filename}`,
      size: bytes.length,
      hashes: { sha256: sha256(bytes) },
    }));
    return serve((request, response) => {
      if (request.url === "/simple/torch/") response.end(JSON.stringify({ files: listed }));
      else if (request.url === `/files/${name}`) response.end(bytes);
      else response.writeHead(404).end();
    });
  }

  beforeEach(() => {
    vi.stubEnv("PATH", "");
    vi.stubEnv("LENET5_PYTHON", undefined);
    vi.stubEnv("VIRTUAL_ENV", undefined);
  });

  test("fetches the wheel that fits from the package index", async () => {
    const address = await index((bytes) => createHash("sha256").update(bytes).digest("hex"));
    vi.stubEnv("LENET5_TORCH_INDEX", `${address}/simple`);
    expect(await installLibtorch()).toEqual({ folder: installFolder(), version: "2.13.0", installed: true });
  });

  test("refuses a wheel with another checksum", async () => {
    const address = await index(() => "0".repeat(64));
    vi.stubEnv("LENET5_TORCH_INDEX", `${address}/simple`);
    await expect(installLibtorch()).rejects.toThrow(failure("Expected SHA-256 0000"));
    expect(left()).toEqual([]);
  });
});

test("two processes that install at once do not disturb each other", async () => {
  const from = await writeFakeArchive(join(folder, "libtorch.zip"), "2.11.0");
  const module = pathToFileURL(join(packageRoot, "build", "esm", "libtorch", "install.js")).href;
  const script = `import(${JSON.stringify(module)}).then(({ installLibtorch }) => installLibtorch({ from: process.argv[1] }))
    .then((result) => console.log(result.folder), (error) => { console.error(error); process.exitCode = 1; });`;
  const runs = await Promise.all(
    [1, 2].map(async () => {
      const child = spawn(process.execPath, ["--eval", script, from], { stdio: ["ignore", "pipe", "pipe"] });
      let output = "";
      child.stdout.on("data", (text) => {
        output += text;
      });
      child.stderr.on("data", (text) => {
        output += text;
      });
      const [status] = await once(child, "close");
      return { status, output: output.trim() };
    }),
  );
  const folderOf = installFolder("2.11.0");
  expect(runs).toEqual([1, 2].map(() => ({ status: 0, output: folderOf })));
  expect(left()).toEqual(["libtorch-2.11.0"]);
});
