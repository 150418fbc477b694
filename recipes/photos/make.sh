#!/usr/bin/env bash
# Remakes the bundled captioning model: make.sh FLICKR8K PHOTOS TEXT WEIGHTS START RUN (see README.md)
set -euo pipefail
flickr=$1 photos=$2 text=$3 weights=$4 start=$5 run=$6
here=$(cd "$(dirname "$0")" && pwd)
data=(--train "$flickr/flickr8k-train.tsv" "$photos/photos-train.tsv"
      --dev "$flickr/flickr8k-dev.tsv" "$photos/dev-coco.tsv" "$photos/dev-web.tsv" --cache "$run/cache" --threads 1)

caption train "${data[@]}" --options "$here/text.toml" --run "$run/text" \
    --text "$text" --encoder-weights "$weights" --decoder-from "$start"
caption train "${data[@]}" --options "$here/together.toml" --run "$run/together" --init "$run/text/best"
caption train "${data[@]}" --options "$here/reward.toml" --run "$run/reward" --init "$run/together/best"
caption average "$run/together/best" "$run/reward/best" --shares 0.25 0.75 --output "$run/photos"
