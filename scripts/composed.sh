#!/bin/sh
# The service that `make up` started in Docker: scripts/composed.sh status|logs|down|token. Exit code 9 when there is none.
set -eu
cd "$(dirname "$0")/.."
docker="${DOCKER:-docker}"
project="${COMPOSE_PROJECT_NAME:-$(basename "$PWD" | tr -cd 'a-z0-9_-')}"

command -v "$docker" > /dev/null || exit 9
name=$("$docker" ps -aq --filter "label=com.docker.compose.project=$project" \
    --filter label=com.docker.compose.service=kinokit 2> /dev/null) || exit 9
[ -n "$name" ] || exit 9

case "$1" in
    status)
        "$docker" inspect -f 'container {{.Name}}: {{.State.Status}}, {{.State.Health.Status}}' "$name"
        "$docker" exec "$name" kinokit status --data-dir /data ;;
    logs) exec "$docker" logs --follow "$name" ;;
    down) "$docker" stop --time 20 "$name" > /dev/null && "$docker" rm "$name" > /dev/null
        echo "ended; its data stays in the volume ${project}_kinokit-data" ;;
    token) # written within a second of the start
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            if "$docker" exec "$name" cat /data/token 2> /dev/null; then exit 0; fi
            sleep 1
        done
        echo not-yet ;;
    *) echo "error: $1 is not known" >&2; echo "  fix: status, logs, down or token" >&2; exit 2 ;;
esac
