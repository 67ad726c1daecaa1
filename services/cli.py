"""``kinokit``: bootstrap's commands, and those that make clips."""

from __future__ import annotations

from bootstrap import cli


class Commands(cli.Commands):
    table = cli.COMMANDS | {
        "generate": (
            "services.commands.generate",
            "app",
            "Make one clip, with the running service or without.",
        ),
        "key": ("services.commands.key", "app", "Named keys: scopes, limits, use; for people and boxes."),
        "sweep": ("services.commands.sweep", "app", "Try several values of one number, side by side."),
        "batch": ("services.commands.batch", "app", "Make a clip of every photo in a folder; resumes."),
        "queue": ("services.commands.queue", "app", "See what waits and runs; cancel, retry, pause, purge."),
    }


def main() -> None:
    cli.run(Commands)


if __name__ == "__main__":
    main()
