"""torch.jit, as a user of Python calls it: no gradients, and the module as it was saved."""

import time

import numpy as np
import torch

from shared.protocol import serve


def tensor(described):
    shape = described["shape"]
    if described["dtype"] == "int64":
        return torch.full(shape, 100, dtype=torch.int64)
    values = (np.arange(int(np.prod(shape)), dtype=np.float64) * 0.6180339887498949) % 1
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def measure(call, seconds):
    durations = []
    begin = now = time.perf_counter()
    while now - begin < seconds:
        before = now
        call()
        now = time.perf_counter()
        durations.append(now - before)
    durations.sort()
    at = lambda share: 1000 * durations[min(len(durations) - 1, int(len(durations) * share))]  # noqa: E731
    return {"calls": len(durations), "seconds": now - begin, "p50Ms": at(0.5), "p99Ms": at(0.99)}


class TorchJit:
    versions = {"pytorch": torch.__version__}

    def open(self, request):
        torch.set_num_threads(request["threads"])
        self.module = torch.jit.load(request["file"]).eval()
        self.inputs = [tensor(each) for each in request["shapes"]]
        with torch.no_grad():
            for _ in range(request["warmUps"]):
                self.module(*self.inputs)
            answer = self.module(*self.inputs)
        first = answer if torch.is_tensor(answer) else answer[0]
        return {"values": first.flatten()[:64].tolist()}

    def call(self, request):
        with torch.no_grad():
            return measure(lambda: self.module(*self.inputs), request["seconds"])

    def loading(self, request):
        return measure(lambda: torch.jit.load(request["file"]), request["seconds"])


if __name__ == "__main__":
    serve(TorchJit())
