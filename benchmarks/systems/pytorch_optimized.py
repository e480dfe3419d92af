"""PyTorch at its best: TorchScript through optimize_for_inference, torch.compile in its variants, AOTInductor.

Which of them is the fastest depends on the batch, so all are tried when a batch size is prepared, eager mode among them,
and the fastest one stays.

Problem: `torch.compile(options={"freezing": True})` freezes nothing, because dynamo asks the global setting whether the
weights may become constants; oneDNN's convolution with the ReLU inside then never appears. Resolution: the settings are
global while a candidate is compiled, and the generated code is looked at: a candidate that should be frozen and has no
`mkldnn._convolution_pointwise` is an error and no figure.
"""

import contextlib
import copy
import os
import tempfile

import torch
import torch._inductor.config
from torch._inductor.utils import run_and_get_code
from torch.nn import functional as F

from pytorch_eager import Eager, as_floats, inference_mode, load_module
from shared.protocol import serve

FREEZING = {"freezing": True}
COMPILED = {
    "torch.compile": {},
    "torch.compile, freezing": FREEZING,
    "torch.compile, freezing, max-autotune": {**FREEZING, "max_autotune": True, "max_autotune_gemm_backends": "CPP,ATEN"},
    "torch.compile, freezing, C++ wrapper": {**FREEZING, "cpp_wrapper": True},
}
COMPILED_TRAINING = {
    "compiled, resident bytes": {},
    "compiled, resident floats": {},
    "compiled, resident bytes, max-autotune": {"max_autotune": True, "max_autotune_gemm_backends": "CPP,ATEN"},
    "compiled with its optimizer, resident bytes": {},
    "compiled with its optimizer, resident floats": {},
}


@contextlib.contextmanager
def settings(values):
    """Inductor's global settings for a compilation."""
    with torch._inductor.config.patch(values):
        yield


def has_fused_convolution(code):
    return "mkldnn._convolution_pointwise" in code or "mkldnn__convolution_pointwise" in code


def on_mkldnn():
    return torch.backends.mkldnn.is_available()


def frozen_script(module):
    return torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.script(module)))


def compiled(module, example, values):
    # One compilation knows nothing of the one before: each batch size has a graph of its own.
    module = copy.deepcopy(module)
    with settings(values), torch.inference_mode():
        run = torch.compile(module, dynamic=False)
        _, codes = run_and_get_code(run, example)
    if values.get("freezing") and on_mkldnn() and not any(map(has_fused_convolution, codes)):
        raise RuntimeError("Expected mkldnn._convolution_pointwise in the code that freezing generates but found none")

    return run


def ahead_of_time(module, example):
    with tempfile.TemporaryDirectory() as folder, settings(FREEZING), torch.no_grad():
        program = torch.export.export(module, (example,))
        package = torch._inductor.aoti_compile_and_package(program, package_path=os.path.join(folder, "lenet5.pt2"))
        return torch._inductor.aoti_load_package(package)


class Optimized(Eager):
    def load(self, model, threads):
        self.use_threads(threads)
        self.module = load_module(model)
        self.script = frozen_script(self.module)

    def predict(self, image):
        with torch.inference_mode():
            return self.script(torch.from_numpy(image)).numpy()

    def candidates(self, images, batch):
        yield from super().candidates(images, batch)
        contiguous = torch.from_numpy(images).split(batch)
        yield "torch.jit.optimize_for_inference", lambda: inference_mode(self.script, contiguous)

        def script_in_channels_last():
            script = frozen_script(copy.deepcopy(self.module).to(memory_format=torch.channels_last))
            return inference_mode(script, [x.contiguous(memory_format=torch.channels_last) for x in contiguous])

        yield "torch.jit.optimize_for_inference, channels_last", script_in_channels_last
        for name, values in COMPILED.items():
            yield (
                name,
                lambda values=values: inference_mode(compiled(self.module, contiguous[0], values), contiguous),
            )
        yield "AOTInductor, freezing", lambda: inference_mode(ahead_of_time(self.module, contiguous[0]), contiguous)

    ways_to_train = [*Eager.ways_to_train, *COMPILED_TRAINING]

    def start(self, how, recipe, batch, steps):
        super().start(how, recipe, batch, steps)
        if how not in COMPILED_TRAINING:
            return
        torch._dynamo.reset()
        trained, optimizer, update = self.trained, self.optimizer, self.optimizer.step
        if "optimizer" in how:
            # The rate as a tensor: as a number it would be a constant of the compiled step, compiled anew at each rate.
            rate = torch.tensor(float(recipe["learningRate"]))
            optimizer = torch.optim.Adam(trained.parameters(), lr=rate, foreach=True, capturable=True)
            update = torch.compile(optimizer.step)
            self.set_rate = rate.fill_

        def eager_loss(x, y):
            return F.nll_loss(trained(as_floats(x)), y)

        loss = torch.compile(eager_loss, dynamic=False)

        def step(x, y):
            optimizer.zero_grad(set_to_none=True)
            # An epoch's short last batch is not worth a graph of its own.
            (loss if len(x) == batch else eager_loss)(x, y).backward()
            update()

        self.step = step
        with settings(COMPILED_TRAINING[how]):
            # Compiled here, on a batch whose gradients are thrown away. The optimiser is compiled at the first step.
            loss(self.x[:batch], self.y[:batch]).backward()


if __name__ == "__main__":
    serve(Optimized())
