#!/usr/bin/env bash
# K models by cross-validation, all tested on the same patients, whom none has seen.
#
#   bash examples/cross_validation.sh path/to/CheXpert-v1.0-small 5
#
# Further arguments go to `cxrtool train`, such as `--arch resnet50 --epochs 5`.
set -euo pipefail

data=${1:?usage: cross_validation.sh DATA FOLDS [TRAIN_OPTIONS]}
folds=${2:?usage: cross_validation.sh DATA FOLDS [TRAIN_OPTIONS]}
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
