// Forms whose bytes are there: all of them are answered, and none keeps the event loop from others.
import { describe, expect, test } from "vitest";
import { partsOf } from "../../lib/server/multipart.js";

const TYPE = "multipart/form-data; boundary=x";
const DATA = 'Content-Disposition: form-data; name="data"\r\nContent-Type: Image/PNG; q=1\r\n';
const HEADER_LIMIT = 16_384;

/** A form of these parts, each its header and its body. */
function form(...parts: [header: string, body: string][]): Buffer {
  const written = parts.map(([header, body]) => `--x\r\n${header}\r\n${body}\r\n`);
  return Buffer.from(`${written.join("")}--x--\r\n`, "latin1");
}

/** The sizes of the parts by their names. */
async function sizesOf(body: Buffer): Promise<Record<string, number>> {
  const parts = await partsOf(body, TYPE);
  return Object.fromEntries([...parts].map(([name, part]) => [name, part.body.length]));
}

describe.each([0, 1, HEADER_LIMIT - 1, HEADER_LIMIT, 20_000, 65_536, 1_000_000])("a form with %i bytes", (bytes) => {
  const much = "a".repeat(bytes);

  test("in a part", async () => {
    const parts = await partsOf(form([DATA, much], ["Content-Disposition: form-data; name=b\r\n", much]), TYPE);
    expect([...parts].map(([name, { contentType }]) => [name, contentType])).toEqual([
      ["data", "image/png"],
      ["b", "text/plain"],
    ]);
    for (const { body } of parts.values()) expect(body.equals(Buffer.from(much))).toBe(true);
  });

  test.each(["Content-Disposition: attachment\r\n", "Content-Type: text/plain\r\n", ""])(
    "in a part that is no field (%j)",
    async (header) => {
      expect(await sizesOf(form([header, much]))).toEqual({});
      expect(await sizesOf(form([header, much], [DATA, "abc"]))).toEqual({ data: 3 });
      expect(await sizesOf(form([DATA, "abc"], [header, much]))).toEqual({ data: 3 });
    },
  );

  test("before its first part and behind its last one", async () => {
    const whole = Buffer.concat([Buffer.from(`${much}\r\n`), form([DATA, "abc"]), Buffer.from(much)]);
    expect(await sizesOf(whole)).toEqual({ data: 3 });
  });

  test.each([DATA, "Content-Disposition: attachment\r\n"])("that ends within a part (%j)", async (header) => {
    const cut = form([header, much]).subarray(0, -"\r\n--x--\r\n".length);
    await expect(partsOf(cut, TYPE)).rejects.toMatchObject({ code: "LENET5_REQUEST_INVALID" });
  });
});

describe("a form of too many parts", () => {
  test.each(["--x\r\n", "--x\r\n\r\n\r\n", `--x\r\n${DATA}\r\na\r\n`])("ends at once (%j)", async (part) => {
    const body = Buffer.concat([Buffer.alloc(4_000_000, part), Buffer.from("\r\n--x--\r\n")]);
    const begin = performance.now();
    await expect(partsOf(body, TYPE)).rejects.toMatchObject({ code: "LENET5_REQUEST_TOO_LARGE" });
    // All of them would take seconds, without a turn for anybody else.
    expect(performance.now() - begin).toBeLessThan(500);
  });

  test("of which two are whole", async () => {
    const body = form([DATA, "a"], [DATA, "b"], [DATA, "c"]);
    await expect(partsOf(body, TYPE)).rejects.toMatchObject({ code: "LENET5_REQUEST_TOO_LARGE" });
  });
});
