"""PyTorch's images a second for the same work, as one JSON object: python3 pytorch_peer.py DEVICE.

Training: the set on the device as bytes, batches gathered there, Adam, no loss read within an epoch; as its users write it,
and as a CUDA graph with torch.cuda.graph. Medians of five rounds after one that does not count.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn

ROUNDS = 5
SECONDS = 1.0


def lenet5():
    return nn.Sequential(
        nn.ZeroPad2d(2), nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 120, 5), nn.ReLU(), nn.Flatten(),
        nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10), nn.LogSoftmax(1),
    )


def normalised(pixels):
    return (pixels.float().div_(255) - 0.1307) / 0.3081


def wait(device):
    if device != "cpu":
        torch.cuda.synchronize()


def rate(device, work, images):
    """Images a second of `work`, which does `images` of them."""
    rates = []
    for _ in range(ROUNDS + 1):
        wait(device)
        start, times = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS:
            work()
            wait(device)
            times += 1
        rates.append(times * images / (time.perf_counter() - start))
    return round(statistics.median(rates[1:]))


def training(device, images, labels, batch, graphed):
    model = lenet5().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, capturable=graphed, fused=device != "cpu")
    count = len(labels) // batch * batch
    rows = torch.zeros(batch, dtype=torch.int64, device=device)

    def step():
        optimizer.zero_grad(set_to_none=True)
        scores = model(normalised(images.index_select(0, rows)))
        nn.functional.nll_loss(scores, labels.index_select(0, rows)).backward()
        optimizer.step()

    replay = step
    if graphed:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        replay = graph.replay

    def epoch():
        order = torch.randperm(len(labels), device=device)
        for first in range(0, count, batch):
            rows.copy_(order[first : first + batch])
            replay()

    return rate(device, epoch, count)


def inference(device, pixels, count):
    model = lenet5().to(device).eval()

    def work():
        with torch.inference_mode():
            model(normalised(pixels[:count].to(device))).exp_().cpu()

    return rate(device, work, count)


def main():
    device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
    pixels = torch.randint(0, 256, (20000, 1, 28, 28), dtype=torch.uint8)
    images, labels = pixels.to(device), torch.randint(0, 10, (20000,), device=device)
    result = {"version": torch.__version__, "training": {}, "inference": {}}
    ways = {"eager": False} if device == "cpu" else {"eager": False, "CUDA graph": True}
    for name, graphed in ways.items():
        result["training"][name] = {batch: training(device, images, labels, batch, graphed) for batch in (64, 256, 1024)}
    result["inference"]["eager"] = {count: inference(device, pixels, count) for count in (1, 64, 1024, 4096)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
