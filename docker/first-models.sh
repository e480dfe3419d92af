# Gives our server and TorchServe a small LeNet-5, trained on digits that the package draws, unless they have a model.
set -eu
umask 002 # the folders are shared with Airflow's user through their group

digits=/workspace/data/synthetic
[ -e "$digits/t10k-labels-idx1-ubyte.gz" ] || lenet5 data synthesise --seed 1 --output "$digits"

first=/workspace/first/lenet5.pt
mkdir -p "$(dirname "$first")"
[ -e "$first" ] || lenet5 train --data "$digits" --epochs 2 --seed 1 --logdir /workspace/runs/first --output "$first"

# Whole or not at all: a folder with a dot in front is nobody's model.
repository=/models/repository
if [ ! -e "$repository/lenet5" ]; then
  rm -rf "$repository/.lenet5"
  mkdir -p "$repository/.lenet5/1"
  cp "$first" "$repository/.lenet5/1/model.pt"
  mv "$repository/.lenet5" "$repository/lenet5"
fi

archive=/models/torchserve/lenet5.mar
mkdir -p "$(dirname "$archive")"
[ -e "$archive" ] || lenet5 export --model "$first" --output "$archive"
