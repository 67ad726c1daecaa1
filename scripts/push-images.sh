#!/bin/sh
# Push the images that scripts/images.sh built: scripts/push-images.sh REGISTRY/OWNER TAG. The registry is signed in to.
# Prints a line for each, `NAME REGISTRY/OWNER/kinokit-NAME@sha256:…`: that address never means another image.
set -eu
cd "$(dirname "$0")/.."
docker="${DOCKER:-docker}"
if [ $# != 2 ]; then
    echo "error: a registry with an owner and a tag are needed" >&2
    echo "  fix: scripts/push-images.sh registry.example.org/me 1.2.3" >&2
    exit 2
fi
scripts/images.sh --list | while read -r image _; do
    name="$1/kinokit-$image"
    "$docker" tag "kinokit-$image:$2" "$name:$2"
    "$docker" push -q "$name:$2" > /dev/null
    digest=$("$docker" image inspect -f '{{range .RepoDigests}}{{println .}}{{end}}' "$name:$2" | grep "^$name@")
    echo "$image $digest"
done
