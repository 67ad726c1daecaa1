#!/usr/bin/env bash
# Creates .venv and installs the kit in it: `scripts/install.sh [GROUP ...]`, groups as in requirements/.
# PYTHON chooses the interpreter, TORCH_INDEX_URL where torch comes from. Does nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
groups=(core "$@")
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
. scripts/machine.sh

die() {
    printf 'error: %s\n  fix: %s\n' "$1" "$2" >&2
    exit 2
}

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

create_venv() {
    local found="" candidate
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        if usable "$candidate"; then found=$candidate && break; fi
    done
    [ "$found" ] || die "no Python 3.11 or newer with venv was found" \
        "install one (Debian: apt-get install python3 python3-venv; macOS: brew install python@3.13), or name it: PYTHON=/path/to/python"
    "$found" -m venv "$venv"
}

# A machine with an NVIDIA driver gets the CUDA build that driver and cards run, by hash. Elsewhere pip chooses among
# the builds of that version.
install_torch() {
    local file
    file=$("$venv/bin/python" -m bootstrap.torch_build)
    if [ -z "${TORCH_INDEX_URL:-}" ] && [ "$file" != torch-cpu.txt ]; then
        install_locked "requirements/$file"
    else
        "$venv/bin/pip" install --quiet ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} \
            --requirement requirements/torch-cpu.txt
    fi
}

# uv is ten times as fast; where it cannot reach what pip is configured to use, pip does it.
install_locked() {
    local files=() file
    for file in "$@"; do files+=(--requirement "$file"); done
    if [ -x "$venv/bin/uv" ] && "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" \
        --require-hashes --no-deps "${files[@]}"; then return; fi
    "$venv/bin/pip" install --quiet --require-hashes --no-deps "${files[@]}"
}

# Tests run the Triton kernels in Triton's interpreter; a CPU build of torch does not bring it.
install_triton() {
    local file
    file=$(mktemp)
    awk '/^triton==/ { on = 1 } on { print } on && !/\\$/ { exit }' requirements/torch-cuda.txt >"$file"
    install_locked "$file"
    rm -f "$file"
}

# One stamp for each group, so that more groups are no reason to install the others again.
stamp() { echo "$venv/installed-$1"; }
sum() { cat pyproject.toml requirements/torch-*.txt "requirements/$1.txt" | cksum; }
is_there() { [ "$(cat "$(stamp "$1")" 2>/dev/null)" = "$(sum "$1")" ]; }

missing=()
for group in "${groups[@]}"; do
    [ -f "requirements/$group.txt" ] || die "there is no group \"$group\"" "use some of: gpu ui postgres s3 otel dev"
    is_there "$group" || missing+=("$group")
done
[ ${#missing[@]} = 0 ] && exit 0

case " ${missing[*]} " in *" gpu "*) reason=$(why_no_torch) ;; *) reason="" ;; esac
[ -z "$reason" ] || die "${reason%%$'\n'*}" "${reason#*$'\n'}"

started=$SECONDS
[ -x "$venv/bin/python" ] || create_venv
echo "installing ${missing[*]} into $venv"
"$venv/bin/pip" install --quiet --requirement requirements/uv.txt || echo "uv could not be installed; pip does the work, more slowly"
case " ${missing[*]} " in *" gpu "*) install_torch ;; esac
files=()
for group in "${missing[@]}"; do files+=("requirements/$group.txt"); done
install_locked "${files[@]}"
case " ${missing[*]} $(uname -s)" in *" dev "*Linux) install_triton ;; esac # it has no builds elsewhere
"$venv/bin/pip" install --quiet --no-deps --editable .
for group in "${missing[@]}"; do sum "$group" >"$(stamp "$group")"; done
echo "installed in $((SECONDS - started)) s"
