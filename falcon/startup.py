"""The first steps of every process: it raises its limit of descriptors, configures its log, and is measured."""

from pathlib import Path

from falcon.process import allow_profiling, raise_descriptors
from falcon.settings import Settings
from falcon.telemetry import instruments, logs, otel, probes


def begin(settings: Settings, name: str) -> None:
    """``name``: of the process in its tree, such as serve-0. Once a process, after it was forked. Raises NoRoom."""
    raise_descriptors()
    logs.configure(name, settings.log_level, settings.log_format)  # type: ignore[arg-type]
    otel.configure(name)
    if settings.telemetry == "off":
        instruments.switch_off()
    if settings.run_dir:
        allow_profiling()
        probes.start(Path(settings.run_dir), name)
