// What the three TensorFlow.js systems share: the network, its predictions and its training. They differ in the backend.
import { argmax, foldNormalization, normalized, oneCycle, readIdx, readParameters } from "./network.mjs";
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

function shuffled(count) {
  const order = Int32Array.from({ length: count }, (_, index) => index);
  for (let i = count - 1; i > 0; i -= 1) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

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
      await start(count);
      await tf.setBackend(backend);
      await tf.ready();
      parameters = place(tf, foldNormalization(await readParameters(model)));
      return threads === undefined ? {} : { threads };
    },
    prepare(images, batch) {
      const size = batch * 784;
      return {
        settings,
        // Making the tensor belongs to the call: a user holds pixels, not tensors.
        call: (index) =>
          tf.tidy(() => {
            const x = tf.tensor4d(images.subarray(index * size, (index + 1) * size), [batch, 28, 28, 1]);
            return tf.logSoftmax(forward(tf, parameters, x, "same")).dataSync();
          }),
        labels: (answer) => argmax(answer),
      };
    },
  };
  if (!trains) return serve(system);

  system.train = async (directory, batch, seconds) => {
    if (training === undefined) {
      training = await prepareTraining(directory);
      training.variables = fresh(tf, 0);
      training.optimizer = tf.train.adam(1e-3);
      step(training.variables, training.optimizer, training, shuffled(training.count).subarray(0, batch));
    }
    const order = shuffled(training.count);
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
    const optimizer = tf.train.adam(recipe.learningRate);
    const perEpoch = Math.ceil(data.count / recipe.batchSize);
    let done = 0;
    let trainingSeconds = 0;
    for (let epoch = 1; epoch <= recipe.epochs; epoch += 1) {
      const begin = performance.now();
      const order = shuffled(data.count);
      for (let at = 0; at < order.length; at += recipe.batchSize) {
        optimizer.learningRate = oneCycle(done, perEpoch * recipe.epochs, recipe.learningRate);
        step(variables, optimizer, data, order.subarray(at, at + recipe.batchSize));
        done += 1;
      }
      trainingSeconds += (performance.now() - begin) / 1000;
      const accuracy = tf.tidy(() => {
        const answers = [];
        for (let at = 0; at < data.testY.size; at += 1000) {
          const logits = forward(tf, variables, data.testX.slice(at, Math.min(1000, data.testY.size - at)), "valid");
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
