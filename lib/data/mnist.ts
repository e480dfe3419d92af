// MNIST: 70,000 handwritten digits (LeCun, Cortes, Burges).
import { DIGIT_NAMES } from "./dataset.js";
import { namedDataset } from "./named-dataset.js";

/**
 * MNIST: 60,000 training and 10,000 test images of handwritten digits, 28×28.
 *
 * @example
 * ```ts
 * const { train, test } = await mnist.load();
 * ```
 */
export const mnist = namedDataset({
  name: "mnist",
  folders: ["mnist", "MNIST/raw"],
  classNames: DIGIT_NAMES,
  mirrors: [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
  ],
  mirrorsVariable: "LENET5_MNIST_MIRRORS",
  // Of the unpacked files: mirrors have compressed them anew, so the archives' own checksums differ.
  files: {
    trainImages: { bytes: 47_040_016, md5: "6bbc9ace898e44ae57da46a324031adb" },
    trainLabels: { bytes: 60_008, md5: "a25bea736e30d166cdddb491f175f624" },
    testImages: { bytes: 7_840_016, md5: "2646ac647ad5339dbf082846283269ea" },
    testLabels: { bytes: 10_008, md5: "27ae3e4e09519cfbb04c329615203637" },
  },
});
