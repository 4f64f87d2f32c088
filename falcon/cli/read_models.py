"""The names of the read models and sinks. Only the commands that need them look them up: others start sooner."""

import typer


def read_models() -> list[str]:
    from falcon.read.catalogue import READ_MODELS

    return list(READ_MODELS)


def sinks() -> list[str]:
    from falcon.projections.sinks import SINKS

    return list(SINKS)


def check_read_model(name: str) -> None:
    """Raises BadParameter for what is neither a read model nor a sink."""
    known = [*read_models(), *sinks()]
    if name not in known:
        raise typer.BadParameter(f"{name!r}: it should be one of {', '.join(known)}", param_hint="NAME")
