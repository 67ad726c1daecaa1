#!/usr/bin/env bash
# Writes requirements/*.txt from pyproject.toml: every version pinned, every file with its hashes.
# All groups are resolved together first, so that a package has one version in all of them.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=${UV:-.venv/bin/uv}
options=(--quiet --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links)
[ "${UPGRADE:-}" ] && options+=(--upgrade)

# torch is pinned apart, in torch-cpu.txt and torch-cuda.txt, with what only it brings.
without_torch() {
    awk '/^[a-zA-Z]/ { keep = !/^(torch|triton|nvidia-c|nvidia-n|cuda-)[a-z0-9-]*==/ || /^nvidia-ml-py==/ } keep'
}

all=$(mktemp)
trap 'rm -f "$all"' EXIT
cat requirements/*.txt 2>/dev/null | grep -E '^[a-zA-Z0-9]' | grep -v '^torch==' | sed 's/ \\$//' | sort -u >"$all" || true
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
lock dev --extra dev

# RunPod's SDK contradicts Gradio's needs, so its bridge has a virtual environment of its own.
printf 'httpx>=0.28,<1\nrunpod>=1.12,<2\n' | "$uv" pip compile "${options[@]}" --generate-hashes - \
    --output-file requirements/serverless.txt >/dev/null # as an output file its versions are kept
echo "requirements/serverless.txt: $(grep -c '==' requirements/serverless.txt) packages"
