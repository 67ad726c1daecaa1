#!/bin/sh
# What runs before the kit in a container: sshd when a key is given, and no more rights than needed.
set -eu

say() { printf '[kinokit] %s\n' "$*"; }

start_sshd() { # for the key $1; every step may fail where the root is read-only
    mkdir -p /run/sshd /root/.ssh \
        && printf '%s\n' "$1" > /root/.ssh/authorized_keys \
        && chmod 700 /root/.ssh && chmod 600 /root/.ssh/authorized_keys \
        && ssh-keygen -A > /dev/null \
        && /usr/sbin/sshd -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no \
            -o PermitRootLogin=prohibit-password
}
key="${PUBLIC_KEY:-${SSH_PUBLIC_KEY:-}}"
if [ "$(id -u)" = 0 ] && [ -n "$key" ]; then
    start_sshd "$key" || say "no ssh: the lines above say why; the kit starts without it"
fi

# Marketplaces mount volumes owned by root and expect root; elsewhere the kit runs as kino.
if [ "$(id -u)" = 0 ] && [ -z "${RUNPOD_POD_ID:-}${RUNPOD_ENDPOINT_ID:-}${VAST_CONTAINERLABEL:-}${CONTAINER_ID:-}" ] \
    && [ "${PLATFORM:-docker}" = docker ] && [ "${KINOKIT_AS_ROOT:-0}" = 0 ]; then
    if [ "$(stat -c %u "${KINOKIT_DATA_DIR:-/data}")" = 0 ]; then
        chown kino:kino "${KINOKIT_DATA_DIR:-/data}" || true # a read-only or foreign mount: the kit says so
    fi
    export HOME=/home/kino
    exec setpriv --reuid=kino --regid=kino --init-groups --no-new-privs "$@"
fi
exec "$@"
