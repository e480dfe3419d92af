"""OpenVINO called from Python, on the ONNX model that this package exports, in single precision, subnormals as zero."""

import numpy as np
import openvino as ov

from shared.protocol import serve


class OpenVino:
    versions = {"openvino": ov.__version__.split("-")[0]}

    def load(self, model, threads):
        self.core, self.threads = ov.Core(), threads
        self.model = self.core.read_model(model["onnx"])
        self.one = self.compiled(1, "LATENCY").create_infer_request()

    def compiled(self, batch, hint):
        model = self.model.clone()
        model.reshape([batch, 1, 28, 28])
        settings = {
            "PERFORMANCE_HINT": hint,
            # Where a processor has bfloat16 it would be taken for convolutions.
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self.threads,
            "CPU_DENORMALS_OPTIMIZATION": True,
        }
        return self.core.compile_model(model, "CPU", settings)

    def predict(self, image):
        return self.one.infer([image])[0]

    def candidates(self, images, batch):
        batches = np.split(images, len(images) // batch)

        def copying(hint):
            request = self.compiled(batch, hint).create_infer_request()
            return lambda index: request.infer([batches[index]])[0]

        def shared(hint):
            request = self.compiled(batch, hint).create_infer_request()
            return lambda index: request.infer([batches[index]], share_inputs=True, share_outputs=True)[0]

        def preallocated(hint):
            request = self.compiled(batch, hint).create_infer_request()
            tensors = [ov.Tensor(x, shared_memory=True) for x in batches]
            output = request.get_output_tensor(0).data

            def call(index):
                request.set_input_tensor(0, tensors[index])
                request.infer(share_outputs=True)
                return output

            return call

        for hint in ("LATENCY", "THROUGHPUT"):
            yield f"{hint.lower()}", lambda hint=hint: copying(hint)
            yield f"{hint.lower()}, shared memory", lambda hint=hint: shared(hint)
            yield f"{hint.lower()}, tensors made beforehand", lambda hint=hint: preallocated(hint)


if __name__ == "__main__":
    serve(OpenVino())
