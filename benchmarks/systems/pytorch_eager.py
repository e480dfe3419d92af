"""PyTorch in eager mode: inference_mode for predictions, Adam with fused=True for training.

Training images lie in memory as normalised floats or as bytes that each step turns into floats: both are tried. Training
was tried with channels_last weights and images too: no difference (c1 has one channel).
"""

import copy
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from shared.protocol import fold_normalization, normalized, padded, rate_of, read_parameters, serve

MEAN, STD = 0.1307, 0.3081


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


def as_floats(x):
    """Padded bytes normalised; normalised floats as they are."""
    return x.float().sub_(255 * MEAN).mul_(1 / 255 / STD) if x.dtype == torch.uint8 else x


def load_module(model):
    parameters = fold_normalization(*read_parameters(model))
    module = LeNet5(padding=2).eval()
    state = {name: torch.from_numpy(np.array(value)) for name, value in parameters.items()}
    state["c5.weight"] = state["c5.weight"].reshape(120, 400)
    module.load_state_dict(state)
    return module


def inference_mode(run, batches):
    return torch.inference_mode()(lambda index: run(batches[index]))


class Eager:
    versions = {"pytorch": torch.__version__}

    def use_threads(self, threads):
        # Before the first parallel region: the threads of the pool inherit it.
        torch.set_flush_denormal(True)
        torch.set_num_threads(threads)

    def load(self, model, threads):
        self.use_threads(threads)
        self.module = load_module(model)

    def predict(self, image):
        with torch.inference_mode():
            return self.module(torch.from_numpy(image)).numpy()

    def candidates(self, images, batch):
        contiguous = torch.from_numpy(images).split(batch)
        yield "eager, inference_mode", lambda: inference_mode(self.module, contiguous)

        def in_channels_last():
            module = copy.deepcopy(self.module).to(memory_format=torch.channels_last)
            return inference_mode(module, [x.contiguous(memory_format=torch.channels_last) for x in contiguous])

        yield "eager, inference_mode, channels_last", in_channels_last

    ways_to_train = ["eager, resident bytes", "eager, resident floats"]

    def prepare_training(self, train_images, train_labels, test_images, test_labels):
        self.train_images, self.prepared = train_images, {}
        self.y = torch.from_numpy(train_labels.astype(np.int64))
        self.test_x = torch.from_numpy(padded(test_images))
        self.test_y = torch.from_numpy(test_labels.astype(np.int64))

    def images(self, how):
        """The training images in the form that `how` asks for: nobody pays for the other one."""
        bytes_ = "bytes" in how
        if bytes_ not in self.prepared:
            made = padded(self.train_images) if bytes_ else normalized(self.train_images, MEAN, STD)
            self.prepared[bytes_] = torch.from_numpy(made)
        return self.prepared[bytes_]

    def start(self, how, recipe, batch, steps):
        torch.manual_seed(recipe["seed"])
        self.x = self.images(how)
        self.trained = LeNet5(padding=0).train()
        self.rate, self.done, self.batch = rate_of(recipe, steps), 0, batch
        self.optimizer = torch.optim.Adam(self.trained.parameters(), lr=recipe["learningRate"], fused=True)
        self.step, self.set_rate = self.eager_step, self.set_group_rate

    def eager_step(self, x, y):
        self.optimizer.zero_grad(set_to_none=True)
        F.nll_loss(self.trained(as_floats(x)), y).backward()
        self.optimizer.step()

    def set_group_rate(self, rate):
        self.optimizer.param_groups[0]["lr"] = rate

    def take(self, rows):
        self.set_rate(self.rate(self.done))
        self.step(self.x[rows], self.y[rows])
        self.done += 1

    def train(self, batch, seconds):
        batches = torch.randperm(len(self.x)).split(batch)
        for rows in batches[:5]:
            self.take(rows)
        begin = now = time.perf_counter()
        steps = 0
        while now - begin < seconds:
            self.take(batches[steps % (len(batches) - 1)])
            steps += 1
            now = time.perf_counter()
        return {"images": steps * batch, "seconds": now - begin}

    def fit(self, how, recipe, evaluated):
        batch, epochs = recipe["batchSize"], recipe["epochs"]
        at_once = recipe.get("evaluationBatch", 1000)
        begin = time.perf_counter()  # what a compiler does belongs to the first epoch
        self.start(how, recipe, batch, -(-len(self.y) // batch) * epochs)
        for epoch in range(1, epochs + 1):
            for rows in torch.randperm(len(self.x)).split(batch):
                self.take(rows)
            spent = time.perf_counter() - begin
            with torch.inference_mode():
                correct = sum(
                    (self.trained(as_floats(x)).argmax(1) == y).sum().item()
                    for x, y in zip(self.test_x.split(at_once), self.test_y.split(at_once))
                )
            evaluated(epoch, correct / len(self.test_y), spent)
            begin = time.perf_counter()


if __name__ == "__main__":
    serve(Eager())
