// A real Chromium, and a hand that draws in it.
import { existsSync } from "node:fs";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { describe } from "vitest";

const PATHS = [process.env.LENET5_CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = PATHS.find((path) => path !== undefined && existsSync(path));

/** `describe` for tests that need a browser. Where there is none they are passed over, except in CI. */
export function describeWithChromium(name: string, body: () => void): void {
  describe.runIf(executablePath !== undefined || process.env.CI === "true")(name, { timeout: 120_000 }, body);
}

export async function launch(): Promise<Browser> {
  if (executablePath === undefined) throw new Error("No Chromium: install it, or set LENET5_CHROMIUM");
  // Containers run as root, where Chromium's sandbox does not start; the pages here are our own.
  return await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

/** A page of its own, and what its console complained of. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; complaints: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1120, height: 900 }, ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(url);
  return { page, complaints };
}

export type Line = readonly (readonly [number, number])[];

/** A seven, in shares of the pad. */
export const SEVEN: Line = [
  [0.27, 0.26],
  [0.72, 0.25],
  [0.62, 0.48],
  [0.46, 0.8],
];
/** A seven as a hand draws it where ones have an upstroke: curved, with a bar. */
export const SWISS_SEVEN: readonly Line[] = [
  [
    [0.25, 0.27],
    [0.34, 0.235],
    [0.46, 0.25],
    [0.58, 0.245],
    [0.72, 0.215],
    [0.66, 0.36],
    [0.56, 0.54],
    [0.49, 0.7],
    [0.45, 0.83],
  ],
  [
    [0.4, 0.545],
    [0.53, 0.52],
    [0.68, 0.515],
  ],
];
export const ONE: Line = [
  [0.51, 0.2],
  [0.49, 0.8],
];

/** Draws with the mouse. */
export async function draw(page: Page, line: Line, { lift = true, steps = 8 } = {}): Promise<void> {
  const box = (await page.locator("#pad").boundingBox())!;
  const at = ([x, y]: readonly [number, number]): [number, number] => [box.x + x * box.width, box.y + y * box.height];
  await page.mouse.move(...at(line[0]!));
  await page.mouse.down();
  for (const point of line.slice(1)) await page.mouse.move(...at(point), { steps });
  if (lift) await page.mouse.up();
}

/** Draws with a finger. */
export async function drawWithFinger(page: Page, line: Line): Promise<void> {
  const box = (await page.locator("#pad").boundingBox())!;
  const session = await page.context().newCDPSession(page);
  const touch = (type: "touchStart" | "touchMove", [x, y]: readonly [number, number]) =>
    session.send("Input.dispatchTouchEvent", {
      type,
      touchPoints: [{ x: box.x + x * box.width, y: box.y + y * box.height }],
    });
  await touch("touchStart", line[0]!);
  for (const [i, to] of line.entries()) {
    const from = line[i - 1] ?? to;
    for (const share of [0.25, 0.5, 0.75, 1])
      await touch("touchMove", [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])]);
  }
  await session.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
}
