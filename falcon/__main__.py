"""``falcon``: what is to run goes straight to the launcher, since a first message waits for it; the rest to the CLI."""

import sys


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in ("up", "api", "write", "project"):
        from falcon.launcher import main as launch

        sys.exit(launch(sys.argv[1], sys.argv[2:]))
    from falcon.cli import app

    app()


if __name__ == "__main__":
    main()
