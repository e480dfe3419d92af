"""The Python half of the line protocol: one JSON request a line on stdin, one JSON reply a line on stdout.

A system gives an object with the methods that `serve` calls; everything is timed here, on the child's own clock, so that
every Python system is measured by the same loop.
"""

import json
import os
import statistics
import sys
import time
import traceback

import numpy as np

# Whatever a library prints goes to stderr: stdout carries the protocol alone.
_replies = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def say(message):
    _replies.write(json.dumps(message) + "\n")
    _replies.flush()


def read_parameters(model):
    """The shared weights as {name: float32 array}, and the normalisation, as runner/model.mjs wrote them."""
    with open(model["description"], encoding="utf-8") as file:
        description = json.load(file)
    flat = np.fromfile(model["parameters"], dtype="<f4")
    parameters, offset = {}, 0
    for name, shape in description["parameters"]:
        size = int(np.prod(shape))
        parameters[name] = flat[offset : offset + size].reshape(shape)
        offset += size
    assert offset == flat.size
    return parameters, description["normalization"]


def fold_normalization(parameters, normalization):
    """Weights that take pixels in 0..1: c1((x - mean) / std) with the division and the subtraction inside c1.

    Padding is black and comes before normalisation, so zero padding of the raw pixels stays exact.
    """
    folded = dict(parameters)
    weight = parameters["c1.weight"].astype(np.float64) / normalization["std"]
    bias = parameters["c1.bias"].astype(np.float64) - normalization["mean"] * weight.sum(axis=(1, 2, 3))
    folded["c1.weight"], folded["c1.bias"] = weight.astype(np.float32), bias.astype(np.float32)
    return folded


def read_idx(data, name):
    """One of MNIST's files, unpacked, without its header, as uint8."""
    path = os.path.join(data, name)
    header = 16 if "images" in name else 8
    values = np.fromfile(path, dtype=np.uint8, offset=header)
    return values.reshape(-1, 28, 28) if header == 16 else values


def normalized(images, mean, std):
    """[N,1,32,32] float32: padded by 2 with black, then normalised. Made ahead of training, which is a peer's best case."""
    padded = np.pad(images.astype(np.float32) / 255, ((0, 0), (2, 2), (2, 2)))
    return ((padded - mean) / std)[:, None]


def one_cycle(step, steps, maximum):
    """torch.optim.lr_scheduler.OneCycleLR's learning rate with its default arguments, the momenta left alone."""
    first, peak, last = maximum / 25, maximum, maximum / 25e4
    up = 0.3 * steps - 1
    begin, end, share = (first, peak, step / up) if step <= up else (peak, last, (step - up) / (steps - 1 - up))
    return end + (begin - end) / 2 * (1 + np.cos(np.pi * share))


def measure(call, calls, seconds):
    """Calls `call(0..calls-1)` round and round; returns the number of calls, the seconds and the latencies' quantiles."""
    durations = []
    clock = time.perf_counter
    begin = now = clock()
    deadline = begin + seconds
    index = 0
    while now < deadline:
        before = now
        call(index)
        now = clock()
        durations.append(now - before)
        index = index + 1 if index + 1 < calls else 0
    durations.sort()
    return {
        "calls": len(durations),
        "seconds": now - begin,
        "p50Ms": statistics.median(durations) * 1e3,
        "p99Ms": durations[min(len(durations) - 1, int(len(durations) * 0.99))] * 1e3,
    }


def fastest(candidates):
    """The fastest of several ways to run the same batches: candidates are (name, call, calls), the result (name, call).

    Each is warmed up, then takes ten windows of 30 ms; medians are compared, so that one slow window does not choose for
    the whole run. A candidate that fails leaves the choice to the others.
    """
    best = None
    for name, call, calls in candidates:
        try:
            for index in range(min(calls, 10)):
                call(index)
            windows = [measure(call, calls, 0.03) for _ in range(10)]
        except Exception as error:
            print(f"{name}: {error}")
            continue
        time_of_a_call = statistics.median(window["seconds"] / window["calls"] for window in windows)
        if best is None or time_of_a_call < best[0]:
            best = (time_of_a_call, name, call)
    if best is None:
        raise RuntimeError("no way to run this network works here")
    return best[1:]


class _Session:
    def __init__(self, system):
        self.system = system
        self.batches = {}

    def load(self, request):
        return self.system.load(request["model"], request["threads"]) or {}

    def predict(self, request):
        image = np.asarray(request["pixels"], dtype=np.float32).reshape(1, 1, 28, 28)
        return {"label": int(np.argmax(self.system.predict(image), axis=1)[0])}

    def data(self, request):
        self.directory = request["data"]
        images = read_idx(self.directory, "t10k-images-idx3-ubyte")
        self.images = (images.astype(np.float32) / 255).reshape(-1, 1, 28, 28)
        return {}

    def _prepared(self, batch):
        if batch not in self.batches:
            calls = len(self.images) // batch
            self.batches[batch] = (self.system.prepare(self.images[: calls * batch], batch), calls)
        return self.batches[batch]

    def check(self, request):
        batch, count = request["batch"], request["count"]
        call, _ = self._prepared(batch)
        labels = [np.argmax(np.asarray(call(i)), axis=1) for i in range(-(-count // batch))]
        return {"labels": np.concatenate(labels)[:count].tolist(), "settings": self.system.settings(batch)}

    def inference(self, request):
        call, calls = self._prepared(request["batch"])
        return measure(call, calls, request["seconds"])

    def _training(self):
        train, test = "train", "t10k"
        return [
            read_idx(self.directory, f"{name}-{kind}")
            for name in (train, test)
            for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
        ]

    def train(self, request):
        if not hasattr(self.system, "training_ready"):
            self.system.prepare_training(*self._training())
            self.system.training_ready = True
        return self.system.train(request["batch"], request["seconds"])

    def fit(self, request):
        self.directory = request["data"]
        self.system.prepare_training(*self._training())
        spent = [time.perf_counter(), 0.0]

        def evaluated(epoch, accuracy, training_seconds):
            spent[1] += training_seconds
            say({"event": "evaluation", "epoch": epoch, "accuracy": float(accuracy), "trainingSeconds": spent[1]})

        self.system.fit(request["recipe"], evaluated)
        return {"trainingSeconds": spent[1]}


def serve(system):
    say({"event": "ready", "versions": system.versions})
    session = _Session(system)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            # A system that is no LeNet-5 answers requests of its own.
            answering = session if hasattr(session, request["cmd"]) else system
            say({"ok": True, **getattr(answering, request["cmd"])(request)})
        except Exception as error:  # the runner decides what a failed request means
            traceback.print_exc()
            say({"ok": False, "error": f"{type(error).__name__}: {error}"})
