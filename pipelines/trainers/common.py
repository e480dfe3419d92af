"""What the trainers share: arguments, data, the course of a training, files written whole, and the result.

Problem: curves and accuracies of several frameworks say something about the frameworks only where everything else is the
same. Resolution: the data, their order, the learning rate of each step, what is measured and under which tags it is
logged are here, once; a trainer brings a network, a step, an event-file writer and a model file of its framework
(`Framework`). The numbers are those of `lenet5 train`, whose curves are drawn beside these.
"""

import argparse
import fcntl
import gzip
import json
import math
import os
import re
import shutil
import struct
import sys
import time
import zlib
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SIDE = 28
CLASSES = 10
# By MNIST's names; each may lie there gzipped, with ".gz" behind its name.
TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
UNSIGNED_BYTE = 8
# Unpacked; more than any data set of small images.
MOST_BYTES = 2**30
# Seconds between two points of the curve of batches, as `lenet5 train` has it.
BATCH_INTERVAL = 0.1
FAILED, USAGE = 1, 2


class Refused(Exception):
    """Bad input or a failure that the caller can mend; `status` is the process's exit status."""

    def __init__(self, what, where, received, status=FAILED):
        super().__init__(" ".join(f"Expected {what} for {where} but received {received}".split()))
        self.status = status


# Arguments


class Arguments(argparse.ArgumentParser):
    """argparse with errors of one line and in one form."""

    def error(self, message):
        what, where, received = "options as --help lists them", "the command line", message
        if found := re.match(r"argument (--[\w-]+)(?:/\S+)?: (.*)", message):
            where, received = found.groups()
            if "expected one argument" in received:
                what, received = "a value", "none"
            elif choice := re.match(r"invalid choice: (.*) \(choose from (.*)\)", received):
                received, what = choice[1], choice[2].replace("'", "")
            elif told := re.match(r"Expected (.*) but received (.*)", received):
                what, received = told.groups()
        elif found := re.match(r"unrecognized arguments: (.*)", message):
            what, received = "an option that --help lists", found[1]
        elif found := re.match(r"the following arguments are required: ([^,]*)", message):
            what, where, received = "a value", found[1], "none"
        raise Refused(what, where, received, USAGE)


def number(kind, what, holds):
    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not holds(value):
            raise argparse.ArgumentTypeError(f"Expected {what} but received {text!r}")
        return value

    return read


def whole(least, most=1_000_000):
    return number(int, f"a whole number from {least} to {most}", lambda value: least <= value <= most)


def some_path(text):
    if text.strip() == "" or "\0" in text:
        raise argparse.ArgumentTypeError(f"Expected a path but received {text!r}")
    return Path(text)


def read_arguments(framework, words):
    """The command line, checked; the defaults are those of `lenet5 train`."""
    parser = Arguments(
        prog=f"{framework.name}_trainer.py",
        description=f"Trains LeNet-5 with {framework.title}, logs it for TensorBoard and writes it as {framework.format}.",
        epilog="Progress goes to stderr; the last line of stdout is one JSON object with what came of it. "
        "A second run with the same places replaces the model and this trainer's event files.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    default = "(default: %(default)s)"
    add("--data", type=some_path, required=True, metavar="DIR", help="IDX files under MNIST's names, plain or .gz")
    add("--output", type=some_path, required=True, metavar="PATH", help=f"where the model goes: {framework.place}")
    add("--logdir", type=some_path, required=True, metavar="DIR", help="folder for the event file")
    add("--epochs", type=whole(1), default=3, metavar="N", help=f"passes over the training set {default}")
    add("--batch-size", type=whole(1), default=64, metavar="N", help=f"images a step {default}")
    add("--test-batch-size", type=whole(1), default=1024, metavar="N", help=f"test images at a time {default}")
    rate = number(float, "a number above 0", lambda value: 0 < value < math.inf)
    add("--learning-rate", type=rate, default=0.005, metavar="X", help=f"Adam's; one-cycle's peak {default}")
    schedules = ["constant", "one-cycle"]
    add("--schedule", choices=schedules, default="one-cycle", help=f"course of the learning rate {default}")
    seeds = whole(0, 2**32 - 1)
    add("--seed", type=seeds, default=42, metavar="N", help=f"seed of the weights and the shuffling {default}")
    add("--threads", type=whole(1, 1024), metavar="N", help=f"threads (default: {framework.title}'s own choice)")
    return parser.parse_args(words)


# Data


@dataclass
class Images:
    """A data set: bytes [N, 28, 28] and labels [N]."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def batches(self, size, order=None):
        """Pieces of it, in order or in the order given."""
        for start in range(0, len(self), size):
            rows = slice(start, start + size) if order is None else order[start : start + size]
            yield self.pixels[rows], self.labels[rows]


def read_idx(folder, name, dimensions):
    """An IDX file of unsigned bytes. What its header declares is held against its length before memory is taken for it."""
    path = next((path for path in (folder / name, folder / f"{name}.gz") if path.exists()), folder / name)
    try:
        with open(path, "rb") as plain:
            length = os.fstat(plain.fileno()).st_size
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            file = gzip.GzipFile(fileobj=plain) if zipped else plain
            header = file.read(4 + 4 * dimensions)
            if len(header) < 4 + 4 * dimensions or header[:4] != bytes([0, 0, UNSIGNED_BYTE, dimensions]):
                raise Refused(f"an IDX file of unsigned bytes in {dimensions} dimensions", path, "something else")
            shape = struct.unpack(f">{dimensions}I", header[4:])
            size = math.prod(shape)
            # Deflate packs 1,032 to 1 at best.
            room = min(length * 1032, MOST_BYTES) if zipped else length - len(header)
            if size > room or (not zipped and size != room):
                raise Refused(f"{size} bytes of data, as its header declares,", path, f"room for {room}")
            data = file.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Refused("a whole gzip file", path, error) from error
    except OSError as error:
        raise Refused("an IDX file", path, error.strerror or error) from error
    if len(data) != size:
        raise Refused(f"{size} bytes of data, as its header declares,", path, "fewer" if len(data) < size else "more")
    # A copy: bytes cannot be written to, which PyTorch asks of arrays.
    return np.frombuffer(data, np.uint8).reshape(shape).copy()


def read_images(folder, names):
    pixels, labels = read_idx(folder, names[0], 3), read_idx(folder, names[1], 1)
    if pixels.shape[1:] != (SIDE, SIDE):
        raise Refused(f"images of {SIDE}×{SIDE}", folder / names[0], "×".join(map(str, pixels.shape[1:])))
    if len(pixels) != len(labels):
        raise Refused(f"{len(pixels)} labels, one an image,", folder / names[1], len(labels))
    if len(labels) == 0:
        raise Refused("at least one image", folder / names[0], "none")
    if labels.max() >= CLASSES:
        raise Refused(f"labels below {CLASSES}", folder / names[1], labels.max())
    return Images(pixels, labels.astype(np.int64))


def normalization_of(images):
    """Mean and standard deviation of the pixels in 0..1, to four decimals: what the model subtracts and divides by."""
    counts = np.bincount(images.pixels.reshape(-1), minlength=256)
    values = np.arange(256) / 255
    mean = np.average(values, weights=counts)
    std = math.sqrt(np.average((values - mean) ** 2, weights=counts))
    return round(float(mean), 4), max(round(std, 4), 1e-4)


def learning_rates(schedule, peak, steps):
    """One a step: constant, or those of torch.optim.lr_scheduler.OneCycleLR with its defaults."""
    if schedule == "constant":
        return [peak] * steps
    turn, end = 0.3 * steps - 1, steps - 1

    def cosine(first, last, share):
        return last + (first - last) / 2 * (math.cos(math.pi * share) + 1)

    def at(step):
        if step <= turn:
            return cosine(peak / 25, peak, step / turn) if turn > 0 else peak
        return cosine(peak, peak / 25e4, (step - turn) / (end - turn)) if end > turn else peak

    return [at(step) for step in range(steps)]


# The training


class Framework(ABC):
    """What a trainer brings. Pixels come as bytes [N, 28, 28]; losses are sums of negative log-likelihoods."""

    name: str
    title: str
    format: str
    place: str
    versions: dict

    @abstractmethod
    def prepare(self, seed, threads):
        """Called before anything else of the framework."""

    @abstractmethod
    def build(self, mean, std):
        """Makes the network, with its first weights, and Adam."""

    @abstractmethod
    def step(self, pixels, labels, rate):
        """Learns from a batch; returns its loss and how many of its images were right."""

    @abstractmethod
    def evaluate(self, pixels, labels):
        """Loss and how many are right."""

    @abstractmethod
    def weights(self):
        """Arrays by PyTorch's names of LeNet-5's parameters."""

    @abstractmethod
    def open_log(self, folder, suffix):
        """Opens an event file whose name ends in the suffix."""

    @abstractmethod
    def log_scalar(self, tag, value, step):
        """Into the event file, as the next two."""

    @abstractmethod
    def log_histogram(self, tag, values, step):
        pass

    @abstractmethod
    def log_hparams(self, parameters, metrics, step):
        pass

    @abstractmethod
    def flush_log(self):
        pass

    @abstractmethod
    def check_place(self, path):
        """Refuses a place where the model cannot go."""

    @abstractmethod
    def save(self, path):
        """Writes the model, whole or not at all; returns a function that answers with what was written."""


def measured(framework, images, size):
    """Mean loss and accuracy."""
    parts = [framework.evaluate(*batch) for batch in images.batches(size)]
    loss, right = np.sum(np.array(parts, np.float64), axis=0)
    return {"loss": loss / len(images), "accuracy": right / len(images)}


def train(framework, options, images, test):
    """Trains; returns the epochs."""
    steps = -(-len(images) // options.batch_size)
    rates = learning_rates(options.schedule, options.learning_rate, steps * options.epochs)
    shuffling = np.random.default_rng(options.seed)
    epochs, done, logged = [], 0, 0.0
    for epoch in range(1, options.epochs + 1):
        begin = time.perf_counter()
        loss = right = 0
        for pixels, labels in images.batches(options.batch_size, shuffling.permutation(len(images))):
            batch_loss, batch_right = framework.step(pixels, labels, rates[done])
            loss, right, done = loss + batch_loss, right + batch_right, done + 1
            if time.perf_counter() - logged >= BATCH_INTERVAL:
                framework.log_scalar("batch/loss", batch_loss / len(labels), done)
                logged = time.perf_counter()
        seconds = time.perf_counter() - begin
        figures = {"loss": loss / len(images), "seconds": seconds, "imagesPerSecond": len(images) / seconds}
        validation = measured(framework, test, options.test_batch_size)
        log_epoch(framework, epoch, figures, right / len(images), validation, rates[done - 1])
        epochs.append({"epoch": epoch, **figures, "validation": validation})
        say(
            f"epoch {epoch}/{options.epochs}: loss {figures['loss']:.4f}, {figures['imagesPerSecond']:,.0f} images/s, "
            f"test accuracy {100 * validation['accuracy']:.2f} %"
        )
    return epochs


def log_epoch(framework, epoch, figures, accuracy, validation, rate):
    """The tags of `lenet5 train --logdir` (lib/tensorboard/training-log.ts), so that the curves share their charts."""
    framework.log_scalar("loss/train", figures["loss"], epoch)
    framework.log_scalar("accuracy/train", accuracy, epoch)
    framework.log_scalar("loss/validation", validation["loss"], epoch)
    framework.log_scalar("accuracy/validation", validation["accuracy"], epoch)
    framework.log_scalar("learning_rate", rate, epoch)
    framework.log_scalar("images_per_second", figures["imagesPerSecond"], epoch)
    for name, values in framework.weights().items():
        # A training that diverged has NaN, which no histogram has a place for; the loss shows it.
        if np.isfinite(values).all():
            framework.log_histogram(f"weights/{name}", values, epoch)
    framework.flush_log()


def prepare_log(framework, folder):
    """Opens the event file; those of an earlier run of the same trainer go, and nobody else's."""
    suffix = f".{framework.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = [path for path in folder.iterdir() if "tfevents" in path.name and suffix in path.suffixes]
        framework.open_log(str(folder), suffix)
        for path in earlier:
            path.unlink()
    except OSError as error:
        raise Refused("a folder that can be written", "--logdir", f"{folder}: {error.strerror or error}") from error


def verify(framework, answer, test):
    """Holds the written model's answers against those of the trained one."""
    pixels, labels = test.pixels[:64], test.labels[:64]
    found = answer(pixels.astype(np.float32)[:, None] / 255)
    own, _ = framework.evaluate(pixels, labels)
    loss = -found[np.arange(len(labels)), labels].sum()
    # A training that diverged answers NaN, before and after.
    same = math.isclose(loss, own, rel_tol=1e-4, abs_tol=1e-4) or not math.isfinite(own)
    if found.shape != (len(labels), CLASSES) or not same:
        raise Refused(f"the loss of the trained model, {own},", "the model that was written", loss)


# Files


@contextmanager
def replacing(path):
    """A name beside the path, for what takes the path's place when it is whole; one writer at a time."""
    part, old = (path.parent / f".{path.name}.{kind}" for kind in ("part", "old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            # Of a process that was killed while it wrote.
            remove(part)
            try:
                yield part
                if part.is_dir() and path.exists():
                    # No rename replaces a folder: for a moment there is none, and never half of one.
                    remove(old)
                    path.rename(old)
                part.replace(path)
                remove(old)
            finally:
                remove(part)
        finally:
            os.close(folder)
    except OSError as error:
        raise Refused("a place that can be written", "--output", f"{path}: {error.strerror or error}") from error


def check_place(framework, path):
    """Refuses a place that cannot take the model before hours are spent on training it."""
    framework.check_place(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(None, "its folder cannot be written to")
    except OSError as error:
        raise Refused("a place that can be written", "--output", f"{path}: {error.strerror}") from error


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# The command


def say(text):
    print(text, file=sys.stderr, flush=True)


def as_json(value):
    """Numbers that JSON has no form for become text, as `lenet5 --json` has it."""
    if isinstance(value, dict):
        return {name: as_json(one) for name, one in value.items()}
    if isinstance(value, list):
        return [as_json(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def trained(framework, options):
    """The whole way from files to files; returns the result."""
    check_place(framework, options.output)
    images, test = read_images(options.data, TRAIN), read_images(options.data, TEST)
    mean, std = normalization_of(images)
    framework.prepare(options.seed, options.threads)
    framework.build(mean, std)
    prepare_log(framework, options.logdir)
    say(f"Training on {len(images):,} images, testing on {len(test):,} ({framework.title})")
    epochs = train(framework, options, images, test)
    with replacing(options.output) as part:
        verify(framework, framework.save(part), test)
    final = epochs[-1]["validation"]
    parameters = {
        "epochs": options.epochs,
        "batchSize": options.batch_size,
        "learningRate": options.learning_rate,
        "schedule": options.schedule,
        "seed": options.seed,
        "engine": framework.name,
    }
    metrics = {"test/accuracy": final["accuracy"], "test/loss": final["loss"]}
    framework.log_hparams(parameters, metrics, options.epochs)
    framework.flush_log()
    seconds = sum(epoch["seconds"] for epoch in epochs)
    return {
        "system": framework.name,
        "model": str(options.output),
        "logdir": str(options.logdir),
        **final,
        "epochs": epochs,
        "batchSize": options.batch_size,
        "learningRate": options.learning_rate,
        "schedule": options.schedule,
        "seed": options.seed,
        "trainingSeconds": seconds,
        "imagesPerSecond": len(images) * len(epochs) / seconds,
        "versions": framework.versions,
    }


def main(framework):
    """Runs a trainer to its result, or to one line on stderr and a status."""
    try:
        result = trained(framework, read_arguments(framework, sys.argv[1:]))
    except Refused as error:
        say(f"{framework.name}_trainer: {error}")
        sys.exit(error.status)
    except KeyboardInterrupt:
        say(f"{framework.name}_trainer: interrupted")
        sys.exit(130)
    print(json.dumps(as_json(result), allow_nan=False), flush=True)
