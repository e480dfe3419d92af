"""What the Keras systems share: the network, its schedule and `fit`, whatever the backend."""

import itertools
import time

import keras
import numpy as np

from shared.protocol import normalized, rate_of

MEAN, STD = 0.1307, 0.3081


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


def as_schedule(recipe, steps):
    """The recipe's rates by step: as a table, since a step is compiled."""
    if recipe.get("schedule") == "constant":
        return recipe["learningRate"]
    rate = rate_of(recipe, steps)
    return Table(np.array([rate(step) for step in range(steps)], np.float32))


class Table(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rates):
        self.rates = rates

    def __call__(self, step):
        ops = keras.ops
        index = ops.minimum(ops.cast(step, "int32"), len(self.rates) - 1)
        return ops.take(ops.convert_to_tensor(self.rates), index)


class Window(keras.callbacks.Callback):
    """Measures `fit` from the end of its first execution for the given time, then stops it."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.first, self.last = seconds, None, None

    def on_train_begin(self, logs=None):
        self.first = self.last = None

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if self.first is None:
            self.first = (now, batch)
        self.last = (now, batch)
        if now - self.first[0] >= self.seconds and self.last != self.first:
            self.model.stop_training = True


class KerasTraining:
    """Keras' `fit` in the ways that the steps of an execution and XLA make; `batches(batch)` is the subclass's."""

    ways_to_train = [
        f"fit, {steps} steps an execution, {'XLA' if xla else 'no XLA'}"
        for xla, steps in itertools.product((False, True), (32, 1))
    ]

    def prepare_training(self, train_images, train_labels, test_images, test_labels):
        # One channel: channels first and last are the same bytes.
        self.x = normalized(train_images, MEAN, STD).reshape(-1, 32, 32, 1)
        self.y = train_labels.astype(np.int32)
        self.test_x = normalized(test_images, MEAN, STD).reshape(-1, 32, 32, 1)
        self.test_y = test_labels
        self.place()

    def place(self):
        pass

    def start(self, how, recipe, batch, steps):
        keras.utils.set_random_seed(recipe["seed"])
        keras.backend.clear_session()
        self.trained = network((32, 32, 1), "valid")
        self.trained.compile(
            optimizer=keras.optimizers.Adam(as_schedule(recipe, steps), epsilon=1e-8),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile="no XLA" not in how,
            steps_per_execution=int(how.split()[1]),
        )
        self.data = self.batches(batch)

    def train(self, batch, seconds):
        window = Window(seconds)
        self.trained.fit(self.data, verbose=0, callbacks=[window])
        if window.first == window.last:
            raise RuntimeError("Expected more than one execution in an epoch but found one")
        (begin, first), (end, last) = window.first, window.last
        return {"images": (last - first) * batch, "seconds": end - begin}

    def fit(self, how, recipe, evaluated):
        batch, epochs = recipe["batchSize"], recipe["epochs"]
        parts = np.split(
            self.test_x, range(recipe.get("evaluationBatch", 1000), len(self.test_x), recipe.get("evaluationBatch", 1000))
        )
        begin = time.perf_counter()
        self.start(how, recipe, batch, -(-len(self.y) // batch) * epochs)
        predict = self.predictor()

        def end_of_epoch(epoch, _logs):
            nonlocal begin
            spent = time.perf_counter() - begin
            labels = np.concatenate([np.asarray(predict(part)) for part in parts])
            evaluated(epoch + 1, (labels == self.test_y).mean(), spent)
            begin = time.perf_counter()

        self.trained.fit(
            self.data, epochs=epochs, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=end_of_epoch)]
        )
