"""PyTorch at its best for inference: frozen TorchScript through optimize_for_inference, and torch.compile.

Which of the two is faster depends on the batch, so both are tried when a batch size is prepared and the faster one stays.
"""

import copy

import torch

from pytorch_eager import load_module
from shared.protocol import fastest, serve


class Optimized:
    versions = {"pytorch": torch.__version__}

    def load(self, model, threads):
        torch.set_num_threads(threads)
        self.module = load_module(model)
        self.script = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.script(self.module)))
        self.chosen = {}

    def settings(self, batch):
        return self.chosen[batch]

    def predict(self, image):
        with torch.inference_mode():
            return self.script(torch.from_numpy(image)).numpy()

    def candidates(self, images, batch):
        contiguous = torch.from_numpy(images).split(batch)
        channels_last = [x.contiguous(memory_format=torch.channels_last) for x in contiguous]
        in_channels_last = copy.deepcopy(self.module).to(memory_format=torch.channels_last)
        frozen = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.script(in_channels_last)))
        compiled = torch.compile(self.module, dynamic=False, options={"freezing": True})
        for name, run, batches in (
            ("torch.jit.optimize_for_inference", self.script, contiguous),
            ("torch.jit.optimize_for_inference, channels_last", frozen, channels_last),
            ("torch.compile", compiled, contiguous),
        ):
            call = torch.inference_mode()(lambda index, run=run, batches=batches: run(batches[index]))
            yield name, call, len(batches)

    def prepare(self, images, batch):
        self.chosen[batch], call = fastest(self.candidates(images, batch))
        return call


if __name__ == "__main__":
    serve(Optimized())
