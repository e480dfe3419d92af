"""LiteRT (TensorFlow Lite's interpreter, XNNPACK underneath), on the weights converted by TensorFlow."""

import hashlib
import os
import subprocess
import sys

import ai_edge_litert
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from shared.protocol import serve


def converted(model):
    """The file, made once for these weights; TensorFlow converts in a process of its own."""
    with open(model["parameters"], "rb") as file:
        mark = hashlib.sha256(file.read()).hexdigest()[:16]
    path = os.path.join(os.path.dirname(model["parameters"]), f"lenet5-{mark}.tflite")
    if not os.path.exists(path):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "litert_model.py")
        command = [sys.executable, script, model["description"], model["parameters"], path]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return path


class LiteRt:
    versions = {"litert": getattr(ai_edge_litert, "__version__", "unknown")}

    def load(self, model, threads):
        self.path, self.threads = converted(model), threads
        self.one = self.interpreter(1)

    def interpreter(self, batch):
        interpreter = Interpreter(model_path=self.path, num_threads=self.threads)
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], [batch, 28, 28, 1], strict=True)
        interpreter.allocate_tensors()
        return interpreter

    def run(self, interpreter, pixels):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    def predict(self, image):
        return self.run(self.one, image.reshape(1, 28, 28, 1))

    def candidates(self, images, batch):
        # One channel: channels first and last are the same bytes.
        batches = [x.reshape(batch, 28, 28, 1) for x in np.split(images, len(images) // batch)]

        def copying():
            interpreter = self.interpreter(batch)
            given, taken = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

            def call(index):
                interpreter.set_tensor(given, batches[index])
                interpreter.invoke()
                return interpreter.get_tensor(taken)

            return call

        def views():
            interpreter = self.interpreter(batch)
            given, taken = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
            write, read = interpreter.tensor(given), interpreter.tensor(taken)

            def call(index):
                np.copyto(write(), batches[index])
                interpreter.invoke()
                return np.array(read())

            return call

        yield "set_tensor and get_tensor", copying
        yield "views of its tensors", views


if __name__ == "__main__":
    serve(LiteRt())
