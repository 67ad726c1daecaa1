#!/bin/sh
# Build the chain of images, each FROM the one before: scripts/images.sh [base gpu api ui serverless]; TAG=dev.
# Build arguments are taken from the environment where they are set: BASE_IMAGE, WHEELS, TORCH_REQUIREMENTS.
set -eu
cd "$(dirname "$0")/.."
tag="${TAG:-dev}"
docker="${DOCKER:-docker}"

build() { # build IMAGE [BUILD-ARG…]
    image=$1
    shift
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

[ $# -gt 0 ] || set -- base gpu api ui serverless
for image in "$@"; do
    case "$image" in
        base) build base ;;
        gpu) build gpu --build-arg "BASE=kinokit-base:$tag" ;;
        serverless) build serverless --build-arg "BASE=kinokit-api:$tag" ;;
        api | ui) build "$image" --build-arg "BASE=kinokit-gpu:$tag" ;;
        *) echo "error: no image is called $image" >&2; echo "  fix: use base, gpu, api, ui or serverless" >&2; exit 2 ;;
    esac
done
