# Puts a small LeNet-5, trained on digits that the package draws, where the servers look, unless there is a model already.
set -eu
umask 002 # the folders are shared with Airflow's user through their group

digits=/work/data/synthetic
[ -e "$digits/t10k-labels-idx1-ubyte.gz" ] || lenet5 data synthesise --seed 1 --output "$digits"

model=/models/repository/lenet5/1/model.pt
if [ ! -e "$model" ]; then
  mkdir -p "$(dirname "$model")"
  lenet5 train --data "$digits" --epochs 2 --seed 1 --logdir /work/runs/first --output "$model"
fi

archive=/models/torchserve/lenet5.mar
mkdir -p "$(dirname "$archive")"
[ -e "$archive" ] || lenet5 export --model "$model" --output "$archive"
