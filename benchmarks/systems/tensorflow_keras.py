"""TensorFlow and Keras: tf.function for predictions, Keras `fit` for training.

For predictions, tf.function with and without XLA are both tried when a batch size is prepared, and the faster one stays.
Training was tried with numpy arrays and tf.data, with XLA (a third of the speed on this network) and with one and 32 steps
an execution: tf.data over tensors in memory, 32 steps, no XLA was the best.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from shared.protocol import fastest, fold_normalization, normalized, one_cycle, read_parameters, serve


def network(shape, padding):
    layers = keras.layers

    def initial(inputs):
        """PyTorch's: weights and biases uniform within 1/√inputs. The recipe begins with the same weights everywhere."""
        bound = inputs**-0.5
        uniform = keras.initializers.RandomUniform
        return {"kernel_initializer": uniform(-bound, bound), "bias_initializer": uniform(-bound, bound)}

    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(6, 5, activation="relu", padding=padding, **initial(25)),
            layers.MaxPooling2D(2),
            layers.Conv2D(16, 5, activation="relu", **initial(150)),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="relu", **initial(400)),
            layers.Dense(84, activation="relu", **initial(120)),
            layers.Dense(10, **initial(84)),
        ]
    )


def channels_last(images):
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, steps, maximum):
        self.rates = tf.constant([one_cycle(step, steps, maximum) for step in range(steps)], tf.float32)

    def __call__(self, step):
        return tf.gather(self.rates, tf.minimum(tf.cast(step, tf.int32), len(self.rates) - 1))


class Window(keras.callbacks.Callback):
    """Measures `fit` from the end of its first execution for the given time, then stops it."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.first = seconds, None

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if self.first is None:
            self.first = (now, batch)
        self.last = (now, batch)
        if now - self.first[0] >= self.seconds:
            self.model.stop_training = True


class TensorFlow:
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}

    def load(self, model, threads):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
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
        self.chosen = {}

        def answer(x):
            return tf.nn.log_softmax(self.model(x, training=False))

        self.function = tf.function(answer)
        self.compiled = tf.function(answer, jit_compile=True)

    def settings(self, batch):
        return self.chosen[batch]

    def predict(self, image):
        return self.function(tf.constant(channels_last(image))).numpy()

    def prepare(self, images, batch):
        batches = [tf.constant(x) for x in np.split(channels_last(images), len(images) // batch)]
        spec = tf.TensorSpec(batches[0].shape, tf.float32)
        candidates = []
        for name, function in (("tf.function", self.function), ("tf.function, jit_compile", self.compiled)):
            run = function.get_concrete_function(spec)
            candidates.append((name, lambda index, run=run: run(batches[index]).numpy(), len(batches)))
        self.chosen[batch], call = fastest(candidates)
        return call

    def prepare_training(self, train_images, train_labels, test_images, test_labels):
        mean, std = 0.1307, 0.3081
        self.x = tf.constant(channels_last(normalized(train_images, mean, std)))
        self.y = tf.constant(train_labels.astype(np.int32))
        self.test_x = channels_last(normalized(test_images, mean, std))
        self.test_y = test_labels
        self.trained = None

    def start(self, seed, rate):
        keras.utils.set_random_seed(seed)
        self.trained = network((32, 32, 1), "valid")
        self.trained.compile(
            optimizer=keras.optimizers.Adam(rate, epsilon=1e-8),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
            steps_per_execution=32,
        )

    def batches(self, batch):
        rows = tf.data.Dataset.range(len(self.y)).shuffle(len(self.y)).batch(batch)
        return rows.map(lambda i: (tf.gather(self.x, i), tf.gather(self.y, i))).prefetch(4)

    def train(self, batch, seconds):
        if self.trained is None:
            self.start(0, 1e-3)
            self.data = self.batches(batch)
            self.trained.fit(self.data, verbose=0, callbacks=[Window(0.5)])
        window = Window(seconds)
        self.trained.fit(self.data, verbose=0, callbacks=[window])
        (begin, first), (end, last) = window.first, window.last
        return {"images": (last - first) * batch, "seconds": end - begin}

    def fit(self, recipe, evaluated):
        batch, epochs = recipe["batchSize"], recipe["epochs"]
        steps = -(-len(self.y) // batch) * epochs
        self.start(recipe["seed"], OneCycle(steps, recipe["learningRate"]))
        predict = tf.function(lambda x: tf.argmax(self.trained(x, training=False), 1))
        clock = {"begin": time.perf_counter()}

        def end_of_epoch(epoch, _logs):
            spent = time.perf_counter() - clock["begin"]
            labels = np.concatenate([predict(x).numpy() for x in np.split(self.test_x, 10)])
            evaluated(epoch + 1, (labels == self.test_y).mean(), spent)
            clock["begin"] = time.perf_counter()

        self.trained.fit(
            self.batches(batch),
            epochs=epochs,
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=end_of_epoch)],
        )


if __name__ == "__main__":
    serve(TensorFlow())
