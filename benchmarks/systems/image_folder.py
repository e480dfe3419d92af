"""A folder of images, classified as users of PyTorch do it: ImageFolder, a DataLoader, the exported module.

  image_folder.py make IDX-IMAGES IDX-LABELS FOLDER     writes each image as a PNG, below a folder for its class
  image_folder.py choose FOLDER MODEL THREADS LIMIT     tries the ways on some of the images: loaders, workers, batches
  image_folder.py run FOLDER MODEL THREADS HOW LABELS   classifies all; the labels go into a file, one byte an image

The last line of standard output is one JSON object. Imports, and the listing of the folder, are not timed.
"""

import itertools
import json
import os
import sys
import time
import traceback

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor, to_tensor

WORKERS = [0, 1, 2]
BATCHES = [256, 1024]


def grey(path):
    with open(path, "rb") as file:
        return Image.open(file).convert("L")


def decoded(path):
    """What torchvision has beside PIL."""
    return torchvision.io.decode_image(torchvision.io.read_file(path), torchvision.io.ImageReadMode.GRAY)


# How a file becomes a tensor. Bytes are made floats a batch at a time, which is the quickest where it is quicker at all.
LOADERS = {
    "PIL, ToTensor": (grey, to_tensor),
    "PIL, bytes": (grey, pil_to_tensor),
    "torchvision.io, bytes": (decoded, None),
}


def make(images_path, labels_path, folder):
    images = np.fromfile(images_path, dtype=np.uint8, offset=16).reshape(-1, 28, 28)
    labels = np.fromfile(labels_path, dtype=np.uint8, offset=8)
    for label in range(10):
        os.makedirs(os.path.join(folder, str(label)), exist_ok=True)
    for index, (image, label) in enumerate(zip(images, labels)):
        Image.fromarray(image).save(os.path.join(folder, str(label), f"{index:05}.png"))
    return {"images": len(images)}


def data(folder, loader):
    load, transform = LOADERS[loader]
    return ImageFolder(folder, transform=transform, loader=load)


def classify(dataset, model, workers, batch):
    """Seconds from the loader's start to the last label, and the labels."""
    begin = time.perf_counter()
    labels = []
    with torch.inference_mode():
        for images, _ in DataLoader(dataset, batch_size=batch, num_workers=workers):
            if images.dtype == torch.uint8:
                images = images.float().div_(255)
            labels.append(model(images).argmax(1).to(torch.uint8))
    labels = torch.cat(labels).numpy()
    return time.perf_counter() - begin, labels


def open_model(path, threads):
    torch.set_num_threads(threads)
    model = torch.jit.load(path).eval()
    with torch.inference_mode():
        for _ in range(3):
            model(torch.zeros(BATCHES[0], 1, 28, 28))
    return model


def choose(folder, path, threads, limit):
    model = open_model(path, int(threads))
    candidates = []
    for loader, workers, batch in itertools.product(LOADERS, WORKERS, BATCHES):
        how = {"loader": loader, "workers": workers, "batch": batch}
        try:
            every = data(folder, loader)
            some = Subset(every, range(0, len(every), max(1, len(every) // int(limit))))
            seconds, labels = classify(some, model, workers, batch)
            candidates.append({**how, "imagesPerSecond": len(labels) / seconds})
        except Exception as error:  # it is in the result, and the choice is left to the others
            traceback.print_exc()
            candidates.append({**how, "error": str(error)[:300]})
    best = max(candidates, key=lambda one: one.get("imagesPerSecond", 0))
    return {"candidates": candidates, "how": {name: best[name] for name in ("loader", "workers", "batch")}}


def run(folder, path, threads, how, labels_path):
    model = open_model(path, int(threads))
    how = json.loads(how)
    seconds, labels = classify(data(folder, how["loader"]), model, how["workers"], how["batch"])
    labels.tofile(labels_path)
    versions = {"pytorch": torch.__version__, "torchvision": torchvision.__version__}
    return {"images": len(labels), "seconds": seconds, "versions": versions}


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    print(json.dumps({"make": make, "choose": choose, "run": run}[command](*words)))
