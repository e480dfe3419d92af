// What the three TensorFlow.js systems share: the network, its predictions and its training. They differ in the backend.
import { foldNormalization, normalized, rateOf, readIdx, readParameters, seeded, shuffled } from "./network.mjs";
import { serve } from "./protocol.mjs";

/** PyTorch's layouts to tfjs': filters [out,in,h,w] → [h,w,in,out], dense [out,in] → [in,out], c5 as a dense layer. */
function place(tf, parameters) {
  return tf.tidy(() => {
    const tensor = (name) => tf.tensor(parameters[name].data, parameters[name].shape);
    const keep = (value) => tf.keep(value);
    const result = {};
    for (const name of ["c1", "c3"]) result[`${name}.weight`] = keep(tensor(`${name}.weight`).transpose([2, 3, 1, 0]));
    // s4 is flattened as height, width, channel here: c5's rows follow.
    result["c5.weight"] = keep(tensor("c5.weight").transpose([2, 3, 1, 0]).reshape([400, 120]));
    for (const name of ["f6", "output"]) result[`${name}.weight`] = keep(tensor(`${name}.weight`).transpose());
    for (const name of ["c1", "c3", "c5", "f6", "output"]) result[`${name}.bias`] = keep(tensor(`${name}.bias`));
    return result;
  });
}

function forward(tf, p, x, padding) {
  const convolve = (input, name, pad) =>
    tf.fused.conv2d({
      x: input,
      filter: p[`${name}.weight`],
      strides: 1,
      pad,
      bias: p[`${name}.bias`],
      activation: "relu",
    });
  const dense = (input, name, activation) =>
    tf.fused.matMul({ a: input, b: p[`${name}.weight`], bias: p[`${name}.bias`], activation });
  const s2 = tf.maxPool(convolve(x, "c1", padding), 2, 2, "valid");
  const s4 = tf.maxPool(convolve(s2, "c3", "valid"), 2, 2, "valid");
  const f6 = dense(dense(s4.reshape([-1, 400]), "c5", "relu"), "f6", "relu");
  return dense(f6, "output", "linear");
}

/** Fresh variables as PyTorch draws them: weights and biases uniform within 1/√inputs. */
function fresh(tf, seed) {
  const shapes = { c1: [5, 5, 1, 6], c3: [5, 5, 6, 16], c5: [400, 120], f6: [120, 84], output: [84, 10] };
  const variables = {};
  Object.entries(shapes).forEach(([name, shape], index) => {
    const inputs = shape.slice(0, -1).reduce((product, length) => product * length, 1);
    const bound = 1 / Math.sqrt(inputs);
    variables[`${name}.weight`] = tf.variable(tf.randomUniform(shape, -bound, bound, "float32", seed * 10 + index));
    variables[`${name}.bias`] = tf.variable(
      tf.randomUniform([shape.at(-1)], -bound, bound, "float32", seed * 10 + 5 + index),
    );
  });
  return variables;
}

const rowsOf = (count) => Int32Array.from({ length: count }, (_, index) => index);
/** Adam as every system takes it; tfjs's own epsilon is 1e-7. */
const adam = (tf, rate) => tf.train.adam(rate, 0.9, 0.999, 1e-8);

/** Serves one backend. `start` picks it and returns the versions' owner's `tf`; `trains` is false where it cannot. */
export function serveTfjs({ tf, backend, versions, start, settings, trains = true, threads }) {
  let parameters;
  let training;

  async function prepareTraining(directory) {
    const [trainX, trainY, testX, testY] = await Promise.all(
      ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"].map(
        (name) => readIdx(directory, name),
      ),
    );
    const mean = 0.1307;
    const std = 0.3081;
    return {
      x: tf.tensor4d(normalized(trainX, mean, std), [trainY.length, 32, 32, 1]),
      y: tf.oneHot(tf.tensor1d(Int32Array.from(trainY), "int32"), 10).toFloat(),
      testX: tf.tensor4d(normalized(testX, mean, std), [testY.length, 32, 32, 1]),
      testY: tf.tensor1d(Int32Array.from(testY), "int32"),
      count: trainY.length,
    };
  }

  function step(variables, optimizer, data, rows) {
    const list = Object.values(variables);
    tf.tidy(() => {
      const index = tf.tensor1d(rows, "int32");
      const x = tf.gather(data.x, index);
      const y = tf.gather(data.y, index);
      optimizer.minimize(() => tf.losses.softmaxCrossEntropy(y, forward(tf, variables, x, "valid")), false, list);
    });
  }

  const system = {
    versions,
    async load(model, count) {
      await this.useThreads(count);
      parameters = place(tf, foldNormalization(await readParameters(model)));
      return threads === undefined ? {} : { threads };
    },
    candidates(images, batch) {
      const size = batch * 784;
      const tensorOf = (index) => tf.tensor4d(images.subarray(index * size, (index + 1) * size), [batch, 28, 28, 1]);
      const answered = (x) => tf.logSoftmax(forward(tf, parameters, x, "same")).dataSync();
      const answer = (values) => values;
      const fresh = async () => ({ call: (index) => tf.tidy(() => answered(tensorOf(index))), answer });
      const resident = async () => {
        const tensors = Array.from({ length: images.length / size }, (_, index) => tensorOf(index));
        return { call: (index) => tf.tidy(() => answered(tensors[index])), answer };
      };
      // The plain backend takes a second for a large batch: there is nothing to gain from a second way.
      const ways = [{ name: `${settings}; a tensor from pixels in the call`, make: fresh }];
      return backend === "cpu" ? ways : [...ways, { name: `${settings}; resident tensors`, make: resident }];
    },
    async useThreads(count) {
      await start(count);
      await tf.setBackend(backend);
      await tf.ready();
    },
  };
  if (!trains) return serve(system);

  system.train = async (directory, batch, seconds) => {
    if (training === undefined) {
      training = await prepareTraining(directory);
      training.variables = fresh(tf, 0);
      training.optimizer = adam(tf, 1e-3);
      training.random = seeded(0);
      step(training.variables, training.optimizer, training, rowsOf(batch));
    }
    const order = shuffled(rowsOf(training.count), training.random);
    const batches = Math.floor(order.length / batch);
    const begin = performance.now();
    let steps = 0;
    let now = begin;
    while (now - begin < seconds * 1000) {
      const at = (steps % batches) * batch;
      step(training.variables, training.optimizer, training, order.subarray(at, at + batch));
      steps += 1;
      now = performance.now();
    }
    return { images: steps * batch, seconds: (now - begin) / 1000 };
  };

  system.fit = async (directory, recipe, evaluated) => {
    const data = await prepareTraining(directory);
    const variables = fresh(tf, recipe.seed);
    const optimizer = adam(tf, recipe.learningRate);
    const random = seeded(recipe.seed);
    const perEpoch = Math.ceil(data.count / recipe.batchSize);
    let done = 0;
    let trainingSeconds = 0;
    for (let epoch = 1; epoch <= recipe.epochs; epoch += 1) {
      const begin = performance.now();
      const order = shuffled(rowsOf(data.count), random);
      for (let at = 0; at < order.length; at += recipe.batchSize) {
        optimizer.learningRate = rateOf(recipe, done, perEpoch * recipe.epochs);
        step(variables, optimizer, data, order.subarray(at, at + recipe.batchSize));
        done += 1;
      }
      trainingSeconds += (performance.now() - begin) / 1000;
      const accuracy = tf.tidy(() => {
        const answers = [];
        const atOnce = recipe.evaluationBatch ?? 1000;
        for (let at = 0; at < data.testY.size; at += atOnce) {
          const logits = forward(tf, variables, data.testX.slice(at, Math.min(atOnce, data.testY.size - at)), "valid");
          answers.push(logits.argMax(1));
        }
        return tf.concat(answers).equal(data.testY).mean().dataSync()[0];
      });
      evaluated({ epoch, accuracy, trainingSeconds });
    }
    return { trainingSeconds };
  };
  return serve(system);
}
