"""One rank of PyTorch's DistributedDataParallel over Gloo, for benchmarks/scaling.mjs: two epochs, the second is measured.

The network, the resident normalised images and Adam are those of pytorch_eager.py, and the images of a rank those that
DistributedSampler would give it. Ways that were faster in some run are tried by the caller: bytes or floats in memory, and
`static_graph` with gradients as views into the buckets.
"""

import json
import os
import sys
import time

# The protocol's module takes standard output for itself.
answer = os.fdopen(os.dup(1), "w")

import numpy as np
import torch
import torch.distributed as dist
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from pytorch_eager import MEAN, STD, LeNet5, as_floats
from shared.protocol import normalized, padded

task = json.loads(sys.argv[1])
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
torch.set_flush_denormal(True)
torch.set_num_threads(task["threads"])
torch.manual_seed(1)

with open(os.path.join(task["data"], "train-images-idx3-ubyte"), "rb") as file:
    images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
with open(os.path.join(task["data"], "train-labels-idx1-ubyte"), "rb") as file:
    labels = np.frombuffer(file.read(), np.uint8, offset=8)
count = min(task["limit"], len(labels))
images, labels = images[:count], labels[:count]
x = torch.from_numpy(padded(images) if task["bytes"] else normalized(images, MEAN, STD))
y = torch.from_numpy(labels.astype(np.int64))

if size > 1:
    dist.init_process_group("gloo", init_method="env://")
network = LeNet5(padding=0).train()
model = (
    DistributedDataParallel(network, gradient_as_bucket_view=True, static_graph=True, broadcast_buffers=False)
    if size > 1
    else network
)
optimizer = torch.optim.Adam(model.parameters(), lr=0.005, fused=True)


def epoch(seed):
    """Every rank's share of every batch, as DistributedSampler over a DataLoader of batch / size has it."""
    rows = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[rank::size].split(task["batch"] // size)
    for own in rows:
        optimizer.zero_grad(set_to_none=size == 1)
        F.nll_loss(model(as_floats(x[own])), y[own]).backward()
        optimizer.step()
    return len(rows)


epoch(1)
begin = time.perf_counter()
steps = epoch(2)
seconds = time.perf_counter() - begin
print(json.dumps({"images": count, "steps": steps, "seconds": seconds, "communicationSeconds": 0}), file=answer, flush=True)
if size > 1:
    dist.barrier()
# Not by the interpreter's end: threads of the process group that are still there then end some processes with SIGABRT.
os._exit(0)
