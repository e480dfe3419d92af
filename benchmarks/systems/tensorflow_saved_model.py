"""The measured weights as a SavedModel for TensorFlow Serving: pixels in 0..1 [N, 28, 28, 1] in, log-probabilities out.

python tensorflow_saved_model.py DESCRIPTION PARAMETERS FOLDER
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

from tensorflow_keras import TensorFlow

description, parameters, folder = sys.argv[1:]
system = TensorFlow()
system.load({"description": description, "parameters": parameters}, 1)
module = tf.Module()
module.model = system.model
pixels = tf.TensorSpec([None, 28, 28, 1], tf.float32, name="pixels")
module.answer = tf.function(lambda x: tf.nn.log_softmax(system.model(x, training=False)), input_signature=[pixels])
tf.saved_model.save(module, folder, signatures={"serving_default": module.answer})
