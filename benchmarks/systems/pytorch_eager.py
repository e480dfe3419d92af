"""PyTorch in eager mode: inference_mode for predictions, Adam with fused=True for training.

Training was tried with channels_last weights and images too: no difference (c1 has one channel).
"""

import copy
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from shared.protocol import fastest, fold_normalization, normalized, one_cycle, read_parameters, serve


class LeNet5(nn.Module):
    """`padding` 2 takes 28×28 pixels (inference, normalisation folded into c1), 0 takes padded 32×32 ones (training)."""

    def __init__(self, padding):
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5, padding=padding)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.c5 = nn.Linear(400, 120)  # c5's 5×5 filter covers its whole 5×5 input: the same sums, and faster so
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.c1(x)), 2)
        x = F.max_pool2d(F.relu(self.c3(x)), 2)
        x = F.relu(self.c5(x.flatten(1)))
        x = F.relu(self.f6(x))
        return F.log_softmax(self.output(x), 1)


def load_module(model):
    parameters = fold_normalization(*read_parameters(model))
    module = LeNet5(padding=2).eval()
    state = {name: torch.from_numpy(np.array(value)) for name, value in parameters.items()}
    state["c5.weight"] = state["c5.weight"].reshape(120, 400)
    module.load_state_dict(state)
    return module


class Eager:
    versions = {"pytorch": torch.__version__}

    def load(self, model, threads):
        torch.set_num_threads(threads)
        self.module = load_module(model)
        self.chosen = {}

    def settings(self, batch):
        return self.chosen[batch]

    def predict(self, image):
        with torch.inference_mode():
            return self.module(torch.from_numpy(image)).numpy()

    def prepare(self, images, batch):
        contiguous = torch.from_numpy(images).split(batch)
        channels_last = [x.contiguous(memory_format=torch.channels_last) for x in contiguous]
        in_channels_last = copy.deepcopy(self.module).to(memory_format=torch.channels_last)
        candidates = []
        for name, module, batches in (
            ("eager, inference_mode", self.module, contiguous),
            ("eager, inference_mode, channels_last", in_channels_last, channels_last),
        ):
            call = torch.inference_mode()(lambda index, module=module, batches=batches: module(batches[index]))
            candidates.append((name, call, len(batches)))
        self.chosen[batch], call = fastest(candidates)
        return call

    def prepare_training(self, train_images, train_labels, test_images, test_labels):
        mean, std = 0.1307, 0.3081
        self.x = torch.from_numpy(normalized(train_images, mean, std))
        self.y = torch.from_numpy(train_labels.astype(np.int64))
        self.test_x = torch.from_numpy(normalized(test_images, mean, std))
        self.test_y = torch.from_numpy(test_labels.astype(np.int64))
        self.start(seed=0, learning_rate=1e-3)

    def start(self, seed, learning_rate):
        torch.manual_seed(seed)
        self.trained = LeNet5(padding=0).train()
        self.optimizer = torch.optim.Adam(self.trained.parameters(), lr=learning_rate, fused=True)

    def step(self, rows):
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.nll_loss(self.trained(self.x[rows]), self.y[rows])
        loss.backward()
        self.optimizer.step()

    def train(self, batch, seconds):
        batches = torch.randperm(len(self.x)).split(batch)
        for rows in batches[:5]:
            self.step(rows)
        begin = now = time.perf_counter()
        steps = 0
        while now - begin < seconds:
            self.step(batches[steps % (len(batches) - 1)])
            steps += 1
            now = time.perf_counter()
        return {"images": steps * batch, "seconds": now - begin}

    def fit(self, recipe, evaluated):
        self.start(recipe["seed"], recipe["learningRate"])
        batch, epochs = recipe["batchSize"], recipe["epochs"]
        steps = -(-len(self.x) // batch)
        step = 0
        for epoch in range(1, epochs + 1):
            begin = time.perf_counter()
            for rows in torch.randperm(len(self.x)).split(batch):
                self.optimizer.param_groups[0]["lr"] = one_cycle(step, steps * epochs, recipe["learningRate"])
                self.step(rows)
                step += 1
            spent = time.perf_counter() - begin
            with torch.inference_mode():
                correct = sum(
                    (self.trained(x).argmax(1) == y).sum().item()
                    for x, y in zip(self.test_x.split(1000), self.test_y.split(1000))
                )
            evaluated(epoch, correct / len(self.test_y), spent)


if __name__ == "__main__":
    serve(Eager())
