import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";
import { IDX_FILES } from "../../lib/data/idx.js";
import { type NamedDataset, type NamedDatasetOptions, namedDataset } from "../../lib/data/named-dataset.js";
import { type DatasetPair, fashionMnist, idx, mnist, syntheticDigits } from "../../lib/index.js";
import { withLock } from "../../lib/lock.js";
import { describeWithMnist, mnistArchive } from "../mnist.js";
import { expectSame, setVariable, temporaryFolder } from "./folder.js";
import { honest, type Manner, Mirror } from "./mirror.js";

// A data set like MNIST, but small and with known checksums, so that every mishap can be played through.
const digits = await syntheticDigits.load({ trainCount: 200, testCount: 100, seed: 11 });
const contents: Record<keyof typeof IDX_FILES, Buffer> = {
  trainImages: idx.encode({ data: digits.train.images, shape: [200, 28, 28] }),
  trainLabels: idx.encode({ data: Uint8Array.from(digits.train.labels), shape: [200] }),
  testImages: idx.encode({ data: digits.test.images, shape: [100, 28, 28] }),
  testLabels: idx.encode({ data: Uint8Array.from(digits.test.labels), shape: [100] }),
};
const keys = Object.keys(IDX_FILES) as (keyof typeof IDX_FILES)[];
const archives = new Map(keys.map((key) => [`${IDX_FILES[key]}.gz`, gzipSync(contents[key])]));
const TRAIN_IMAGES = "train-images-idx3-ubyte.gz";

const smallDescriptor = {
  name: "small-digits",
  folders: ["small-digits"],
  classNames: digits.train.classNames,
  mirrors: [],
  mirrorsVariable: "LENET5_SMALL_DIGITS_MIRRORS",
  files: Object.fromEntries(
    keys.map((key) => [
      key,
      { bytes: contents[key].length, md5: createHash("md5").update(contents[key]).digest("hex") },
    ]),
  ) as Record<keyof typeof IDX_FILES, { bytes: number; md5: string }>,
};
const small: NamedDataset = namedDataset(smallDescriptor);

/** Loads through some mirrors into an empty cache, with short time-outs. */
async function fetchFrom(mirrors: Mirror[], options: NamedDatasetOptions = {}) {
  setVariable("LENET5_DATA_DIR", undefined);
  return await small.load({
    cache: options.cache ?? temporaryFolder(),
    mirrors: mirrors.map(({ url }) => url),
    connectTimeout: 400,
    stallTimeout: 300,
    ...options,
  });
}

function partsIn(cache: string): string[] {
  return readdirSync(join(cache, "small-digits")).filter((name) => !archives.has(name));
}

/** Behaves in one way the first time and is honest from then on. */
function once(manner: Manner): Manner {
  let calls = 0;
  return (request, response, file) => (calls++ === 0 ? manner : honest)(request, response, file);
}

const half = (file: Buffer) => file.subarray(0, Math.floor(file.length / 2));

describe("a download", () => {
  test("brings all four files, shows its progress and leaves nothing but them in the cache", async () => {
    const cache = temporaryFolder();
    const mirror = await Mirror.start(archives);
    const seen: { file: string; receivedBytes: number; totalBytes: number | undefined }[] = [];
    const { train, test } = await fetchFrom([mirror], { cache, onProgress: (progress) => seen.push(progress) });
    expectSame(train, digits.train);
    expectSame(test, digits.test);
    expect(readdirSync(join(cache, "small-digits")).sort()).toEqual([...archives.keys()].sort());
    const last = seen.filter(({ file }) => file === TRAIN_IMAGES).at(-1);
    const size = archives.get(TRAIN_IMAGES)!.length;
    expect(last).toMatchObject({ receivedBytes: size, totalBytes: size });
  });

  test("happens once: the second time the cache has them", async () => {
    const cache = temporaryFolder();
    const mirror = await Mirror.start(archives);
    await fetchFrom([mirror], { cache });
    expect(mirror.requests).toHaveLength(4);
    expect((await fetchFrom([mirror], { cache, download: false })).test.count).toBe(100);
    expect(mirror.requests).toHaveLength(4);
  });

  test("repairs a file that was damaged in the cache", async () => {
    const cache = temporaryFolder();
    const mirror = await Mirror.start(archives);
    await fetchFrom([mirror], { cache });
    writeFileSync(join(cache, "small-digits", TRAIN_IMAGES), "damaged");
    expectSame((await fetchFrom([mirror], { cache })).train, digits.train);
  });

  test("leaves the cache alone while another process holds it, and then fetches only what is damaged", async () => {
    const cache = temporaryFolder();
    const folder = join(cache, "small-digits");
    const mirror = await Mirror.start(archives);
    await fetchFrom([mirror], { cache });
    writeFileSync(join(folder, TRAIN_IMAGES), "damaged");
    const before = mirror.requests.length;
    let loading: Promise<DatasetPair> | undefined;
    await withLock(folder, {}, async () => {
      loading = fetchFrom([mirror], { cache });
      await new Promise((later) => setTimeout(later, 300));
      expect(readdirSync(folder).sort()).toEqual([...archives.keys()].sort());
      expect(readFileSync(join(folder, TRAIN_IMAGES), "utf8")).toBe("damaged");
    });
    expectSame((await loading!).train, digits.train);
    expect(mirror.requests.slice(before).map(({ path }) => path)).toEqual([`/${TRAIN_IMAGES}`]);
  });

  test("damage in the cache is named where nothing may be fetched, and stays", async () => {
    const cache = temporaryFolder();
    const mirror = await Mirror.start(archives);
    await fetchFrom([mirror], { cache });
    const path = join(cache, "small-digits", TRAIN_IMAGES);
    writeFileSync(path, "damaged");
    await expect(fetchFrom([], { cache, download: false })).rejects.toMatchObject({
      code: "LENET5_DATA_CORRUPT",
      message: expect.stringContaining(path),
    });
    expect(readFileSync(path, "utf8")).toBe("damaged");
  });

  test("is shared by two callers at once: each file is fetched once", async () => {
    const cache = temporaryFolder();
    const mirror = await Mirror.start(archives);
    const both = await Promise.all([fetchFrom([mirror], { cache }), fetchFrom([mirror], { cache })]);
    for (const { test } of both) expect(test.count).toBe(100);
    expect(mirror.requests).toHaveLength(4);
  });

  test("takes the mirrors from the environment", async () => {
    const mirror = await Mirror.start(archives);
    setVariable("LENET5_SMALL_DIGITS_MIRRORS", ` http://127.0.0.1:1/ , ${mirror.url.slice(0, -1)}`);
    setVariable("LENET5_CACHE_DIR", temporaryFolder());
    setVariable("LENET5_DATA_DIR", undefined);
    expect((await small.load()).train.count).toBe(200);
    expect(existsSync(join(process.env.LENET5_CACHE_DIR!, "datasets", "small-digits", TRAIN_IMAGES))).toBe(true);
  });
});

describe("a mirror that misbehaves is left for the next", () => {
  const anotherArchive = gzipSync(idx.encode({ data: new Uint8Array(200 * 784), shape: [200, 28, 28] }));
  const manners: Record<string, Manner> = {
    "has nothing": (_, response) => response.writeHead(404).end(),
    "has broken down": (_, response) => response.writeHead(503).end("<html>busy</html>"),
    "never answers": () => {},
    "sends a head and then nothing": (_, response, file) => {
      response.writeHead(200, { "content-length": file.length }).flushHeaders();
    },
    "drips a byte at a time": (request, response, file) => {
      response.writeHead(200, { "content-length": file.length });
      let sent = 0;
      const timer = setInterval(() => response.write(file.subarray(sent, ++sent)), 50);
      request.socket.on("close", () => clearInterval(timer));
    },
    "hangs up at once": (request) => request.socket.destroy(),
    "hangs up at the same byte every time": (_, response, file) => {
      response.writeHead(200, { "content-length": file.length }).write(half(file));
      setTimeout(() => response.destroy(), 50);
    },
    "sends half and calls it all": (_, response, file) => response.writeHead(200).end(half(file)),
    "sends a page of text": (_, response) => response.writeHead(200).end("<html>Sign in to the network</html>"),
    "sends an empty body": (_, response) => response.writeHead(200, { "content-length": 0 }).end(),
    "sends other images of the same size": (_, response) => response.writeHead(200).end(anotherArchive),
    "sends the right file with one bit turned": (_, response, file) => {
      const turned = Buffer.from(gunzipSync(file));
      turned[turned.length - 400]! ^= 1;
      response.writeHead(200).end(gzipSync(turned));
    },
    "declares far too much": (_, response) => {
      response.writeHead(200, { "content-length": 10_000_000_000 });
      response.write("begin");
    },
    "sends without end": (request, response) => {
      response.writeHead(200);
      const chunk = randomBytes(1 << 20);
      const timer = setInterval(() => response.write(chunk), 5);
      request.socket.on("close", () => clearInterval(timer));
    },
    "leads in a circle": (request, response) => response.writeHead(302, { location: request.url ?? "/" }).end(),
    "speaks no HTTP": (request) => request.socket.end("SSH-2.0-OpenSSH_9.2\r\n"),
  };
  for (const [what, manner] of Object.entries(manners)) {
    test(what, async () => {
      const cache = temporaryFolder();
      const [bad, good] = [await Mirror.start(archives, manner), await Mirror.start(archives)];
      const { train, test } = await fetchFrom([bad, good], { cache });
      expectSame(train, digits.train);
      expectSame(test, digits.test);
      expect(bad.requests.length).toBeGreaterThan(0);
      // Whoever delivered is asked first from then on, so the bad one is asked for the first file only.
      expect(new Set(bad.requests.map(({ path }) => path)).size).toBe(1);
      for (const name of archives.keys()) expect(existsSync(join(cache, "small-digits", name))).toBe(true);

      await expect(fetchFrom([bad], { cache: temporaryFolder() })).rejects.toMatchObject({
        code: "LENET5_DATA_DOWNLOAD_FAILED",
        message: expect.stringMatching(/^Expected .+ for .+ but received .+|^Expected one mirror to deliver/),
      });
    });
  }

  test("a port where nobody listens, and a host that does not exist", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    const good = await Mirror.start(archives);
    const mirrors = [`http://127.0.0.1:${port}`, "http://mirror.invalid/", good.url];
    expect((await fetchFrom([], { mirrors })).train.count).toBe(200);
  });

  test("the error names every mirror and what it did", async () => {
    const [silent, broken] = [
      await Mirror.start(archives, () => {}),
      await Mirror.start(archives, (_, response) => response.writeHead(500).end()),
    ];
    const error = await fetchFrom([silent, broken]).catch((reason: Error) => reason);
    expect(error).toMatchObject({ code: "LENET5_DATA_DOWNLOAD_FAILED" });
    expect((error as Error).message).toContain(`${silent.url}${TRAIN_IMAGES}: no answer within 400 ms`);
    expect((error as Error).message).toContain(`${broken.url}${TRAIN_IMAGES}: status 500`);
  });
});

describe("a download that broke off", () => {
  const cutOff: Manner = (_, response, file) => {
    response.writeHead(200, { "content-length": file.length }).write(half(file));
    // Not at once: the kernel may throw away what the other side has not read yet.
    setTimeout(() => response.destroy(), 100);
  };

  test("goes on where it ended, on the same mirror", async () => {
    const mirror = await Mirror.start(archives, once(cutOff));
    expectSame((await fetchFrom([mirror])).train, digits.train);
    const ranges = mirror.requests.filter(({ path }) => path.endsWith(TRAIN_IMAGES)).map(({ range }) => range);
    expect(ranges).toEqual([undefined, expect.stringMatching(/^bytes=[1-9]\d*-$/)]);
  });

  test("goes on in a later call", async () => {
    const cache = temporaryFolder();
    const dying = await Mirror.start(archives, (request, response, file) => {
      if (request.headers.range === undefined) cutOff(request, response, file);
      else request.socket.destroy();
    });
    await expect(fetchFrom([dying], { cache })).rejects.toMatchObject({ code: "LENET5_DATA_DOWNLOAD_FAILED" });
    expect(partsIn(cache)).toHaveLength(1);
    // The same address recovers.
    const before = dying.requests.length;
    const ranges: (string | undefined)[] = [];
    dying.manner = (request, response, file) => {
      ranges.push(request.headers.range);
      honest(request, response, file);
    };
    expectSame((await fetchFrom([dying], { cache })).train, digits.train);
    expect(dying.requests.length).toBeGreaterThan(before);
    expect(ranges[0]).toMatch(/^bytes=[1-9]\d*-$/);
    expect(partsIn(cache)).toEqual([]);
  });

  const refusals: Record<string, Manner> = {
    "sends the whole file for a range": (_, response, file) => response.writeHead(200).end(file),
    "refuses the range": (request, response, file) => {
      if (request.headers.range === undefined) honest(request, response, file);
      else response.writeHead(416).end();
    },
    "sends another range": (request, response, file) => {
      if (request.headers.range === undefined) honest(request, response, file);
      else response.writeHead(206, { "content-range": `bytes 0-9/${file.length}` }).end(file.subarray(0, 10));
    },
    "has another file by now": (request, response, file) => {
      const start = Number(/\d+/.exec(request.headers.range ?? "")?.[0] ?? 0);
      if (start === 0) return honest(request, response, file);
      const rest = randomBytes(file.length - start);
      response.writeHead(206, { "content-range": `bytes ${start}-${file.length - 1}/${file.length}` }).end(rest);
    },
  };
  for (const [what, manner] of Object.entries(refusals)) {
    test(`begins anew where the mirror ${what}`, async () => {
      let calls = 0;
      const mirror = await Mirror.start(archives, (request, response, file) =>
        (calls++ === 0 ? cutOff : manner)(request, response, file),
      );
      expectSame((await fetchFrom([mirror])).train, digits.train);
    });
  }

  test("never goes on with what another mirror began", async () => {
    const [dying, good] = [await Mirror.start(archives, cutOff), await Mirror.start(archives)];
    await fetchFrom([dying, good]);
    expect(good.requests[0]).toEqual({ path: `/${TRAIN_IMAGES}`, range: undefined });
  });
});

describe("what is no mirror's fault ends a download", () => {
  test("a callback that throws: its error comes as it is, and no other mirror is asked", async () => {
    const [first, second] = [await Mirror.start(archives), await Mirror.start(archives)];
    const mine = new TypeError("mine");
    const onProgress = () => {
      throw mine;
    };
    const error = await fetchFrom([first, second], { onProgress }).catch((thrown: unknown) => thrown);
    expect(error).toBe(mine);
    expect(second.requests).toEqual([]);
  });

  // A limit on the size of files stops a write in its middle as a full disk does, and needs no privileges.
  test("a disk that is full: LENET5_FILE_WRITE_FAILED, and no other mirror is asked", async () => {
    const [first, second] = [await Mirror.start(archives), await Mirror.start(archives)];
    const module = pathToFileURL(join(packageRoot, "build", "esm", "data", "named-dataset.js")).href;
    const script = `process.on("SIGXFSZ", () => {});
      const [module, descriptor, cache] = process.argv.slice(1);
      import(module).then(({ namedDataset }) => namedDataset(JSON.parse(descriptor)).load({ cache }))
        .then(() => console.log("loaded"), (error) => console.log(error.code, error.message));`;
    const described = { ...smallDescriptor, mirrors: [first.url, second.url] };
    const words = ["--eval", script, module, JSON.stringify(described), temporaryFolder()];
    const child = spawn("/bin/sh", ["-c", 'ulimit -f 16; exec "$0" "$@"', process.execPath, ...words], {
      env: { ...process.env, LENET5_DATA_DIR: "" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    expect(await text(child.stdout)).toMatch(
      /^LENET5_FILE_WRITE_FAILED Expected a whole file for .+ but received EFBIG/,
    );
    expect(second.requests).toEqual([]);
  });
});

describe("abort", () => {
  test("ends a download at once, and the next call has what was fetched", async () => {
    const cache = temporaryFolder();
    const controller = new AbortController();
    const mirror = await Mirror.start(archives, (_, response, file) => {
      response.writeHead(200, { "content-length": file.length });
      response.write(half(file));
      setTimeout(() => controller.abort(), 50);
    });
    const start = performance.now();
    const error = fetchFrom([mirror], { cache, signal: controller.signal, stallTimeout: 60_000 });
    await expect(error).rejects.toMatchObject({ code: "LENET5_ABORTED", name: "AbortError" });
    expect(performance.now() - start).toBeLessThan(5000);
    expect(partsIn(cache)).toHaveLength(1);
  });

  test("before it begins asks nobody", async () => {
    const mirror = await Mirror.start(archives);
    await expect(fetchFrom([mirror], { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "LENET5_ABORTED",
    });
    expect(mirror.requests).toEqual([]);
  });
});

describe("where files are looked for", () => {
  const NAMES = [...archives.keys()];

  function writeFiles(folder: string, plain = false): void {
    mkdirSync(folder, { recursive: true });
    for (const [name, bytes] of archives) {
      if (plain) writeFileSync(join(folder, name.slice(0, -3)), gunzipSync(bytes));
      else writeFileSync(join(folder, name), bytes);
    }
  }

  test("in the folder given: in a sub-folder of the name, or in itself, packed or not", async () => {
    for (const below of ["small-digits", ""]) {
      for (const plain of [false, true]) {
        const folder = temporaryFolder();
        writeFiles(join(folder, below), plain);
        expectSame((await small.load({ directory: folder })).train, digits.train);
      }
    }
  });

  test("in the folder given and nowhere else", async () => {
    setVariable("LENET5_DATA_DIR", temporaryFolder());
    writeFiles(join(process.env.LENET5_DATA_DIR!, "small-digits"));
    const empty = temporaryFolder();
    await expect(small.load({ directory: empty })).rejects.toMatchObject({
      code: "LENET5_DATA_NOT_FOUND",
      message: expect.stringContaining(empty),
    });
    expect((await small.load()).train.count).toBe(200);
  });

  test("three of four files are none", async () => {
    const folder = temporaryFolder();
    writeFiles(folder);
    const three = temporaryFolder();
    for (const name of NAMES.slice(1)) copyFileSync(join(folder, name), join(three, name));
    await expect(small.load({ directory: three })).rejects.toMatchObject({ code: "LENET5_DATA_NOT_FOUND" });
  });

  test("files without a folder's name are not taken for another data set", async () => {
    const folder = temporaryFolder();
    writeFiles(folder);
    await expect(mnist.load({ directory: folder })).rejects.toMatchObject({ code: "LENET5_DATA_NOT_FOUND" });
  });

  test("with no network allowed, the error says where", async () => {
    setVariable("LENET5_DATA_DIR", undefined);
    const cache = temporaryFolder();
    await expect(small.load({ cache, download: false })).rejects.toMatchObject({
      code: "LENET5_DATA_NOT_FOUND",
      message: expect.stringContaining(cache),
    });
  });

  test("misspelt options and mirrors that are none are refused", async () => {
    // @ts-expect-error What a caller without types may do.
    await expect(small.load({ dir: "/" })).rejects.toMatchObject({ code: "LENET5_UNKNOWN_OPTION" });
    for (const mirrors of [["ftp://example.org/"], ["not an address"], "http://127.0.0.1/" as never]) {
      await expect(fetchFrom([], { mirrors })).rejects.toMatchObject({ code: "LENET5_INVALID_OPTION" });
    }
    const none = fetchFrom([], { mirrors: [] });
    await expect(none).rejects.toMatchObject({ code: "LENET5_DATA_DOWNLOAD_FAILED" });
    const withPassword = fetchFrom([], { mirrors: ["http://somebody:secret@127.0.0.1:9/"] });
    await expect(withPassword).rejects.toThrow("http://…@127.0.0.1:9/");
    await expect(withPassword).rejects.not.toThrow("secret");
  });
});

describeWithMnist("MNIST itself", () => {
  /** The four files in a folder whose name says nothing of them. */
  function filesHere(): string {
    const folder = temporaryFolder();
    for (const name of archives.keys()) writeFileSync(join(folder, name), mnistArchive(name));
    return folder;
  }

  test("comes from LENET5_DATA_DIR", async () => {
    setVariable("LENET5_DATA_DIR", filesHere());
    const { train, test } = await mnist.load({ cache: temporaryFolder(), download: false });
    expect([train.count, test.count]).toEqual([60_000, 10_000]);
    expect([...train.labels.subarray(0, 5)]).toEqual([5, 0, 4, 1, 9]);
    expect(train.classNames).toEqual([..."0123456789"]);
  });

  test("comes from a mirror, whose bytes have the published checksums", async () => {
    const files = new Map([...archives.keys()].map((name) => [name, mnistArchive(name)]));
    const mirror = await Mirror.start(files);
    setVariable("LENET5_DATA_DIR", undefined);
    const { test } = await mnist.load({ cache: temporaryFolder(), mirrors: [mirror.url] });
    expect([...test.labels.subarray(0, 5)]).toEqual([7, 2, 1, 0, 4]);
    // Fashion-MNIST has the same sizes and file names: only the checksum can tell.
    const fashion = fashionMnist.load({ cache: temporaryFolder(), mirrors: [mirror.url] });
    await expect(fashion.then(countOf)).rejects.toMatchObject({
      code: "LENET5_DATA_DOWNLOAD_FAILED",
      message: expect.stringContaining("MD5"),
    });
  });

  test("is not Fashion-MNIST, though the files have the same names", async () => {
    const folder = filesHere();
    expect((await mnist.load({ directory: folder })).test.count).toBe(10_000);
    await expect(fashionMnist.load({ directory: folder }).then(countOf)).rejects.toMatchObject({
      code: "LENET5_DATA_NOT_FOUND",
    });
  });
});

/** What a message may print of data sets that should not have been loaded: all their pixels take minutes. */
function countOf({ train }: DatasetPair): number {
  return train.count;
}
