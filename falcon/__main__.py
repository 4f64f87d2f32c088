"""``falcon``: starts the launcher directly for the commands that run servers, since the first message waits for it.
Everything else goes to the CLI."""

import io
import signal
import sys


def main() -> None:
    command, options = sys.argv[1:2], sys.argv[2:]
    if command and command[0] in ("up", "api", "write", "project", "forward") and options in ([], ["--json"]):
        # Ctrl-C ends the start without a traceback; later the launcher handles it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        from falcon.run.launcher import main as launch

        sys.exit(launch(command[0], as_json=bool(options)))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as for standard error: not all locales have all characters
    from falcon.cli import app

    app()


if __name__ == "__main__":
    main()
