#!/usr/bin/env bash
# Writes requirements/*.txt from pyproject.toml: every version pinned, every file with its hashes.
# All groups are resolved together first, so that a package has one version in all of them.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=${UV:-.venv/bin/uv}
options=(--quiet --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links)
[ "${UPGRADE:-}" ] && options+=(--upgrade)

# torch is pinned apart, in the files torch-*.txt, with what only it brings.
without_torch() {
    awk '/^[a-zA-Z]/ { keep = !/^(torch|triton|nvidia-c|nvidia-n|cuda-)[a-z0-9-]*==/ || /^nvidia-ml-py==/ } keep'
}

all=$(mktemp)
trap 'rm -f "$all"' EXIT
cat requirements/*.txt 2>/dev/null | grep -E '^[a-zA-Z0-9]' | grep -vE '^(torch|triton|cuda-|nvidia-[cn])[a-z0-9-]*==' | sed 's/ \\$//' | sort -u >"$all" || true
"$uv" pip compile "${options[@]}" --constraints requirements/torch-cpu.txt --all-extras pyproject.toml --output-file "$all"

lock() { # lock GROUP [--extra NAME]
    local file=requirements/$1.txt
    shift
    "$uv" pip compile "${options[@]}" --generate-hashes --constraints "$all" "$@" pyproject.toml | without_torch >"$file"
    echo "$file: $(grep -c '==' "$file") packages"
}

lock core
lock gpu --extra gpu
lock ui --extra ui
lock postgres --extra postgres
lock s3 --extra s3
lock otel --extra otel
lock dev --extra dev

# One torch for each range of drivers (bootstrap/torch_build/builds.py says which is taken where). What they share
# with the other files has the versions of those.
lock_torch() { # lock_torch NAME VERSION
    local file=requirements/torch-$1.txt
    printf 'torch==%s\n' "$2" | "$uv" pip compile "${options[@]}" --generate-hashes \
        --constraints <(grep -vE '^(torch|triton|nvidia|cuda)' "$all") - --output-file "$file" >/dev/null
    echo "$file: $(grep -c '==' "$file") packages"
}
lock_torch cuda 2.13.0
lock_torch cu128 2.10.0
lock_torch cu126 2.7.1

# RunPod's SDK contradicts Gradio's needs, so its bridge has a virtual environment of its own.
printf 'httpx>=0.28,<1\nrunpod>=1.12,<2\n' | "$uv" pip compile "${options[@]}" --generate-hashes - \
    --output-file requirements/serverless.txt >/dev/null # as an output file its versions are kept
echo "requirements/serverless.txt: $(grep -c '==' requirements/serverless.txt) packages"
