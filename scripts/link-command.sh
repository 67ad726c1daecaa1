#!/bin/sh
# Makes `kinokit` a command: a link in ~/.local/bin to the one in .venv. Somebody else's file stays as it is.
set -eu
cd "$(dirname "$0")/.."
folder="${HOME:-/nowhere}/.local/bin"
link="$folder/kinokit"
target="$(cd "${VENV:-.venv}" && pwd)/bin/kinokit"

ours() { # a link to this clone's command, or to one that a clone took along when it went
    [ -L "$link" ] || return 1
    case "$(readlink "$link")" in "$target") return 0 ;; */bin/kinokit) [ ! -e "$link" ] ;; *) return 1 ;; esac
}

if ours || { [ ! -e "$link" ] && [ ! -L "$link" ]; }; then
    if mkdir -p "$folder" 2> /dev/null && ln -sfn "$target" "$link" 2> /dev/null; then
        case ":$PATH:" in *":$folder:"*) exit 0 ;; esac
        # shellcheck disable=SC2016 # the line is to be typed as it is
        echo 'the command kinokit, in each new terminal: export PATH="$HOME/.local/bin:$PATH"'
        exit 0
    fi
fi
echo "the command kinokit, in each new terminal: export PATH=\"${target%/kinokit}:\$PATH\" ($link is not ours to write)"
