"""JAX: jit for predictions; for training a jitted step, or an epoch's steps scanned inside one call.

Layouts and two ways to pool are tried when a batch size is prepared: `reduce_window`, and the maximum over a reshaped axis.
XLA's own threads flush subnormals to zero.
"""

import time

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from shared.protocol import fold_normalization, padded, rate_of, read_parameters, serve

MEAN, STD = 0.1307, 0.3081
CHANNELS = {"NHWC": 3, "NCHW": 1}
# Steps of a scan between two looks at the clock.
SCANNED = 16


def pool(x, layout, how):
    if how == "reduce_window":
        window = (1, 2, 2, 1) if layout == "NHWC" else (1, 1, 2, 2)
        return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
    if layout == "NHWC":
        n, h, w, c = x.shape
        return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))


def forward(p, x, padding, layout, pooling):
    def convolve(x, name, padding):
        y = lax.conv_general_dilated(x, p[f"{name}.weight"], (1, 1), padding, dimension_numbers=(layout, "OIHW", layout))
        bias = p[f"{name}.bias"]
        return jax.nn.relu(y + (bias if layout == "NHWC" else bias[:, None, None]))

    x = pool(convolve(x, "c1", padding), layout, pooling)
    x = pool(convolve(x, "c3", "VALID"), layout, pooling)
    x = x.transpose(0, 3, 1, 2) if layout == "NHWC" else x
    x = jax.nn.relu(x.reshape(len(x), 400) @ p["c5.weight"].reshape(120, 400).T + p["c5.bias"])
    x = jax.nn.relu(x @ p["f6.weight"].T + p["f6.bias"])
    return jax.nn.log_softmax(x @ p["output.weight"].T + p["output.bias"])


WAYS = [(layout, pooling) for layout in ("NHWC", "NCHW") for pooling in ("reduce_window", "reshaped maximum")]


class Jax:
    versions = {"jax": jax.__version__}

    def use_threads(self, threads):
        pass  # the environment names them, since XLA's pool is made when jax is imported

    def load(self, model, threads):
        self.parameters = {k: jnp.array(v) for k, v in fold_normalization(*read_parameters(model)).items()}

    def predict(self, image):
        run = jax.jit(lambda p, x: forward(p, x, ((2, 2), (2, 2)), "NCHW", "reduce_window"))
        return np.asarray(run(self.parameters, image))

    def candidates(self, images, batch):
        for layout, pooling in WAYS:

            def make(layout=layout, pooling=pooling):
                # The weights are constants of the compiled program, as other peers freeze them.
                run = jax.jit(lambda x: forward(self.parameters, x, ((2, 2), (2, 2)), layout, pooling))
                shape = (batch, 28, 28, 1) if layout == "NHWC" else (batch, 1, 28, 28)
                batches = [jnp.array(x.reshape(shape)) for x in np.split(images, len(images) // batch)]
                return lambda index: run(batches[index]).block_until_ready()

            yield f"jit, {layout}, {pooling}", make

    ways_to_train = [f"{how}, {pooling}" for how in ("scanned steps", "jit step") for pooling in ("reduce_window", "reshaped maximum")]

    def prepare_training(self, train_images, train_labels, test_images, test_labels):
        self.x = jnp.array(padded(train_images).reshape(-1, 32, 32, 1))
        self.y = jnp.array(train_labels.astype(np.int32))
        self.test_x = padded(test_images).reshape(-1, 32, 32, 1)
        self.test_y = test_labels

    def start(self, how, recipe, batch, steps):
        key = jax.random.PRNGKey(recipe["seed"])
        self.order = np.random.default_rng(recipe["seed"])
        shapes = {"c1": (6, 1, 5, 5), "c3": (16, 6, 5, 5), "c5": (120, 400), "f6": (84, 120), "output": (10, 84)}
        parameters = {}
        for name, shape in shapes.items():
            bound = float(np.prod(shape[1:])) ** -0.5
            for kind, of in (("weight", shape), ("bias", shape[:1])):
                key, one = jax.random.split(key)
                parameters[f"{name}.{kind}"] = jax.random.uniform(one, of, minval=-bound, maxval=bound)
        # A buffer that is donated to a step may be there once alone.
        m, v = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
        self.state, self.done, self.rate = (parameters, m, v, jnp.zeros((), jnp.int32)), 0, rate_of(recipe, steps)
        pooling = how.split(", ")[1]
        images, labels = self.x, self.y

        def answer(p, x):
            x = (x.astype(jnp.float32) - 255 * MEAN) * (1 / 255 / STD)
            return forward(p, x, "VALID", "NHWC", pooling)

        def step(state, rows, rate):
            p, m, v, count = state
            x, y = images[rows], labels[rows]
            loss = lambda p: -jnp.take_along_axis(answer(p, x), y[:, None], 1).mean()  # noqa: E731
            g = jax.grad(loss)(p)
            count = count + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            first, second = 1 - 0.9**count, 1 - 0.999**count
            p = jax.tree.map(lambda p, m, v: p - rate * (m / first) / (jnp.sqrt(v / second) + 1e-8), p, m, v)
            return (p, m, v, count), None

        self.answer = jax.jit(lambda p, x: answer(p, x).argmax(1))
        self.scans = how.startswith("scanned")
        self.step = jax.jit(lambda state, rows, rate: step(state, rows, rate)[0], donate_argnums=0)
        self.scan = jax.jit(
            lambda state, rows, rates: lax.scan(lambda s, r: step(s, r[0], r[1]), state, (rows, rates))[0],
            donate_argnums=0,
        )

    def take(self, rows):
        """Some steps: [steps, batch] rows of the training set."""
        rates = np.array([self.rate(self.done + k) for k in range(len(rows))], np.float32)
        if self.scans and len(rows) == SCANNED:
            self.state = self.scan(self.state, rows, rates)
        else:
            for one, rate in zip(rows, rates):
                self.state = self.step(self.state, one, rate)
        self.done += len(rows)
        jax.block_until_ready(self.state)

    def epoch(self, batch):
        order = self.order.permutation(len(self.y)).astype(np.int32)
        whole = len(order) // batch
        rows = order[: whole * batch].reshape(whole, batch)
        for at in range(0, whole, SCANNED):
            yield rows[at : at + SCANNED]
        if len(order) % batch:
            yield order[whole * batch :][None]

    def train(self, batch, seconds):
        steps, begin = 0, time.perf_counter()
        now = begin
        while True:
            for rows in self.epoch(batch):
                if len(rows) < SCANNED:
                    continue
                self.take(rows)
                steps += len(rows)
                now = time.perf_counter()
                if now - begin >= seconds:
                    return {"images": steps * batch, "seconds": now - begin}

    def fit(self, how, recipe, evaluated):
        batch, epochs = recipe["batchSize"], recipe["epochs"]
        at_once = recipe.get("evaluationBatch", 1000)
        begin = time.perf_counter()
        self.start(how, recipe, batch, -(-len(self.y) // batch) * epochs)
        for epoch in range(1, epochs + 1):
            for rows in self.epoch(batch):
                self.take(rows)
            spent = time.perf_counter() - begin
            labels = [self.answer(self.state[0], self.test_x[i : i + at_once]) for i in range(0, len(self.test_y), at_once)]
            evaluated(epoch, (np.concatenate(labels) == self.test_y).mean(), spent)
            begin = time.perf_counter()


if __name__ == "__main__":
    serve(Jax())
