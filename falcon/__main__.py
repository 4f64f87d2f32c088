"""``falcon``: starts the launcher directly for the commands that run servers, since the first message waits for it.
Everything else goes to the CLI."""

import io
import signal
import sys


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in ("up", "api", "write", "project"):
        # Ctrl-C ends the start without a traceback; later the launcher handles it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        from falcon.run.launcher import main as launch

        sys.exit(launch(sys.argv[1], sys.argv[2:]))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as for standard error: not all locales have all characters
    from falcon.cli import app

    app()


if __name__ == "__main__":
    main()
