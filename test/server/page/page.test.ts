// The server's page, in a real Chromium, with a LeNet-5 that has learnt to read.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Browser, Page } from "playwright-core";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { DIGIT_STROKES } from "../../../lib/data/digit-strokes.js";
import { type Dataset, exportSafetensors } from "../../../lib/index.js";
import type { Server } from "../../../lib/server.js";
import { trainedModel } from "../../interop/trained-model.js";
import { cleanUp, emptyRepository, placeModule, serve } from "../models.js";
import { describeWithChromium, draw, drawWithFinger, launch, ONE, openPage, SEVEN, SWISS_SEVEN } from "./browser.js";

describeWithChromium("the page", () => {
  let browser: Browser;
  let folder: string;
  let server: Server;
  let url: string;
  let test: Dataset;
  const complaints: string[][] = [];

  beforeAll(async () => {
    const trained = await trainedModel();
    ({ test } = trained);
    folder = await emptyRepository();
    for (const version of ["1", "2"]) {
      await mkdir(join(folder, "digits", version), { recursive: true });
      await exportSafetensors(trained.model, join(folder, "digits", version, "model.safetensors"));
    }
    await placeModule(folder, "mlp", { as: "another" });
    trained.model.dispose();
    ({ server, url } = await serve(folder));
    browser = await launch();
  });
  afterEach(async () => {
    for (const context of browser.contexts()) await context.close();
    // No test leaves an error or a warning in the console, a forbidden style or script among them.
    expect(complaints.splice(0).flat()).toEqual([]);
  });
  afterAll(async () => {
    await browser?.close();
    await cleanUp();
  });

  async function open(options: Parameters<typeof openPage>[2] = {}, at = url): Promise<Page> {
    const opened = await openPage(browser, at, options);
    complaints.push(opened.complaints);
    await opened.page.locator("#model option").first().waitFor({ state: "attached" });
    return opened.page;
  }
  const digit = (page: Page): Promise<string | null> => page.locator("#digit").textContent();
  const shares = (page: Page): Promise<number[]> =>
    page
      .locator(".fill")
      .evaluateAll((fills) =>
        fills.map((fill) => Number(/scaleX\((.*)\)/.exec((fill as HTMLElement).style.transform)?.[1])),
      );
  /** What a canvas shows: red, green, blue and opacity. */
  async function levelsOf(page: Page, selector: string): Promise<number[]> {
    const address = await page.locator(selector).evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
    const { data } = await sharp(Buffer.from(address.split(",")[1]!, "base64"))
      .ensureAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    return [...data];
  }
  const reads = (page: Page, text: string): Promise<void> =>
    expect.poll(() => digit(page), { timeout: 10_000 }).toBe(text);

  it("reads a seven that the mouse draws", async () => {
    const page = await open();
    expect(await digit(page)).toBe("?");
    expect(await page.locator("#hint").isVisible()).toBe(true);
    await draw(page, SEVEN);
    await reads(page, "7");
    expect(await page.locator("#hint").isVisible()).toBe(false);
    const all = await shares(page);
    expect(all).toHaveLength(10);
    expect(all[7]).toBeGreaterThan(0.9);
    expect(all.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 3);
    expect(await page.locator("li[data-best] .name").textContent()).toBe("7");
    await expect.poll(() => page.locator("#spoken").textContent()).toMatch(/^7, (> )?9\d\.\d %$/);
    expect(await page.locator("#took").textContent()).toMatch(/^answered in [\d.]+ ms$/);
  });

  it("reads what people write, of any size and anywhere on the pad", async () => {
    const page = await open();
    for (const [digit, [variant]] of DIGIT_STROKES.entries()) {
      const scale = 0.022 + 0.012 * (digit % 4);
      const [left, top] = [0.05 + 0.08 * (digit % 5), 0.04 + 0.05 * (digit % 4)];
      for (const stroke of variant!.strokes) {
        const points = Array.from(
          { length: stroke.length / 2 },
          (_, i) => [stroke[2 * i]!, stroke[2 * i + 1]!] as const,
        );
        await draw(
          page,
          points.map(([x, y]) => [left + x * scale, top + y * scale]),
          { steps: 2 },
        );
      }
      await reads(page, String(digit));
      await page.locator("#clear").click();
      await reads(page, "?");
    }
  });

  it("moves the bars while it is drawn, and the last answer is the one that stays", async () => {
    const page = await open();
    let [now, most, asked] = [0, 0, 0];
    await page.route("**/infer", async (route) => {
      most = Math.max(most, ++now);
      // The earlier, the longer: answers would overtake one another, if there were several at once.
      await new Promise((resolve) => setTimeout(resolve, Math.max(10, 120 - 30 * asked++)));
      await route.continue();
      now--;
    });
    await draw(page, SEVEN.slice(0, 2), { lift: false });
    await expect.poll(async () => Math.max(...(await shares(page)))).toBeGreaterThan(0.1);
    await page.mouse.up();
    await page.locator("#clear").click();
    await draw(page, SEVEN);
    await reads(page, "7");
    expect(asked).toBeGreaterThan(2);
    expect(most).toBe(1);
    await page.unrouteAll({ behavior: "wait" });
  });

  it("takes back and clears, which can be taken back too", async () => {
    const page = await open();
    const [undo, clear] = [page.locator("#undo"), page.locator("#clear")];
    expect([await undo.isDisabled(), await clear.isDisabled()]).toEqual([true, true]);
    await draw(page, ONE);
    await reads(page, "1");
    await draw(page, [
      [0.2, 0.9],
      [0.8, 0.9],
    ]);
    await undo.click();
    await reads(page, "1");
    await clear.click();
    await reads(page, "?");
    expect(await shares(page)).toEqual(Array(10).fill(0));
    await page.keyboard.press("Control+z");
    await reads(page, "1");
    await undo.click();
    await reads(page, "?");
    expect(await undo.isDisabled()).toBe(true);
  });

  it("is drawn on with the keyboard alone", async () => {
    const page = await open();
    const press = async (key: string, times = 1): Promise<void> => {
      for (let i = 0; i < times; i++) await page.keyboard.press(key);
    };
    for (
      let i = 0;
      i < 10 && !(await page.locator("#field").evaluate((field) => field === document.activeElement));
      i++
    )
      await press("Tab");
    expect(await page.locator("#pen").isVisible()).toBe(true);
    expect(await page.locator("#field").evaluate((field) => getComputedStyle(field).outlineStyle)).toBe("solid");
    await press("ArrowUp", 2);
    await press(" ");
    await press("ArrowRight", 16);
    for (let i = 0; i < 10; i++) {
      await press("ArrowDown", 2);
      await press("ArrowLeft");
    }
    await press(" ");
    await reads(page, "7");
    // Lifted, it moves without drawing; two arrows held together go aslant.
    const before = await page.locator("#pen").getAttribute("style");
    await page.keyboard.down("ArrowLeft");
    await page.keyboard.down("ArrowUp");
    await page.keyboard.up("ArrowLeft");
    await page.keyboard.up("ArrowUp");
    expect(await page.locator("#pen").getAttribute("style")).not.toBe(before);
    await reads(page, "7");
    await press("Delete");
    await reads(page, "?");
    await press("Control+z");
    await reads(page, "7");
    // Everything else is in reach, by a visible focus, and each has a name.
    await press("Tab");
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("model");
    const names = await page
      .locator("button:visible, select, #file, #field")
      .evaluateAll((all) =>
        all.map(
          (one) =>
            one.getAttribute("aria-label") ?? (one as HTMLInputElement).labels?.[0]?.textContent ?? one.textContent,
        ),
      );
    for (const name of names) expect(name?.trim()).toBeTruthy();
  });

  it("fits a phone, and is drawn on with a finger", async () => {
    const page = await open({
      viewport: { width: 390, height: 844 },
      deviceScaleFactor: 3,
      isMobile: true,
      hasTouch: true,
    });
    await drawWithFinger(page, SEVEN);
    await reads(page, "7");
    const seen = await page.evaluate(() => ({
      scrolled: scrollY,
      wide: document.documentElement.scrollWidth,
      lowest: document.querySelector("#bars")!.getBoundingClientRect().bottom,
      sharp: (document.querySelector("#pad") as HTMLCanvasElement).width / document.querySelector("#pad")!.clientWidth,
      small: [...document.querySelectorAll<HTMLElement>("button, select, .button")].filter(
        (each) => each.offsetHeight > 0 && each.offsetHeight < 44,
      ).length,
    }));
    // Drawing does not scroll; pad, digit and all ten bars are in sight; nothing is cut off at the side.
    expect(seen).toMatchObject({ scrolled: 0, wide: 390, small: 0 });
    expect(seen.lowest).toBeLessThanOrEqual(844);
    expect(seen.sharp).toBeCloseTo(3, 1);
    await page.setViewportSize({ width: 320, height: 568 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(320);
  });

  it.each(["light", "dark"] as const)("can be read in a %s scheme", async (colorScheme) => {
    const page = await open({ colorScheme });
    await draw(page, SEVEN);
    await reads(page, "7");
    const { ground, contrasts } = await page.evaluate(() => {
      const numbers = (colour: string): number[] => (colour.match(/[\d.]+/g) ?? []).map(Number);
      const luminance = (colour: string): number => {
        const [r = 0, g = 0, b = 0] = numbers(colour)
          .slice(0, 3)
          .map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const groundOf = (node: Element): string => {
        const { backgroundColor } = getComputedStyle(node);
        return numbers(backgroundColor)[3] === 0 && node.parentElement ? groundOf(node.parentElement) : backgroundColor;
      };
      const texts = [
        ...document.querySelectorAll(
          "h1, h2, dt, dd, kbd, .chip, .quiet, .keys, .digit, .certainty *, .bars span, select, button:enabled, figcaption",
        ),
      ];
      return {
        ground: luminance(getComputedStyle(document.body).backgroundColor),
        contrasts: texts
          .filter((node) => node.checkVisibility() && node.textContent !== "")
          .map((node) => {
            const pair = [luminance(getComputedStyle(node).color), luminance(groundOf(node))].sort((a, b) => b - a);
            return { text: node.textContent, ratio: (pair[0]! + 0.05) / (pair[1]! + 0.05) };
          }),
      };
    });
    if (colorScheme === "dark") expect(ground).toBeLessThan(0.05);
    else expect(ground).toBeGreaterThan(0.8);
    expect(contrasts.length).toBeGreaterThan(30);
    expect(contrasts.filter(({ ratio }) => ratio < 4.5)).toEqual([]);
    // The ink changes with the scheme, also when the scheme changes under a drawing.
    const ink = async (): Promise<number> => {
      const levels = await levelsOf(page, "#pad");
      return levels.find((_, i) => i % 4 === 0 && levels[i + 3] === 255)!;
    };
    const first = await ink();
    expect(first > 128).toBe(colorScheme === "dark");
    await page.emulateMedia({ colorScheme: colorScheme === "dark" ? "light" : "dark" });
    await expect.poll(async () => (await ink()) > 128).toBe(colorScheme !== "dark");
  });

  it("keeps still where that is asked for", async () => {
    const page = await open({ reducedMotion: "reduce" });
    const durations = await page.evaluate(() =>
      [...document.querySelectorAll("*")].map((node) => getComputedStyle(node).transitionDuration),
    );
    expect(new Set(durations)).toEqual(new Set(["0s"]));
  });

  async function image(index: number, { side = 28, ink = "light" as "light" | "dark" } = {}): Promise<Buffer> {
    const pixels = test.images.subarray(index * 784, (index + 1) * 784);
    const small = sharp(Buffer.from(pixels), { raw: { width: 28, height: 28, channels: 1 } }).toColourspace("b-w");
    const sized =
      side === 28
        ? small
        : small.resize(side, side).extend({ left: side, right: side / 2, top: 20, bottom: side, background: "black" });
    const bytes = await sized.png().toBuffer();
    return ink === "light" ? bytes : await sharp(bytes).negate().jpeg().toBuffer();
  }

  it("opens images: those made like MNIST's as they are, others fitted", async () => {
    const page = await open();
    for (const wanted of [3, 5, 8]) {
      const index = test.labels.indexOf(wanted);
      await page
        .locator("#file")
        .setInputFiles({ name: "digit.png", mimeType: "image/png", buffer: await image(index) });
      await reads(page, String(wanted));
      const seen = (await levelsOf(page, "#seen")).filter((_, i) => i % 4 === 0);
      const pixels = [...test.images.subarray(index * 784, (index + 1) * 784)];
      expect(Math.max(...seen.map((level, i) => Math.abs(level - pixels[i]!)))).toBeLessThanOrEqual(3);
      await page.locator("#clear").click();
      await reads(page, "?");
      const photo = await image(index, { side: 220, ink: "dark" });
      await page.locator("#file").setInputFiles({ name: "photo.jpg", mimeType: "image/jpeg", buffer: photo });
      await reads(page, String(wanted));
      await page.locator("#clear").click();
    }
  });

  it.each(["drop", "paste"])("takes an image by %s", async (kind) => {
    const page = await open();
    const bytes = [...(await image(test.labels.indexOf(4), { side: 120, ink: "dark" }))];
    await page.evaluate(
      ({ bytes, kind }) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "four.jpg", { type: "image/jpeg" }));
        const field = document.querySelector("#field")!;
        field.dispatchEvent(
          kind === "drop"
            ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }),
        );
      },
      { bytes, kind },
    );
    await reads(page, "4");
  });

  it("says why a file is not opened, and goes on", async () => {
    const page = await open();
    const problem = page.locator("#problem");
    await page
      .locator("#file")
      .setInputFiles({ name: "x.png", mimeType: "image/png", buffer: Buffer.from("no image") });
    await expect.poll(() => problem.textContent()).toMatch(/no image that this browser can open/);
    const blank = await sharp({ create: { width: 50, height: 50, channels: 3, background: "white" } })
      .png()
      .toBuffer();
    await page.locator("#file").setInputFiles({ name: "blank.png", mimeType: "image/png", buffer: blank });
    await expect.poll(() => problem.textContent()).toMatch(/blank/);
    await draw(page, SEVEN);
    await reads(page, "7");
    expect(await problem.isVisible()).toBe(false);
  });

  it("lets one choose model and version, and tells what they are", async () => {
    const page = await open();
    const [model, version, facts] = [page.locator("#model"), page.locator("#version"), page.locator("#facts")];
    // The one that reads drawings comes first, whatever the order.
    expect(await model.inputValue()).toBe("digits");
    expect(await model.locator("option").allTextContents()).toEqual(["another", "digits"]);
    expect(await version.locator("option").allTextContents()).toEqual(["default (2)", "1", "2"]);
    await expect
      .poll(() => facts.textContent())
      .toMatch(/LeNet-5.*ready.*FP32 N × 1 × 28 × 28.*digits\/2\/model\.safetensors/s);
    const asked: string[] = [];
    page.on("request", (request) => request.url().includes("/infer") && asked.push(new URL(request.url()).pathname));
    await draw(page, SEVEN);
    await reads(page, "7");
    await version.selectOption("1");
    await expect.poll(() => asked.at(-1)).toBe("/v2/models/digits/versions/1/infer");
    expect(asked[0]).toBe("/v2/models/digits/infer");
    await expect.poll(() => facts.textContent()).toContain("digits/1/model.safetensors");
    await model.selectOption("another");
    await expect.poll(() => page.locator("#problem").textContent()).toMatch(/another takes other tensors/);
    await expect.poll(() => facts.textContent()).toContain("TorchScript module");
    await model.selectOption("digits");
    await reads(page, "7");
    // Without a reload of the page: a version that is unloaded, and one that comes.
    await server.repository.unload("digits", "1");
    await expect
      .poll(() => version.locator("option").allTextContents(), { timeout: 15_000 })
      .toEqual(["default (2)", "1 (unavailable)", "2"]);
    await server.repository.load("digits", { version: "1" });
    await expect
      .poll(() => version.locator("option").allTextContents(), { timeout: 15_000 })
      .toEqual(["default (2)", "1", "2"]);
  });

  it("shows what the server does now", async () => {
    const page = await open();
    await expect.poll(() => page.locator("#connection").textContent()).toBe("Ready");
    const total = async (): Promise<number> =>
      Number((await page.locator("#total").textContent())!.replaceAll(",", ""));
    await expect.poll(total).toBeGreaterThanOrEqual(0);
    const before = await total();
    const png = await image(0);
    for (let i = 0; i < 40; i++)
      await fetch(`${url}/predictions/digits`, { method: "POST", body: new Uint8Array(png) });
    await expect.poll(total).toBe(before + 40);
    await expect.poll(() => page.locator("#peak").textContent()).toMatch(/at most \d+ a second/);
    expect(await page.locator("#line").getAttribute("points")).toMatch(/^[\d., ]+$/);
  });

  it("asks once for the token, and keeps it in memory alone", async () => {
    const guarded = await serve(folder, { inferenceToken: "let-me-in" });
    const { page, complaints: told } = await openPage(browser, guarded.url);
    const dialog = page.locator("#token-dialog");
    await dialog.waitFor();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("token");
    await page.locator("#token").fill("wrong");
    await page.keyboard.press("Enter");
    await page.locator("#token-wrong").waitFor();
    await page.locator("#token").fill("let-me-in");
    await page.keyboard.press("Enter");
    await expect.poll(() => dialog.isVisible()).toBe(false);
    await expect.poll(() => page.locator("#connection").textContent()).toBe("Ready");
    await draw(page, SEVEN);
    await reads(page, "7");
    expect(await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie])).toEqual([
      0,
      0,
      "",
    ]);
    expect(await page.locator("#token").inputValue()).toBe("");
    // The browser itself notes each 401; there is nothing else.
    expect(told.filter((text) => !text.includes("401"))).toEqual([]);
    expect(told.length).toBeLessThanOrEqual(4);
    await page.reload();
    await dialog.waitFor();
  });

  it("says that the server is away, and goes on when it is back", async () => {
    const other = await serve(folder);
    const { page } = await openPage(browser, other.url);
    await expect.poll(() => page.locator("#connection").textContent()).toBe("Ready");
    const port = Number(new URL(other.url).port);
    await other.server.close();
    await expect
      .poll(() => page.locator("#connection").textContent(), { timeout: 10_000 })
      .toBe("No answer from the server");
    await draw(page, SEVEN);
    await expect.poll(() => page.locator("#problem").textContent()).toBe("The server does not answer.");
    await serve(folder, { port });
    await expect.poll(() => page.locator("#connection").textContent(), { timeout: 10_000 }).toBe("Ready");
    await page.locator("#clear").click();
    await draw(page, SEVEN);
    await reads(page, "7");
  });

  it("is the picture in the README", async () => {
    const path = process.env.LENET5_SCREENSHOT;
    const page = await open({ viewport: { width: 1120, height: 900 }, deviceScaleFactor: path ? 1.5 : 1 });
    const png = await image(0);
    let [going, pause] = [true, 0];
    const busy = Array.from({ length: 4 }, async () => {
      while (going) {
        await fetch(`${url}/predictions/digits`, { method: "POST", body: new Uint8Array(png) });
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    });
    for (const line of SWISS_SEVEN) await draw(page, line);
    // For the picture, half a minute in which more and fewer ask.
    for (let second = 0; second < (path ? 40 : 2); second++) {
      pause = 12 + 10 * Math.sin(second / 4) + 6 * Math.sin(second / 1.7);
      await page.waitForTimeout(1000);
    }
    await reads(page, "7");
    await expect.poll(() => page.locator("#area").getAttribute("points")).toMatch(/\d/);
    const bytes = await page.screenshot({ fullPage: true });
    going = false;
    await Promise.all(busy);
    const compressed = await sharp(bytes).png({ palette: true, colours: 64, effort: 10 }).toBuffer();
    expect(compressed.length).toBeLessThan(150 * 1024);
    if (path) {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, compressed);
    }
  });
});
