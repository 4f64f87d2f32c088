"""The names of the read models. They are looked up only where a command needs them: other commands start sooner."""

import typer


def read_models() -> list[str]:
    from falcon.read.catalogue import READ_MODELS

    return list(READ_MODELS)


def read_models_beginning_with(incomplete: str) -> list[str]:
    """Completes names in shells."""
    return [name for name in read_models() if name.startswith(incomplete)]


def check_read_model(name: str) -> None:
    """Raises BadParameter."""
    if name not in read_models():
        raise typer.BadParameter(f"{name!r}: it should be one of {', '.join(read_models())}", param_hint="NAME")
