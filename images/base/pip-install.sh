#!/bin/sh
# Install pinned requirement files: from /wheels alone when it holds any, else from the index that pip is set to.
# Hashes are checked wherever a file states them; --no-deps, because the files name everything.
set -eu
where=""
if ls /wheels/*.whl > /dev/null 2>&1; then where="--no-index --find-links /wheels"; fi
for file in "$@"; do
    # shellcheck disable=SC2086 # two options, or none
    "${PIP:-/opt/kinokit/bin/pip}" install --no-deps --no-compile $where -r "$file"
done
