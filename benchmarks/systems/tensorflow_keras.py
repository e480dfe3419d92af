"""TensorFlow and Keras: tf.function for predictions, Keras `fit` for training.

For predictions, tf.function with and without XLA and with the weights frozen into its graph are tried when a batch size is
prepared, and the fastest stays. For training, `fit` over tf.data with tensors in memory, one and 32 steps an execution,
with and without XLA; over numpy arrays it was slower throughout. TensorFlow's own threads flush subnormals to zero.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from shared.keras_network import KerasTraining, channels_last, network
from shared.protocol import fold_normalization, read_parameters, serve


class TensorFlow(KerasTraining):
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}

    def use_threads(self, threads):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)

    def load(self, model, threads):
        self.use_threads(threads)
        parameters = fold_normalization(*read_parameters(model))
        self.model = network((28, 28, 1), "same")
        for layer, name in zip(
            (layer for layer in self.model.layers if layer.weights), ("c1", "c3", "c5", "f6", "output")
        ):
            weight = parameters[f"{name}.weight"]
            weight = weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T
            # Keras flattens height, width, channel: c5's rows follow.
            weight = weight.reshape(400, 120) if name == "c5" else weight
            layer.set_weights([weight, parameters[f"{name}.bias"]])

        def answer(x):
            return tf.nn.log_softmax(self.model(x, training=False))

        self.function = tf.function(answer)
        self.compiled = tf.function(answer, jit_compile=True)

    def predict(self, image):
        return self.function(tf.constant(channels_last(image))).numpy()

    def candidates(self, images, batch):
        batches = [tf.constant(x) for x in np.split(channels_last(images), len(images) // batch)]
        spec = tf.TensorSpec(batches[0].shape, tf.float32)

        def calling(function):
            run = function.get_concrete_function(spec)
            return lambda index: run(batches[index]).numpy()

        def frozen():
            run = convert_variables_to_constants_v2(self.function.get_concrete_function(spec))
            return lambda index: run(batches[index])[0].numpy()

        yield "tf.function", lambda: calling(self.function)
        yield "tf.function, jit_compile", lambda: calling(self.compiled)
        yield "tf.function, weights frozen into the graph", frozen

    def place(self):
        self.placed = tf.constant(self.x), tf.constant(self.y)
        self.x = None

    def batches(self, batch):
        x, y = self.placed
        rows = tf.data.Dataset.range(len(y)).shuffle(len(y)).batch(batch)
        return rows.map(lambda i: (tf.gather(x, i), tf.gather(y, i))).prefetch(4)

    def predictor(self):
        return tf.function(lambda x: tf.argmax(self.trained(x, training=False), 1))


if __name__ == "__main__":
    serve(TensorFlow())
