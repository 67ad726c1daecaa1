#!/bin/sh
# `make up`: in Docker where an engine and NVIDIA's toolkit are, else in .venv on this machine; says which and why.
# RUNTIME=docker|native decides instead. MODEL SERVICE PORT DETACH HF_TOKEN as everywhere.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh
docker="${DOCKER:-docker}"

why_not_docker() { # prints the first reason against Docker, or nothing
    if ! command -v "$docker" > /dev/null; then echo "no docker command is here"
    elif ! "$docker" info > /dev/null 2>&1; then echo "no Docker engine answers"
    elif ! compose version > /dev/null 2>&1; then echo "docker has no compose"
    elif [ "${RUNTIME:-}" != docker ] && ! has_nvidia_driver && ! command -v nvidia-smi > /dev/null; then echo "no NVIDIA driver is here"
    elif [ "${RUNTIME:-}" != docker ] && ! has_toolkit; then echo "Docker has no NVIDIA container toolkit"; fi
}
has_toolkit() { "$docker" info --format '{{json .}}' 2> /dev/null | grep -q -i nvidia; }
compose() {
    if "$docker" compose version > /dev/null 2>&1; then "$docker" compose "$@"; else docker-compose "$@"; fi
}

reason=$(why_not_docker)
if [ "${RUNTIME:-}" = native ]; then
    echo "running natively, as RUNTIME=native says"
elif [ -n "$reason" ]; then
    if [ "${RUNTIME:-}" = docker ]; then
        echo "error: RUNTIME=docker, but $reason" >&2
        echo "  fix: install Docker with compose and start it, or leave RUNTIME out to run natively" >&2
        exit 1
    fi
    echo "running natively: $reason"
else
    image="kinokit-${SERVICE:-ui}:${TAG:-dev}"
    echo "running in Docker as ${KINOKIT_IMAGE:-$image}"
    if [ -z "${KINOKIT_IMAGE:-}" ] && ! "$docker" image inspect "$image" > /dev/null 2>&1; then scripts/images.sh; fi
    export KINOKIT_IMAGE="${KINOKIT_IMAGE:-$image}"
    if [ -n "${PROFILE:-}" ]; then export KINOKIT_PROFILE="$PROFILE"; fi
    export HOST="${HOST:-${KINOKIT_HOST:-0.0.0.0}}"
    shown="$HOST"
    if [ "$HOST" = 0.0.0.0 ]; then shown=127.0.0.1; fi
    set -- -f compose.yaml
    if has_toolkit; then set -- "$@" -f compose.gpu.yaml; fi
    compose "$@" up -d
    echo "open http://$shown:${PORT:-8000}/?token=$(scripts/composed.sh token)"
    if [ -n "${DETACH:-}" ]; then exit 0; fi
    trap 'compose -f compose.yaml stop' INT TERM
    compose "$@" logs -f
    exit 0
fi
exec make --no-print-directory up-native
