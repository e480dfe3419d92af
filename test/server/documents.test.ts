// docs/serving.md: every curl line in it is run against a server, and its answers look like those that are shown.
import { execFile } from "node:child_process";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "#package-root";
import { cleanUp, emptyRepository, placeLeNet5, serve } from "./models.js";

const run = promisify(execFile);
const MARK = "~~~";

interface Example {
  readonly script: string;
  /** Statuses, one for each line that begins with curl. */
  readonly statuses: number[];
  /** The answer that is shown to the last of them. */
  readonly answer: unknown;
}

const text = await readFile(join(packageRoot, "docs", "serving.md"), "utf8");
const examples: Example[] = [...text.matchAll(/^```sh\n(.*?)^```\n(?:\n```json\n(.*?)^```\n)?/gms)].map(
  ([, script, json]) => ({
    script: script!,
    statuses: [...script!.matchAll(/^curl .*?(?:# (\d{3}))?$/gm)].map(([, status]) => Number(status ?? 200)),
    answer: json === undefined ? undefined : JSON.parse(json),
  }),
);

/** Names and types of a value, of an array those of its first item. */
function outlineOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [outlineOf(value[0])];
  if (typeof value !== "object" || value === null) return typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, outlineOf(inner)]));
}

let url: string;
let folder: string;
beforeAll(async () => {
  const models = await emptyRepository();
  (await placeLeNet5(models, { name: "lenet5", file: "model.pt" })).dispose();
  (await placeLeNet5(models, { name: "archive", file: "model.mar" })).dispose();
  await copyFile(join(models, "archive", "1", "model.mar"), join(models, "other.mar"));
  folder = await emptyRepository();
  const pixels = Buffer.from(Uint8Array.from({ length: 784 }, (_, i) => (i % 28 > 8 && i % 28 < 12 ? 250 : 0)));
  await writeFile(
    join(folder, "digit.png"),
    await sharp(pixels, { raw: { width: 28, height: 28, channels: 1 } })
      .png()
      .toBuffer(),
  );
  ({ url } = await serve(models));
});
afterAll(cleanUp);

describe("docs/serving.md", () => {
  it("has an example of every address", () => {
    expect(examples.length).toBeGreaterThan(20);
    const lines = examples.flatMap(({ script }) => script.match(/^curl .*$/gm)!).join("\n");
    for (const address of ADDRESSES) expect(lines, String(address)).toMatch(address);
  });

  it.each(examples.map((example) => [example.script.match(/^curl .*$/m)?.[0] ?? example.script, example] as const))(
    "%s",
    async (_, { script, statuses, answer }) => {
      const curl = `curl() { command curl --silent --show-error --max-time 30 --write-out '${MARK}%{http_code}${MARK}' "$@"; }\n`;
      const { stdout } = await run("sh", ["-euc", curl + script.replaceAll("http://127.0.0.1:8080", url)], {
        cwd: folder,
      });
      const parts = stdout.split(MARK);
      expect(parts.filter((_part, place) => place % 2 === 1).map(Number)).toEqual(statuses);
      if (answer === undefined) return;
      const given = JSON.parse(parts.at(-3)!) as unknown;
      const model =
        Array.isArray(given) && !script.includes("/predictions")
          ? given.filter((each) => each.name !== "archive")
          : given;
      expect(outlineOf(model)).toEqual(outlineOf(answer));
    },
  );
});

const ADDRESSES = [
  /livez/,
  /readyz/,
  /metrics$/m,
  /8080\/v2$/m,
  /v2\/health\/live/,
  /v2\/health\/ready/,
  /v2\/models\/\w+$/m,
  /v2\/models\/\w+\/versions\/1$/m,
  /v2\/models\/\w+\/ready/,
  /v2\/models\/\w+\/infer/,
  /v2\/models\/\w+\/versions\/1\/infer/,
  /v2\/repository\/index/,
  /v2\/repository\/models\/\w+\/load/,
  /v2\/repository\/models\/\w+\/unload/,
  /ping/,
  /predictions\/\w+ /,
  /predictions\/\w+\/1 /,
  /POST .*\/models\?/,
  /PUT .*\/models\/\w+\?/,
  /PUT .*\/models\/\w+\/1\?/,
  /PUT .*\/set-default/,
  /DELETE .*\/models\/\w+\/1/,
  /8080\/models$/m,
  /8080\/models\/\w+$/m,
  /8080\/models\/\w+\/all/,
  /v1\/models\/\w+$/m,
  /v1\/models\/\w+\/metadata/,
  /v1\/models\/\w+:predict/,
];
