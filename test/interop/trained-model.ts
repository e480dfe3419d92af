// A LeNet-5 trained by this package on MNIST (elsewhere on synthetic digits), and ten digits to ask it about, for the tests that talk to peers.
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import sharp from "sharp";
import { type Dataset, LeNet5 } from "../../lib/index.js";
import { digitsName, loadDigits } from "../mnist.js";

/** As many images with the one-cycle schedule as make 98 % right, in a few seconds. The caller disposes of the model. */
export async function trainedModel(): Promise<{ model: LeNet5; test: Dataset }> {
  const { train, test } = await loadDigits();
  const model = new LeNet5({ seed: 1, device: "cpu" });
  for await (const _ of model.fit(train, { epochs: digitsName === "MNIST" ? 2 : 10, schedule: "one-cycle" }));
  return { model, test };
}

/** The first test image of each class, as a PNG file in `folder`; position in the list = the digit. */
export async function tenDigits(test: Dataset, folder: string): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const files: string[] = [];
  for (let digit = 0; digit < 10; digit++) {
    const index = test.labels.indexOf(digit);
    const pixels = test.images.subarray(index * 784, (index + 1) * 784);
    const png = await sharp(pixels, { raw: { width: 28, height: 28, channels: 1 } })
      .toColourspace("b-w")
      .png()
      .toBuffer();
    const file = path.join(folder, `${digit}.png`);
    await writeFile(file, png);
    files.push(file);
  }
  return files;
}
