// Fashion-MNIST: 70,000 pictures of clothes in MNIST's format (Xiao, Rasul, Vollgraf 2017).
import { namedDataset } from "./named-dataset.js";

/**
 * Fashion-MNIST: 60,000 training and 10,000 test images of clothes in ten classes, 28×28.
 *
 * @example
 * ```ts
 * const { train, test } = await fashionMnist.load();
 * ```
 */
export const fashionMnist = namedDataset({
  name: "fashion-mnist",
  folders: ["fashion-mnist", "FashionMNIST/raw"],
  classNames: [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
  ],
  mirrors: [
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
  ],
  mirrorsVariable: "LENET5_FASHION_MNIST_MIRRORS",
  // Of the unpacked files. They were not computed here: several public projects give them side by side with the MD5 of
  // the published archives (8d4fb7e6…, 25c81989…, bef4ecab…, bb300cfd…, as in the data set's README and torchvision).
  files: {
    trainImages: { bytes: 47_040_016, md5: "f4a8712d7a061bf5bd6d2ca38dc4d50a" },
    trainLabels: { bytes: 60_008, md5: "9018921c3c673c538a1fc5bad174d6f9" },
    testImages: { bytes: 7_840_016, md5: "8181f5470baa50b63fa0f6fddb340f0a" },
    testLabels: { bytes: 10_008, md5: "15d484375f8d13e6eb1aabb0c3f46965" },
  },
});
