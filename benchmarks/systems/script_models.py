"""The TorchScript files of the script-module suite: anyone's networks, with random weights (seed 0).

    script_models.py FOLDER [NAME …]

writes NAME.pt for each. Speed does not depend on the weights, so nothing is downloaded.
"""

import sys
from pathlib import Path

import timm
import torch
import torchaudio
import torchvision
from torch import nn


class Segments(nn.Module):
    """The one tensor that counts of the dictionary that a segmentation network returns."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)["out"]


class Sequences(nn.Module):
    """An LSTM's outputs; scripted alone, it has no method `forward` but one for each kind of input."""

    def __init__(self, *args, **options):
        super().__init__()
        self.lstm = nn.LSTM(*args, **options)

    def forward(self, x):
        return self.lstm(x)[0]


def mlp():
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def conformer():
    return torchaudio.models.Conformer(
        input_dim=80, num_heads=4, ffn_dim=128, num_layers=4, depthwise_conv_kernel_size=31
    )


# Each network, and whether it is traced with an example of this shape (its Python is none that TorchScript reads).
MODELS = {
    "mlp": (mlp, None),
    "resnet18": (lambda: torchvision.models.resnet18(weights=None), None),
    "mobilenet-v3-small": (lambda: torchvision.models.mobilenet_v3_small(weights=None), None),
    "efficientnet-b0": (lambda: torchvision.models.efficientnet_b0(weights=None), None),
    "deeplabv3": (
        lambda: Segments(
            torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None)
        ),
        None,
    ),
    "vit-tiny": (lambda: timm.create_model("vit_tiny_patch16_224", pretrained=False), (1, 3, 224, 224)),
    "conformer": (conformer, None),
    "lstm": (lambda: Sequences(32, 64, num_layers=2, batch_first=True), None),
}


def main(folder, names):
    for name in names or MODELS:
        make, traced = MODELS[name]
        torch.manual_seed(0)
        network = make().eval()
        with torch.no_grad():
            script = torch.jit.trace(network, torch.rand(traced)) if traced else torch.jit.script(network)
        script.save(str(folder / f"{name}.pt"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
