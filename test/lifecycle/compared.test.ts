// Three systems, one log directory, one page: the real trainers, `lenet5 train --compare`, the real TensorBoard in a Chromium.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { expect, test } from "vitest";
import { lastJson, lenet5, line, temporaryFolder } from "../cli/lenet5.js";
import { describeWithEnvironments } from "../python.js";
import { describeWithChromium, launch, openPage } from "../server/page/browser.js";
import { startTensorBoard } from "../tensorboard/web-interface.js";
import { SYSTEMS, trainer } from "./trainer.js";

/** Where the picture in docs/tensorboard.md goes; then it is MNIST that is learnt. */
const PICTURE = process.env.LENET5_SCREENSHOT;
const RUNS = ["libtorch", "pytorch", "tensorflow"];
const TAGS = ["accuracy/train", "accuracy/validation", "loss/train", "loss/validation"];

describeWithEnvironments(["tensorflow"], "the three systems", () => {
  describeWithChromium("in TensorBoard's web interface", () => {
    test("share its charts", { timeout: PICTURE ? 1_800_000 : 300_000 }, async () => {
      const folder = temporaryFolder();
      const data = join(folder, "digits");
      await lenet5(
        PICTURE
          ? line`data export --data mnist --output ${data}`
          : line`data synthesise --output ${data} --count 1000 --test-count 200 --seed 1`,
      );
      const settings = line`--data ${data} --epochs 5 --seed 42`;
      for (const system of SYSTEMS) {
        const places = line`--output ${join(folder, system.output)} --logdir ${join(folder, system.system)}`;
        const run = await trainer(system, [...settings, ...places]);
        expect(run.status, run.stderr).toBe(0);
      }
      const logdir = join(folder, "runs");
      const ours = await lenet5(
        line`train ${settings} --output ${join(folder, "ours.pt")} --logdir ${logdir} --compare ${SYSTEMS.map(({ system }) => join(folder, system))} --json`,
      );
      expect(ours.status, ours.stderr).toBe(0);
      expect(Object.keys(lastJson(ours).compared)).toEqual(RUNS);

      const tensorboard = await startTensorBoard(logdir, RUNS);
      const browser = await launch();
      try {
        const address = `${tensorboard.url}/#scalars&_smoothingWeight=0&tagFilter=${encodeURIComponent("^(accuracy|loss)/")}`;
        const { page } = await openPage(browser, address, {
          viewport: { width: 1120, height: 730 },
          deviceScaleFactor: PICTURE ? 1.5 : 1,
        });
        const cards = page.locator("tf-scalar-card");
        for (const run of RUNS) await page.getByText(run, { exact: true }).first().waitFor();
        for (const tag of TAGS) await page.getByText(tag, { exact: true }).first().waitFor();
        // The first four charts are those tags'; each draws a line through five epochs for each run.
        for (const [i, tag] of TAGS.entries()) {
          const lines = cards.nth(i).locator("path.line");
          const points = () => lines.evaluateAll((all) => all.map((line) => line.getAttribute("d")!.split("L").length));
          await expect.poll(points, { message: tag, timeout: 60_000 }).toEqual([5, 5, 5]);
        }
        await page.waitForTimeout(PICTURE ? 3000 : 500);
        const picture = await sharp(await page.screenshot())
          .png({ palette: true, colours: 64, effort: 10 })
          .toBuffer();
        expect(picture.length).toBeLessThan(300_000);
        if (PICTURE) {
          await mkdir(dirname(PICTURE), { recursive: true });
          await writeFile(PICTURE, picture);
        }
      } finally {
        await browser.close();
        await tensorboard.stop();
      }
    });
  });
});
