// A look through the folder that takes its time, and what calls do meanwhile.
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, expect, test, vi } from "vitest";
import { cleanUp, emptyRepository, placeLeNet5, serve } from "./models.js";

/** What the next look waits for once it has seen the folder, and what it calls then. */
const look = vi.hoisted(() => ({ next: undefined as { until: Promise<void>; seen: () => void } | undefined }));

vi.mock("../../lib/server/model-files.js", async (importOriginal) => {
  const files = await importOriginal<typeof import("../../lib/server/model-files.js")>();
  const findVersions: typeof files.findVersions = async (...given) => {
    const found = await files.findVersions(...given);
    const { next } = look;
    look.next = undefined;
    next?.seen();
    await next?.until;
    return found;
  };
  return { ...files, findVersions };
});

afterEach(cleanUp);

test("a look that came too early to see a version does not let go of it", async () => {
  const folder = await emptyRepository();
  await placeLeNet5(folder);
  const { repository } = (await serve(folder, { pollMilliseconds: 5 })).server;
  let goOn = (): void => {};
  const until = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  await new Promise<void>((seen) => {
    look.next = { until, seen };
  });
  await placeLeNet5(folder, { version: "2" });
  await repository.load("digits", { version: "2" });
  const loaded = repository.model("digits", "2");
  goOn();
  for (let i = 0; i < 20; i++) {
    expect(repository.model("digits", "2")).toBe(loaded);
    await wait(2);
  }
  expect(repository.statusesOf("digits")[1]!.file).toBe(join("digits", "2", "model.safetensors"));
});
