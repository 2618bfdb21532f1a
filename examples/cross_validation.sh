#!/usr/bin/env bash
# K models by cross-validation, all of them tested on the same patients whom none has seen.
#
#   bash examples/cross_validation.sh path/to/CheXpert-v1.0-small 5
#
# What follows goes to `cxrtool train`, such as `--arch resnet50 --epochs 5`.
set -euo pipefail

data=${1:?name the folder of the data set}
folds=${2:?say how many folds}
shift 2

cxrtool prepare "$data"
cxrtool split --folds "$folds"

for ((fold = 0; fold < folds; fold++)); do
  cxrtool train --fold "$fold" --name "fold$fold" "$@"
  cxrtool evaluate "fold$fold"
done

names=()
for ((fold = 0; fold < folds; fold++)); do names+=("fold$fold"); done
python "$(dirname "$0")/auroc_table.py" "${CXRTOOL_WORKSPACE:-cxr}" "${names[@]}"
