// Installing from the parts of a wheel, against servers on this machine.
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openPromise } from "yauzl";
import { installFolder, PINNED_LIBTORCH_VERSION } from "../../lib/libtorch/find.js";
import { type InstallOptions, installLibtorch } from "../../lib/libtorch/install.js";
import { platformTags } from "../../lib/libtorch/package-index.js";
import { PINNED_WHEELS } from "../../lib/libtorch/pinned-wheels.js";
import { writeFakeArchive, writeFakeWheel } from "./fake-libtorch.js";
import { honest, type Manner, RangeServer, rangeOf } from "./range-server.js";

const name = `torch-2.13.0-cp312-cp312-${platformTags()[0]}.whl`;
/** What nobody needs, and cannot be packed: it must not come over the line. */
const CUDA = randomBytes(3_000_000).toString("latin1");

let folder: string;
let server: RangeServer;
let index: Server | undefined;
let lines: string[];
const log = (line: string) => void lines.push(line);

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "lenet5-parts-"));
  lines = [];
  vi.stubEnv("LENET5_CACHE_DIR", join(folder, "cache"));
  vi.stubEnv("PATH", "");
  vi.stubEnv("LENET5_PYTHON", undefined);
  vi.stubEnv("VIRTUAL_ENV", undefined);
  const headers = Object.fromEntries(
    Array.from({ length: 300 }, (_, i) => [`torch/include/ATen/ops/op_${i}.h`, `// operator ${i}\n`.repeat(i + 1)]),
  );
  const wheel = await writeFakeWheel(join(folder, name), "2.13.0", {
    "torch/lib/libtorch_cuda.so": CUDA,
    ...headers,
    "torch/bin/protoc": CUDA,
    "torch/lib/libgomp.so.1": "gomp",
  });
  server = await RangeServer.start(readFileSync(wheel));
});

afterEach(() => {
  vi.unstubAllEnvs();
  server.close();
  index?.closeAllConnections();
  index?.close();
  index = undefined;
  rmSync(folder, { recursive: true, force: true });
});

const cached = () => readdirSync(join(folder, "cache"));

/** What is installed, and that it is whole. */
function expectInstalled(): void {
  const target = installFolder();
  expect(readdirSync(join(target, "lib")).sort()).toEqual(["libc10.so", "libgomp.so.1", "libtorch_cpu.so"]);
  expect(readdirSync(join(target, "include", "ATen", "ops"))).toHaveLength(300);
  expect(readFileSync(join(target, "include", "ATen", "ops", "op_299.h"), "utf8")).toBe(
    "// operator 299\n".repeat(300),
  );
  expect(cached()).toEqual(["libtorch-2.13.0"]);
}

describe("of an address", () => {
  const from = () => `${server.address}/${name}`;

  test("fetches only what is needed", async () => {
    await installLibtorch({ from: from(), log });
    expectInstalled();
    expect(server.bytes.length).toBeGreaterThan(6_000_000);
    // The list of entries is read ahead by a mebibyte; the rest is a few kilobytes in a few requests.
    expect(server.asked).toBeLessThan(2_300_000);
    expect(server.requests.length).toBeLessThan(8);
    expect(lines.join("\n")).toMatch(/Fetching \d+ MB of the \d+ MB of http/);
  });

  test("of an official archive too", async () => {
    server.bytes = readFileSync(await writeFakeArchive(join(folder, "libtorch.zip"), "2.13.0"));
    await installLibtorch({ from: `${server.address}/libtorch.zip`, log });
    expect(cached()).toEqual(["libtorch-2.13.0"]);
    expect(server.requests.every(({ headers }) => headers.range !== undefined)).toBe(true);
  });

  test("goes on after a connection that broke in the middle", async () => {
    server.manner = (request, response, all) => {
      const { start, end } = rangeOf(request, all.bytes);
      if (all.requests.length % 2 === 1 || end - start < 100) return honest(request, response, all);
      response.writeHead(206, {
        ...all.headers,
        "content-length": end - start,
        "content-range": `bytes ${start}-${end - 1}/${all.bytes.length}`,
      });
      response.write(all.bytes.subarray(start, start + 50), () => response.destroy());
    };
    await installLibtorch({ from: from(), log });
    expectInstalled();
    expect(lines.join("\n")).not.toContain("fetching the whole file");
  });

  test("of one that ends in no name", async () => {
    await installLibtorch({ from: server.address, log });
    expectInstalled();
    server.manner = whole;
    await installLibtorch({ from: `${server.address}/?latest`, log });
    expectInstalled();
  });

  test("takes no memory for a list of more entries than a libtorch has", async () => {
    // An entry of the list without a name, again and again, and an end that claims them all in zip64's numbers.
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50);
    const list = Buffer.alloc(46 * 300_000, entry);
    const end = Buffer.alloc(98);
    end.writeUInt32LE(0x06064b50);
    end.writeBigUInt64LE(44n, 4);
    for (const at of [24, 32]) end.writeBigUInt64LE(300_000n, at);
    end.writeBigUInt64LE(BigInt(list.length), 40);
    end.writeUInt32LE(0x07064b50, 56);
    end.writeBigUInt64LE(BigInt(list.length), 64);
    end.writeUInt32LE(1, 72);
    end.writeUInt32LE(0x06054b50, 76);
    end.fill(0xff, 84, 96);
    server.bytes = Buffer.concat([list, end]);
    await expect(installLibtorch({ from: from(), log })).rejects.toMatchObject({
      code: "LENET5_LIBTORCH_INSTALL_FAILED",
      message: expect.stringContaining("it claims 300000 entries, more than a libtorch has"),
    });
    expect(lines.join("\n")).toContain("No parts from");
    expect(server.asked).toBeLessThan(2 * server.bytes.length);
  });

  test("what log throws on the way comes out", async () => {
    const throwing = (line: string) => {
      if (line.includes("%")) throw new RangeError("enough");
    };
    await expect(installLibtorch({ from: from(), log: throwing })).rejects.toThrow(new RangeError("enough"));
    expect(cached()).toEqual([]);
  });

  test("nobody reads the password of an address in what is told, nor in an error with all that led to it", async () => {
    const told = async (options: InstallOptions): Promise<Error> => {
      const error: Error = await installLibtorch({ ...options, log }).then(
        () => new Error("installed"),
        (reason) => reason,
      );
      expect(error.cause).toBeInstanceOf(Error);
      const whole = inspect(error, { depth: Number.POSITIVE_INFINITY, showHidden: true });
      expect([whole, ...lines].join("\n")).not.toContain("secret");
      return error;
    };
    const secret = from().replace("//", "//somebody:secret@");
    expect((await told({ from: secret })).message).toContain("http://…@127.0.0.1:");
    vi.stubEnv("LENET5_TORCH_INDEX", new URL("/simple", secret).href);
    expect((await told({})).message).toContain("http://…@127.0.0.1:");
  });

  const whole: Manner = (_request, response, { bytes }) => response.writeHead(200).end(bytes);
  /** One that does well until the parts themselves are fetched, which is behind the first range and the list. */
  const later =
    (manner: Manner): Manner =>
    (request, response, all) =>
      (all.requests.length > 2 && request.headers.range !== undefined ? manner : honest)(request, response, all);

  test.each<[string, Manner]>([
    ["ignores ranges", whole],
    ["gives them up in the middle", later(whole)],
    [
      "has another file by then",
      later((request, response, all) => {
        delete request.headers["if-range"];
        honest(request, response, Object.assign(Object.create(all), { headers: { etag: '"second"' } }));
      }),
    ],
    [
      "sends other bytes than the file has",
      later((request, response, all) => {
        const bytes = Buffer.from(all.bytes);
        for (let i = 0; i < bytes.length - 100_000; i++) bytes[i]! ^= 255;
        honest(request, response, Object.assign(Object.create(all), { bytes }));
      }),
    ],
    ["breaks every range off", later((_request, response) => response.destroy())],
  ])("fetches the whole file from a server that %s", async (_title, manner) => {
    server.manner = manner;
    await installLibtorch({ from: from(), log });
    expectInstalled();
    expect(lines.join("\n")).toMatch(/No parts from 127\.0\.0\.1:\d+ \(.+\): fetching the whole file/);
    expect(server.requests.at(-1)?.headers.range).toBeUndefined();
  });

  test("an abort in the middle leaves nothing", async () => {
    const controller = new AbortController();
    server.manner = later(() => controller.abort());
    await expect(installLibtorch({ from: from(), signal: controller.signal })).rejects.toMatchObject({
      code: "LENET5_ABORTED",
    });
    expect(cached()).toEqual([]);
  });
});

describe("of the package index", () => {
  const RECORD = "torch-2.13.0.dist-info/RECORD";
  let pinned: Record<string, string>;
  let listed: string;

  beforeEach(async () => {
    listed = name;
    // The wheel's own RECORD stands in for the one that is known.
    const zip = await openPromise(join(folder, name));
    for await (const entry of zip.eachEntry()) {
      if (entry.fileName !== RECORD) continue;
      const hash = createHash("sha256");
      for await (const chunk of await zip.openReadStreamPromise(entry)) hash.update(chunk as Buffer);
      pinned = { [name]: hash.digest("hex") };
    }
    index = createServer((request, response) => {
      if (request.url !== "/simple/torch/") return void response.writeHead(404).end();
      const sha256 = createHash("sha256").update(server.bytes).digest("hex");
      const files = [
        { filename: listed, url: `${server.address}/${name}`, size: server.bytes.length, hashes: { sha256 } },
      ];
      response.end(JSON.stringify({ files }));
    });
    index.listen(0, "127.0.0.1");
    await once(index, "listening");
    vi.stubEnv("LENET5_TORCH_INDEX", `http://127.0.0.1:${(index.address() as AddressInfo).port}/simple`);
  });

  /** Installs with another list of known wheels. */
  async function install(): Promise<void> {
    vi.resetModules();
    vi.doMock("../../lib/libtorch/pinned-wheels.js", () => ({ PINNED_WHEELS: pinned }));
    const module = await import("../../lib/libtorch/install.js");
    vi.doUnmock("../../lib/libtorch/pinned-wheels.js");
    await module.installLibtorch({ log });
  }

  test("fetches the parts of a wheel whose RECORD is known", async () => {
    await install();
    expectInstalled();
    expect(server.asked).toBeLessThan(2_300_000);
    expect(existsSync(join(installFolder(), "lenet5-libtorch.json"))).toBe(true);
  });

  test("does not believe a RECORD that is another than the known one, though the files fit it", async () => {
    pinned[name] = "0".repeat(64);
    await install();
    expectInstalled();
    expect(lines.join("\n")).toContain(
      "its RECORD is not the one of this wheel that is known): fetching the whole file",
    );
    expect(server.requests.at(-1)?.headers.range).toBeUndefined();
  });

  test("fetches a wheel whose RECORD is not known whole, held against the index", async () => {
    pinned = {};
    await install();
    expectInstalled();
    expect(server.requests.map(({ headers }) => headers.range)).toEqual([undefined]);
  });

  test("writes nothing outside its folder, whatever names the index lists", async () => {
    pinned = {};
    listed = name.replace("-cp312-", "-x/../../../../escaped-");
    await expect(install()).rejects.toThrow(/has no wheel of torch==/);
    expect(readdirSync(folder).sort()).toEqual(["cache", name]);
  });

  test("fetches another size than the index names whole", async () => {
    server.manner = (request, response, all) =>
      honest(
        request,
        response,
        request.headers.range
          ? Object.assign(Object.create(all), { bytes: Buffer.concat([all.bytes, all.bytes]) })
          : all,
      );
    await install();
    expectInstalled();
    expect(lines.join("\n")).toMatch(/No parts from .* \(a file of \d+ bytes and not \d+\)/);
  });
});

test("the known wheels are those of the pinned version, one a platform", () => {
  const names = Object.keys(PINNED_WHEELS);
  expect(names.filter((file) => !file.startsWith(`torch-${PINNED_LIBTORCH_VERSION}-`))).toEqual([]);
  const platforms = names.map((file) => file.replace(/^.*-(.*)\.whl$/, "$1"));
  expect(platforms.map((tag) => tag.replace(/_[\d_]+(?=_)/, ""))).toEqual(
    expect.arrayContaining(["macosx_arm64", "manylinux_x86_64", "manylinux_aarch64", "win_amd64"]),
  );
  expect(new Set(platforms).size).toBe(names.length);
  for (const sum of Object.values(PINNED_WHEELS)) expect(sum).toMatch(/^[0-9a-f]{64}$/);
});
