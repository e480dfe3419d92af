// `npm run containers`: the images are built, and train and serve.
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { packageRoot } from "#package-root";

const run = promisify(execFile);
const script = join(packageRoot, "scripts", "containers.mjs");
const onPath = (process.env.PATH ?? "").split(":").flatMap((folder) => {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
});
const possible = process.getuid?.() === 0 && ["buildah", "debootstrap"].every((name) => onPath.includes(name));

interface Served {
  user: number;
  processId: number;
  capabilities: number;
  end: unknown;
}

interface Result {
  images: { name: string; user: string; bytesAboveBase: number }[];
  training: { user: number; ok: boolean; accuracy: number };
  serving: Served & { asked: number; right: number };
  tensorboard: Served & { runs: string[] };
}

describe.runIf(possible || process.env.CI === "true")("the images", () => {
  test("train and serve, as nobody in particular, and leave nothing behind", async () => {
    const folder = mkdtempSync(join(packageRoot, "build", "containers-test-"));
    try {
      const { stdout } = await run(process.execPath, [script, "--folder", folder, "--json"], { maxBuffer: 2 ** 26 });
      const result = JSON.parse(stdout.trim().split("\n").at(-1)!) as Result;
      console.log(JSON.stringify(result));
      const { images, training, serving, tensorboard } = result;
      expect(images.map(({ name, user }) => [name, user])).toEqual([
        ["train", "10001:0"],
        ["serve", "10001:0"],
        ["tensorboard", "10001:0"],
      ]);
      const [, serve] = images;
      expect(serve!.bytesAboveBase).toBeLessThan(200e6);
      expect(training).toMatchObject({ user: 10001, ok: true });
      expect(training.accuracy).toBeGreaterThan(0.9);
      // A server that its own health check has not found well is a failure of the script.
      const asNobody = { user: 10001, processId: 1, capabilities: 0, end: 0 };
      expect(serving).toMatchObject(asNobody);
      expect(serving.right).toBeGreaterThanOrEqual(0.9 * serving.asked);
      expect(tensorboard).toMatchObject({ ...asNobody, runs: ["runs/first"] });
      expect(readdirSync(folder)).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
