"""The Python half of the line protocol: one JSON request a line on stdin, one JSON reply a line on stdout.

A system gives an object with the methods that `serve` calls; everything is timed here, on the child's own clock, so that
every Python system is measured by the same loop.

- `load(model, threads)`, `predict(image)`: weights, and one image's log-probabilities
- `candidates(images, batch)`: the ways to run consecutive batches, as pairs of a name and a function that makes the call
- `prepare_training(…)`, `ways_to_train` (names), `start(how, recipe, batch, steps)`, `train(batch, seconds)`,
  `fit(how, recipe, evaluated)`, `use_threads(threads)`: of systems that train
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
    """[N,1,32,32] float32: padded by 2 with black, then normalised. Made ahead of training, and in one array."""
    result = np.full((len(images), 1, 32, 32), -mean / std, dtype=np.float32)
    inside = result[:, 0, 2:30, 2:30]
    np.multiply(images, np.float32(1 / 255 / std), out=inside)
    inside -= np.float32(mean / std)
    return result


def padded(images):
    """[N,1,32,32] uint8: padded by 2 with black."""
    result = np.zeros((len(images), 1, 32, 32), dtype=np.uint8)
    result[:, 0, 2:30, 2:30] = images
    return result


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


def rate_of(recipe, steps):
    """The recipe's learning rate by step: a function of the step's number."""
    if recipe.get("schedule", "one-cycle") == "constant":
        return lambda step: recipe["learningRate"]
    return lambda step: one_cycle(step, steps, recipe["learningRate"])


def told(error):
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])}"[:300]


def fastest(candidates, calls, only=None):
    """The fastest of several ways to run the same batches.

    Candidates are (name, make); `make()` gives a function of the batch's index. Each is warmed up; then they take turns in
    ten rounds of 30 ms, and medians are compared, so that one slow window does not choose for the whole run. What each
    took, or why it could not be run, is reported; with `only`, the candidate of that name is made and no other.
    Returns (name, call, report).
    """
    ways, report = [], []
    for name, make in candidates:
        if only is not None and name != only:
            continue
        try:
            call = make()
            for index in range(min(calls, 10)):
                call(index)
            ways.append((name, call, []))
        except Exception as error:  # it is in the result, and the choice is left to the others
            traceback.print_exc()
            report.append({"name": name, "error": told(error)})
    if not ways:
        raise RuntimeError("; ".join(f"{row['name']}: {row['error']}" for row in report) or f"no candidate {only}")
    if only is not None:
        return ways[0][0], ways[0][1], report
    for _ in range(10):
        for _name, call, times in ways:
            window = measure(call, calls, 0.03)
            times.append(window["seconds"] / window["calls"])
    report += [{"name": name, "ms": statistics.median(times) * 1e3} for name, _, times in ways]
    name, call, _ = min(ways, key=lambda way: statistics.median(way[2]))
    return name, call, report


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
        self.batches = {}
        if hasattr(self, "trained_at"):
            del self.trained_at
        return {}

    def _prepared(self, batch, only=None):
        if batch not in self.batches:
            # The last batch is filled up with the first images.
            calls = -(-len(self.images) // batch)
            images = np.concatenate([self.images, self.images[: calls * batch - len(self.images)]])
            name, call, report = fastest(self.system.candidates(images, batch), calls, only)
            self.batches[batch] = (call, calls, name, report)
        return self.batches[batch]

    def check(self, request):
        """Chooses the way to run this batch size, and writes the log-probabilities of all images to a file."""
        call, calls, name, report = self._prepared(request["batch"], request.get("only"))
        answers = np.concatenate([np.array(call(i), dtype=np.float32) for i in range(calls)])
        answers[: len(self.images)].astype("<f4").tofile(request["output"])
        return {"settings": name, "candidates": report}

    def inference(self, request):
        call, calls, _, _ = self._prepared(request["batch"])
        return measure(call, calls, request["seconds"])

    def _training(self):
        train, test = "train", "t10k"
        return [
            read_idx(self.directory, f"{name}-{kind}")
            for name in (train, test)
            for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
        ]

    def train(self, request):
        """A window of steady training. The first one chooses the way, unless `how` names it."""
        batch, reply = request["batch"], {}
        if not hasattr(self, "trained_at"):
            self.system.prepare_training(*self._training())
            self.trained_at = None
        if self.trained_at != batch:
            name, report = self._fastest_training(batch, request.get("how"))
            self.trained_at = batch
            reply = {"settings": name, "candidates": report}
        return {**self.system.train(batch, request["seconds"]), **reply}

    def _fastest_training(self, batch, only):
        times, report = {}, []
        names = self.system.ways_to_train
        for name in names if only is None else [only]:
            try:
                self.system.start(name, {"seed": 0, "learningRate": 1e-3, "schedule": "constant"}, batch, 10**6)
                self.system.train(batch, 0.3)
                window = self.system.train(batch, 0.6)
                times[name] = window["seconds"] * batch / window["images"]
                report.append({"name": name, "ms": times[name] * 1e3})
            except Exception as error:
                traceback.print_exc()
                report.append({"name": name, "error": told(error)})
        if not times:
            raise RuntimeError("; ".join(f"{row['name']}: {row['error']}" for row in report))
        best = min(times, key=times.get)
        self.system.start(best, {"seed": 0, "learningRate": 1e-3, "schedule": "constant"}, batch, 10**6)
        self.system.train(batch, 0.3)
        return best, report

    def fit(self, request):
        recipe = request["recipe"]
        self.directory = request["data"]
        self.system.use_threads(request["threads"])
        self.system.prepare_training(*self._training())
        spent = [0.0]

        def evaluated(epoch, accuracy, training_seconds):
            spent[0] += training_seconds
            say({"event": "evaluation", "epoch": epoch, "accuracy": float(accuracy), "trainingSeconds": spent[0]})

        self.system.fit(recipe.get("how") or self.system.ways_to_train[0], recipe, evaluated)
        return {"trainingSeconds": spent[0]}


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
            say({"ok": False, "error": told(error)})
