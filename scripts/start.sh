#!/bin/sh
# The pasted line runs this in any Debian or Ubuntu image: install what is missing, thin core first so that the
# port answers soon, then hand over to the agent, which installs the rest while the weights arrive.
# Safe to run at every start of the container. Settings: KINOKIT_* (see `kinokit config`) and
#   KINOKIT_SOURCE  a git URL (optionally URL@REF), a wheel (path or URL), a checkout, or a PyPI name (default: kinokit)
#   KINOKIT_HOME    where the programs go (default /opt/kinokit: the container's own disk, faster than a volume)
set -eu

say() { printf '[kinokit %s] %s\n' "$(date -u +%H:%M:%S)" "$*"; }
die() { say "error: $1"; say "  fix: $2"; exit 1; }

source_="${KINOKIT_SOURCE:-kinokit}"
home="${KINOKIT_HOME:-/opt/kinokit}"
data_directory() { # where files stay the longest: what bootstrap/platforms/*/here.py say, before Python is there
    platform=$(printf '%s' "${PLATFORM:-}" | tr 'A-Z_' 'a-z-')
    if [ -n "$platform" ]; then :
    elif [ -n "${RUNPOD_WEBHOOK_GET_JOB:-}${RUNPOD_ENDPOINT_ID:-}" ]; then platform=runpod-serverless
    elif [ -n "${RUNPOD_POD_ID:-}" ]; then platform=runpod
    elif [ -n "${CONTAINER_ID:-}" ] && [ -n "${VAST_CONTAINERLABEL:-}" ]; then platform=vast
    elif env | grep -q '^VAST_TCP_PORT_'; then platform=vast; fi
    volume="${DATA_DIRECTORY:-/workspace}"
    case "$platform" in
        runpod-serverless) echo /runpod-volume/kinokit ;;
        runpod) echo /workspace/kinokit ;;
        vast) echo "${volume%/}/kinokit" ;;
        "") if [ -d /workspace ] && [ -w /workspace ]; then echo /workspace/kinokit; else echo "${HOME:-/root}/kinokit"; fi ;;
        *) echo "${HOME:-/root}/kinokit" ;;
    esac
}
data="${KINOKIT_DATA_DIR:-$(data_directory)}"
mkdir -p "$data/logs" "$home" || die "cannot write to $data or $home" "set KINOKIT_DATA_DIR to a writable directory"
export KINOKIT_DATA_DIR="$data"
log="$data/logs/start.log"
(umask 077; : >> "$log") # the agent prints the link with the token, once

# Log to the file and to the console: this script runs again with its output in a pipe.
if [ -z "${KINOKIT_LOGGING:-}" ]; then
    export KINOKIT_LOGGING=1
    pipe="$home/start.$$.pipe"
    rm -f "$pipe"; mkfifo "$pipe"
    tee -a "$log" < "$pipe" &
    exec > "$pipe" 2>&1
    rm -f "$pipe"
fi
# A token in a URL must not reach the log.
say "start: source $(printf '%s' "$source_" | sed 's#//[^/@]*@#//***@#'), programs in $home, data in $data"

apt_install() {
    command -v apt-get > /dev/null || die "$* is missing and this image has no apt-get" "use a Debian or Ubuntu image"
    [ "$(id -u)" = 0 ] || die "$* is missing and this user may not install it" "run as root, or use an image that has it"
    say "installing $*"
    if [ -z "${apt_updated:-}" ]; then apt-get update -qq || die "apt-get update failed" "check the network of this host"; apt_updated=1; fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null \
        || die "apt-get could not install $*" "read the lines above; another host or image may help"
}

usable() { # a Python that is new enough and can make virtual environments
    command -v "$1" > /dev/null 2>&1 \
        && "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1
}
find_python() {
    for candidate in python3 python python3.13 python3.12 python3.11; do
        if usable "$candidate"; then python=$candidate; return 0; fi
    done
    return 1
}
if [ ! -x "$home/venv/bin/pip" ]; then
    if ! find_python; then
        apt_install python3 python3-venv
        find_python || { apt_install python3.11 python3.11-venv; find_python; } \
            || die "no Python 3.11 or newer could be had here" "use Debian 12, Ubuntu 22.04 or newer, or a pytorch image"
    fi
    [ -d /etc/ssl/certs ] || apt_install ca-certificates
    say "making a virtual environment with $("$python" --version 2>&1)"
    # An image that already holds a torch (pytorch/pytorch) saves three gigabytes: its packages stay visible.
    site=""
    if "$python" -c 'from importlib.metadata import version; version("torch")' 2> /dev/null; then site=--system-site-packages; fi
    rm -rf "$home/venv"
    "$python" -m venv $site "$home/venv" || die "cannot make a virtual environment in $home" "is the disk full?"
fi
bin="$home/venv/bin"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CACHE_DIR="${PIP_CACHE_DIR:-$data/cache/pip}"
export PIP_ROOT_USER_ACTION=ignore UV_SYSTEM_CERTS=true UV_CACHE_DIR="${UV_CACHE_DIR:-$data/cache/uv}" UV_LINK_MODE=copy

# A git URL or a checkout: the code is used where it lies. A wheel or a name: pip brings it.
code=""
case "$source_" in
    *.whl) package="$source_" ;;
    git+*|*.git|*.git@*|git@*)
        command -v git > /dev/null || apt_install git
        url="${source_#git+}"; ref=""
        case "$url" in *.git@*) ref="${url##*.git@}"; url="${url%@"$ref"}" ;; esac
        code="$home/code"
        if [ ! -d "$code/.git" ]; then git clone -q --depth 1 ${ref:+--branch "$ref"} "$url" "$code" \
            || die "cannot clone the kit's repository" "check KINOKIT_SOURCE and the network of this host"
        elif git -C "$code" fetch -q --depth 1 origin "${ref:-HEAD}"; then git -C "$code" reset -q --hard FETCH_HEAD
        else say "cannot update $code; using what is there"; fi ;;
    /*|./*) code="$source_"; [ -f "$code/pyproject.toml" ] || die "no pyproject.toml in $code" "check KINOKIT_SOURCE" ;;
    *) package="$source_" ;;
esac

if [ -n "$code" ]; then
    sum=$(cksum < "$code/requirements/core.txt")
    if [ "$(cat "$home/core.sum" 2> /dev/null)" != "$sum" ]; then
        say "installing the thin core"
        # uv fetches side by side what pip fetches one after the other; where it cannot be had, pip does it.
        "$bin/pip" install -q --no-compile -r "$code/requirements/uv.txt" || say "no uv here; pip does the work, more slowly"
        "$bin/uv" pip install -q --python "$bin/python" --no-deps -r "$code/requirements/core.txt" \
            || "$bin/pip" install -q --no-deps --no-compile -r "$code/requirements/core.txt" \
            || die "the core packages could not be installed" "check the network of this host; the lines above say what failed"
        echo "$sum" > "$home/core.sum"
    fi
    site=$("$bin/python" -c 'import site; print(site.getsitepackages()[0])')
    echo "$code" > "$site/kinokit.pth"
    printf '#!%s\nfrom services.cli import main\nmain()\n' "$bin/python" > "$bin/kinokit"
    chmod 755 "$bin/kinokit"
elif [ "$(cat "$home/core.sum" 2> /dev/null)" != "$package" ]; then
    say "installing $package"
    "$bin/pip" install -q --upgrade "$package" || die "cannot install $package" "check KINOKIT_SOURCE and the network"
    echo "$package" > "$home/core.sum"
fi

say "starting the agent"
[ "${KINOKIT_START_ONLY_INSTALL:-}" = 1 ] && exit 0
exec "$bin/kinokit" up "$@"
