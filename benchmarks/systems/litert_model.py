"""Writes the measured weights as a LiteRT model: litert_model.py DESCRIPTION PARAMETERS FILE"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tensorflow_keras import TensorFlow

description, parameters, file = sys.argv[1:]
system = TensorFlow()
system.load({"description": description, "parameters": parameters}, 1)
pixels = tf.TensorSpec([None, 28, 28, 1], tf.float32)
# Left as variables, the weights would be zero in the file.
function = convert_variables_to_constants_v2(system.function.get_concrete_function(pixels))
data = tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()
with open(f"{file}.part", "wb") as out:
    out.write(data)
os.replace(f"{file}.part", file)
