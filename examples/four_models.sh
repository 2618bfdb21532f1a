#!/usr/bin/env bash
# The student report's four models: ResNet-101 and DenseNet-121, each under U-Zeros and U-Ones, on
# the same split, and two tables: the test AUROCs, and published scores.
#
#   bash examples/four_models.sh path/to/CheXpert-v1.0-small
#
# It starts from ImageNet's weights, once fetched: `cxrtool models fetch resnet101 densenet121`.
# Further arguments go to `cxrtool train`; for a try without ImageNet weights:
#
#   bash examples/four_models.sh path/to/CheXpert-v1.0-small --weights none --epochs 2
set -euo pipefail

data=${1:?usage: four_models.sh FOLDER_WITH_TRAIN_CSV [TRAIN_OPTIONS]}
shift

cxrtool prepare "$data"
# The report's own way, image by image with the radiologists' rows mixed in, would be
# `cxrtool split --by image --merge-valid`: it puts patients of the test part into train as well.
cxrtool split

for arch in resnet101 densenet121; do
  for policy in zeros ones; do
    cxrtool train --arch "$arch" --uncertainty "$policy" --name "$arch-$policy" "$@"
    cxrtool evaluate "$arch-$policy"
  done
done

cxrtool compare resnet101-zeros resnet101-ones densenet121-zeros densenet121-ones --table markdown
