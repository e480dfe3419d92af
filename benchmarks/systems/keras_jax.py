"""Keras on its JAX backend: training alone, by `fit`. What JAX itself can do is in jax_numpy.py."""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import jax
import keras
import numpy as np

from shared.keras_network import KerasTraining
from shared.protocol import serve


class Batches(keras.utils.PyDataset):
    """Shuffled batches of arrays in memory. tf.data would bring TensorFlow's threads along."""

    def __init__(self, x, y, batch):
        super().__init__()
        self.x, self.y, self.batch = x, y, batch
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self.y) // self.batch)

    def __getitem__(self, index):
        rows = self.order[index * self.batch : (index + 1) * self.batch]
        return self.x[rows], self.y[rows]

    def on_epoch_end(self):
        self.order = np.random.permutation(len(self.y))


class KerasJax(KerasTraining):
    versions = {"jax": jax.__version__, "keras": keras.__version__}
    # Without XLA there is no compiled step, only operators one by one.
    ways_to_train = ["fit, 32 steps an execution, XLA", "fit, 1 steps an execution, XLA", "fit, 1 steps an execution, no XLA"]

    def use_threads(self, threads):
        pass  # the environment names them

    def load(self, model, threads):
        pass

    def batches(self, batch):
        return Batches(self.x, self.y, batch)

    def predictor(self):
        predict = jax.jit(
            lambda trainable, other, x: self.trained.stateless_call(trainable, other, x, training=False)[0].argmax(1)
        )

        def labels(x):
            values = [variable.value for variable in self.trained.trainable_variables]
            return predict(values, [variable.value for variable in self.trained.non_trainable_variables], x)

        return labels


if __name__ == "__main__":
    serve(KerasJax())
