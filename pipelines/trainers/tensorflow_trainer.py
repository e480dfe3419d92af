"""LeNet-5 trained with TensorFlow: a Keras network, a compiled step of Adam, tf.summary, and a SavedModel."""

import os

# Its notes on processors and missing CUDA are of no use here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams
from tensorflow import summary

import common

# PyTorch's names of LeNet-5's parameters, in Keras' order.
LAYERS = ("c1", "c3", "c5", "f6", "output")


def lenet5(mean, std):
    """Pixels in 0..1 [N, 1, 28, 28] in, log-probabilities out; the first weights as PyTorch draws them."""
    layers = keras.layers

    def drawn(inputs):
        """Uniform within 1/√inputs, weights and biases."""
        uniform = keras.initializers.RandomUniform(-(inputs**-0.5), inputs**-0.5)
        return {"kernel_initializer": uniform, "bias_initializer": uniform.clone()}

    return keras.Sequential(
        [
            keras.Input((1, 28, 28)),
            # One channel: channels first and channels last are the same numbers.
            layers.Reshape((28, 28, 1)),
            # Padding is with black, and before normalisation.
            layers.ZeroPadding2D(2),
            layers.Rescaling(1 / std, -mean / std),
            layers.Conv2D(6, 5, activation="relu", name="c1", **drawn(25)),
            layers.MaxPooling2D(2),
            layers.Conv2D(16, 5, activation="relu", name="c3", **drawn(150)),
            layers.MaxPooling2D(2),
            layers.Conv2D(120, 5, activation="relu", name="c5", **drawn(400)),
            layers.Flatten(),
            layers.Dense(84, activation="relu", name="f6", **drawn(120)),
            layers.Dense(common.CLASSES, activation="log_softmax", name="output", **drawn(84)),
        ]
    )


class TensorFlow(common.Framework):
    name, title, format, place = (
        "tensorflow",
        "TensorFlow",
        "a SavedModel",
        "a folder, made by this trainer or not there yet",
    )

    def __init__(self):
        self.versions = {"tensorflow": tf.__version__, "keras": keras.__version__}

    def prepare(self, seed, threads):
        if threads is not None:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()

    def build(self, mean, std):
        self.model = lenet5(mean, std)
        self.optimizer = keras.optimizers.Adam(epsilon=1e-8)
        self.optimizer.build(self.model.trainable_variables)
        pixels, labels = tf.TensorSpec([None, 28, 28], tf.uint8), tf.TensorSpec([None], tf.int64)

        def losses(pixels, labels, training):
            answers = self.model(tf.cast(pixels, tf.float32)[:, None] / 255, training=training)
            loss = -tf.reduce_sum(tf.gather(answers, labels, axis=1, batch_dims=1))
            return loss, tf.math.count_nonzero(tf.argmax(answers, 1) == labels)

        @tf.function(input_signature=[pixels, labels])
        def step(pixels, labels):
            with tf.GradientTape() as tape:
                loss, right = losses(pixels, labels, True)
                mean_loss = loss / tf.cast(tf.size(labels), tf.float32)
            variables = self.model.trainable_variables
            self.optimizer.apply(tape.gradient(mean_loss, variables), variables)
            return loss, right

        self.compiled_step = step
        self.compiled_losses = tf.function(lambda *batch: losses(*batch, False), input_signature=[pixels, labels])

    def step(self, pixels, labels, rate):
        self.optimizer.learning_rate.assign(rate)
        loss, right = self.compiled_step(pixels, labels)
        return float(loss), int(right)

    def evaluate(self, pixels, labels):
        loss, right = self.compiled_losses(pixels, labels)
        return float(loss), int(right)

    def weights(self):
        layers = {name: self.model.get_layer(name) for name in LAYERS}
        return {
            f"{name}.{kind}": values.numpy()
            for name, layer in layers.items()
            for kind, values in (("weight", layer.kernel), ("bias", layer.bias))
        }

    def open_log(self, folder, suffix):
        self.log = summary.create_file_writer(folder, filename_suffix=f"{suffix}.v2")
        self.log.init()
        self.log.set_as_default()
        signature = tf.TensorSpec([None, 1, 28, 28], tf.float32)
        summary.graph(tf.function(self.model).get_concrete_function(signature).graph)

    def log_scalar(self, tag, value, step):
        summary.scalar(tag, value, step)

    def log_histogram(self, tag, values, step):
        summary.histogram(tag, values, step)

    def log_hparams(self, parameters, metrics, step):
        hparams.hparams(parameters)
        for tag, value in metrics.items():
            summary.scalar(tag, value, step)

    def flush_log(self):
        self.log.flush()

    def check_place(self, path):
        if path.exists() and not (path.is_dir() and ((path / "saved_model.pb").exists() or not any(path.iterdir()))):
            raise common.Refused("a SavedModel's folder or a new one", "--output", f"{path}, something else")

    def save(self, path):
        signature = tf.TensorSpec([None, 1, 28, 28], tf.float32, name="pixels")
        module = tf.Module()
        module.model = self.model
        module.answer = tf.function(lambda pixels: self.model(pixels, training=False), input_signature=[signature])
        tf.saved_model.save(module, str(path), signatures={"serving_default": module.answer})
        written = tf.saved_model.load(str(path)).signatures["serving_default"]

        def answer(pixels):
            (found,) = written(pixels=tf.constant(np.ascontiguousarray(pixels))).values()
            return found.numpy()

        return answer


if __name__ == "__main__":
    common.main(TensorFlow())
