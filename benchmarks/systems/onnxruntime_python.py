"""ONNX Runtime called from Python, on the ONNX model that this package exports."""

import numpy as np
import onnxruntime as ort

from shared.protocol import serve

LEVELS = {
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


class OnnxRuntime:
    versions = {"onnxruntime": ort.__version__}

    def load(self, model, threads):
        self.path, self.threads = model["onnx"], threads
        self.sessions = {"all": self.session("all")}

    def session(self, level):
        options = ort.SessionOptions()
        options.graph_optimization_level = LEVELS[level]
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        return ort.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])

    def predict(self, image):
        session = self.sessions["all"]
        return session.run(None, {session.get_inputs()[0].name: image})[0]

    def candidates(self, images, batch):
        batches = np.split(images, len(images) // batch)

        def plain(level):
            session = self.session(level)
            name = session.get_inputs()[0].name
            return lambda index: session.run(None, {name: batches[index]})[0]

        def bound(level):
            session = self.session(level)
            [given], [taken] = session.get_inputs(), session.get_outputs()
            binding = session.io_binding()
            output = np.empty((batch, 10), np.float32)
            binding.bind_output(taken.name, "cpu", 0, np.float32, output.shape, output.ctypes.data)
            values = [ort.OrtValue.ortvalue_from_numpy(x) for x in batches]

            def call(index):
                binding.bind_ortvalue_input(given.name, values[index])
                session.run_with_iobinding(binding)
                return output

            return call

        for level in LEVELS:
            yield f"{level} optimisations", lambda level=level: plain(level)
            yield f"{level} optimisations, inputs and outputs preallocated", lambda level=level: bound(level)


if __name__ == "__main__":
    serve(OnnxRuntime())
