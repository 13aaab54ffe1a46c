#!/bin/sh
# From a photograph and a folder of paintings to a picture that one likes.
#   sh examples/hobbyist.sh photo.jpg paintings/
# SIZE and STEPS in the environment make it quicker, as SIZE=256 STEPS=40.
set -eu
photo=$1
paintings=$2
set -- --size "${SIZE:-512}" --steps "${STEPS:-100}"

# 1. which painting?
impasto sheet "$photo" "$paintings" -o sheet.jpg
style=$(find "$paintings" -name '*.jpg' | sort | head -n 1)

# 2. how much of it, and whose colors?
impasto compare "$photo" "$style" "$@" --vary look=subtle,painted,bold \
    --vary color=style,luminance -o looks.png

# 3. the picture, the same again from its file, and what it was made from
impasto paint "$photo" "$style" "$@" --look bold --color luminance -o painted.png
impasto paint --from painted.png -o again.png
cmp painted.png again.png
impasto show painted.png
