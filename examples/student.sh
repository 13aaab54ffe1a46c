#!/bin/sh
# The figures of a report: published recipes side by side, loss curves, an iteration grid.
#   sh examples/student.sh photo.jpg other.jpg painting.jpg
# SIZE and STEPS in the environment make it quicker; the recipes have hundreds of steps of their own.
set -eu
photo=$1
other=$2
painting=$3
set -- --size "${SIZE:-256}" --steps "${STEPS:-200}"

# 1. two recipes on two photographs, as a table of results
impasto compare --style "$painting" "$@" --vary "content=$photo,$other" \
    --vary preset=gatys-lbfgs,layered -o recipes.pdf

# 2. how the loss falls, by optimizer: as a plot for the report, and as numbers
for optimizer in lbfgs adam; do
    impasto paint "$photo" "$painting" "$@" --preset gatys-lbfgs --optimizer $optimizer \
        --trace $optimizer.jsonl --save-every $((${STEPS:-200} / 4)) -o $optimizer.png
done
impasto curves lbfgs.jsonl adam.jsonl -o curves.pdf
impasto curves lbfgs.jsonl adam.jsonl -o losses.csv
impasto grid lbfgs-*.png -o iterations.png

# 3. what the network sees, the recipe's numbers and sources, the machine
impasto features "$photo" --size "${SIZE:-256}" -o features.png
impasto presets gatys-lbfgs
impasto info
