# Puts a model that the pipeline's TensorFlow trainer makes of a few drawn digits where TensorFlow Serving looks, unless there is one.
set -eu
umask 002
model=/models/tensorflow/lenet5/1
[ ! -e "$model" ] || exit 0
mkdir -p "$(dirname "$model")"
exec "$LENET5_TENSORFLOW_PYTHON" /opt/lenet5/pipelines/trainers/tensorflow_trainer.py \
  --data /workspace/data/synthetic --output "$model" --logdir /workspace/runs/first-tensorflow --epochs 1
