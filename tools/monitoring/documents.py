"""YAML that people read: in the order in which it was made, and several lines as several lines."""

from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # comes with what tests the API

_HEAD: Final = "# Written by `python -m tools.monitoring.generate`; see {source} for what to change.\n"


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        return super().increase_indent(flow, False)


def _text(dumper: _Dumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def document(content: Any, source: str) -> str:
    """``source``: the file that it is made from."""
    return _HEAD.format(source=source) + str(
        yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    )
