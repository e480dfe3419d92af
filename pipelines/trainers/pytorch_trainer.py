"""LeNet-5 trained with PyTorch: its network, a step of Adam, torch.utils.tensorboard, and TorchScript that `lenet5` loads."""

import io
import json
import os
import warnings

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

import common


class LeNet5(nn.Module):
    """Pixels in 0..1 [N, 1, 28, 28] in, log-probabilities out; PyTorch's own first weights."""

    mean: float
    std: float

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self.c1 = nn.Conv2d(1, 6, 5)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, common.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        # Padding is with black, and before normalisation.
        x = (functional.pad(x, (2, 2, 2, 2)) - self.mean) / self.std
        x = functional.max_pool2d(functional.relu(self.c1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.c3(x)), 2)
        x = functional.relu(self.c5(x)).flatten(1)
        return functional.log_softmax(self.output(functional.relu(self.f6(x))), 1)


class PyTorch(common.Framework):
    name, title, format, place = "pytorch", "PyTorch", "TorchScript", "a file"

    def __init__(self):
        self.versions = {"torch": torch.__version__}

    def prepare(self, seed, threads):
        if threads is not None:
            torch.set_num_threads(threads)
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        # Weights shrink towards zero; arithmetic with subnormal numbers takes a hundred times as long.
        torch.set_flush_denormal(True)

    def build(self, mean, std):
        self.model = LeNet5(mean, std)
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)

    def losses(self, pixels, labels):
        answers = self.model(torch.from_numpy(pixels)[:, None].float().div_(255))
        labels = torch.from_numpy(labels)
        return functional.nll_loss(answers, labels), (answers.argmax(1) == labels).sum().item()

    def step(self, pixels, labels, rate):
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss, right = self.losses(pixels, labels)
        loss.backward()
        self.optimizer.step()
        return loss.item() * len(labels), right

    def evaluate(self, pixels, labels):
        with torch.inference_mode():
            loss, right = self.losses(pixels, labels)
            return loss.item() * len(labels), right

    def weights(self):
        return {name: value.detach().numpy() for name, value in self.model.named_parameters()}

    def open_log(self, folder, suffix):
        self.log = SummaryWriter(folder, filename_suffix=suffix)
        self.log.add_graph(self.model, torch.zeros(1, 1, 28, 28))

    def log_scalar(self, tag, value, step):
        self.log.add_scalar(tag, value, step)

    def log_histogram(self, tag, values, step):
        self.log.add_histogram(tag, values, step)

    def log_hparams(self, parameters, metrics, step):
        # add_hparams() would make a run of its own for them.
        for summary in hparams(parameters, metrics):
            self.log.file_writer.add_summary(summary)
        for tag, value in metrics.items():
            self.log.add_scalar(tag, value, step)

    def flush_log(self):
        self.log.flush()

    def check_place(self, path):
        if path.is_dir():
            raise common.Refused("a file", "--output", f"{path}, a folder")

    def save(self, path):
        script = torch.jit.script(self.model.eval())
        classes = [str(digit) for digit in range(common.CLASSES)]
        normalization = {"mean": self.model.mean, "std": self.model.std}
        about = {"format": "lenet5-libtorch", "formatVersion": 1, "classNames": classes, "normalization": normalization}
        # Through memory: an archive that goes to a file is named after it, within.
        archive = io.BytesIO()
        torch.jit.save(script, archive, _extra_files={"lenet5.json": json.dumps(about)})
        with open(path, "wb") as file:
            file.write(archive.getvalue())
            os.fsync(file.fileno())
        written = torch.jit.load(str(path))

        def answer(pixels):
            with torch.inference_mode():
                return written(torch.from_numpy(np.ascontiguousarray(pixels))).numpy()

        return answer


if __name__ == "__main__":
    # TorchScript is deprecated without a date, and is what `lenet5` reads.
    warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
    common.main(PyTorch())
