#!/usr/bin/env bash
# Installs the Debian packages that the tests use and this machine lacks, where it may: as root, on Debian or Ubuntu.
# Elsewhere it says what is missing; the tests that need it are skipped there.
set -euo pipefail

# command or file that shows that it is there: package
wanted=(
    chromium:chromium
    ffmpeg:ffmpeg
    nginx:nginx-light
    dockerd:docker.io
    docker-compose:docker-compose
    debootstrap:debootstrap
    shellcheck:shellcheck
    /usr/lib/postgresql:postgresql
)

missing=()
for entry in "${wanted[@]}"; do
    sign=${entry%%:*}
    PATH=$PATH:/usr/sbin:/sbin command -v "$sign" >/dev/null 2>&1 || [ -e "$sign" ] || missing+=("${entry##*:}")
done
[ ${#missing[@]} = 0 ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed: ${missing[*]} (tests that need them are skipped; install them as root to run all)"
    exit 0
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# no service may start by itself: the tests start their own
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
apt-get update -qq
apt-get install -qq --no-install-recommends "${missing[@]}" >/dev/null
