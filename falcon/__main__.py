"""``falcon``: ``up`` goes straight to the launcher, since a first message waits for it; the rest to the CLI."""

import sys


def main() -> None:
    if sys.argv[1:2] == ["up"]:
        from falcon.launcher import main as up

        sys.exit(up(sys.argv[2:]))
    from falcon.cli import app

    app()


if __name__ == "__main__":
    main()
