#!/bin/sh
# Build the chain of images, each FROM the one before: scripts/images.sh [IMAGE…]; TAG=dev. Without a name: all of them.
# scripts/images.sh --list prints each image and the one that it starts from, in the order of building.
# Build arguments are taken from the environment where they are set: BASE_IMAGE, WHEELS, TORCH_REQUIREMENTS.
set -eu
cd "$(dirname "$0")/.."
tag="${TAG:-dev}"
docker="${DOCKER:-docker}"

# The chain is written in the Dockerfiles: `ARG BASE=kinokit-gpu:dev` stands before `FROM ${BASE}`.
parent() { sed -n 's/^ARG BASE=kinokit-\(.*\):.*/\1/p' "images/$1/Dockerfile"; }
ancestors() { # how many images an image stands on
    count=0
    image=$(parent "$1")
    while [ -n "$image" ]; do
        count=$((count + 1))
        image=$(parent "$image")
    done
    echo "$count"
}
list() {
    for folder in images/*/; do
        image=$(basename "$folder")
        echo "$(ancestors "$image") $image $(parent "$image")"
    done | sort -n | cut -d " " -f 2-
}

build() { # build IMAGE
    image=$1
    [ -f "images/$image/Dockerfile" ] \
        || { echo "error: no image is called $image" >&2; echo "  fix: use one of" images/*/ >&2; exit 2; }
    from=$(parent "$image")
    set -- ${from:+--build-arg "BASE=kinokit-$from:$tag"}
    for name in BASE_IMAGE WHEELS TORCH_REQUIREMENTS; do
        eval "value=\${$name:-}"
        # shellcheck disable=SC2154 # set by eval
        if [ -n "$value" ] && grep -q "^ARG $name" "images/$image/Dockerfile"; then
            set -- "$@" --build-arg "$name=$value"
        fi
    done
    echo "building kinokit-$image:$tag"
    DOCKER_BUILDKIT=1 "$docker" build ${BUILD_NETWORK:+--network "$BUILD_NETWORK"} "$@" \
        -t "kinokit-$image:$tag" -f "images/$image/Dockerfile" .
}

if [ "${1:-}" = --list ]; then
    list
    exit
fi
# shellcheck disable=SC2046 # one word for each image
[ $# -gt 0 ] || set -- $(list | cut -d " " -f 1)
for wanted in "$@"; do
    build "$wanted"
done
