#!/usr/bin/env bash
# Remakes the bundled captioning model: make.sh FLICKR8K PHOTOS TEXT WEIGHTS START RUN (see README.md)
set -euo pipefail
flickr=$1 photos=$2 text=$3 weights=$4 start=$5 run=$6
here=$(cd "$(dirname "$0")" && pwd)
learn() {  # options file, run, further options
    caption train --options "$here/$1" --run "$run/$2" --cache "$run/cache" --threads 1 \
        --train "$flickr/flickr8k-train.tsv" "$photos/photos-train.tsv" \
        --dev "$flickr/flickr8k-dev.tsv" "$photos/dev-coco.tsv" "$photos/dev-web.tsv" "${@:3}"
}
learn text.toml text --text "$text" --encoder-weights "$weights" --decoder-from "$start"
learn decoder.toml decoder-1 --init "$run/text/best" --seed 1
learn decoder.toml decoder-2 --init "$run/text/best" --seed 2
caption average "$run/decoder-1/best" "$run/decoder-2/best" --output "$run/decoder"
learn reward.toml reward-1 --init "$run/decoder" --seed 1
learn reward-web.toml reward-2 --init "$run/decoder" --seed 2
caption average "$run/decoder" "$run/reward-1/best" "$run/reward-2/best" --shares 0.1 0.65 0.25 --output "$run/first"
learn joint.toml joint --init "$run/first"
learn joint-reward.toml joint-reward --init "$run/joint/best"
caption average "$run/joint/best" "$run/joint-reward/best" "$run/first" --shares 0.4 0.4 0.2 --output "$run/second"
learn joint-longer.toml joint-longer --init "$run/second"
caption average "$run/joint-longer/best" "$run/second" --shares 0.67 0.33 --output "$run/third"
learn reward-longer.toml reward-longer --init "$run/third" --seed 71
caption average "$run/reward-longer/reward/last" "$run/third" --shares 0.5 0.5 --output "$run/fourth"
learn reward-all.toml reward-all --init "$run/fourth" --seed 72
learn joint-all.toml joint-all --init "$run/third" --seed 81
caption average "$run/reward-all/reward/last" "$run/reward-longer/reward/last" "$run/joint-all/everything/last" \
    --shares 0.4 0.3 0.3 --output "$run/photos"
