"""The contents of the operations port's pages: rows for JSON, and HTML for people."""

from collections.abc import Mapping
from html import escape
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]


def heap(counted: Mapping[str, Any], before: Mapping[str, Any] | None) -> list[Row]:
    """One row for each class. With an earlier count, classes that have grown most come first."""
    earlier: Mapping[str, list[int]] = {} if before is None else before["classes"]
    rows = []
    for name, (count, size) in counted["classes"].items():
        row = {"class": name, "count": count, "bytes": size}
        if before is not None:
            old_count, old_size = earlier.get(name, (0, 0))
            row |= {"more": count - old_count, "more_bytes": size - old_size}
        rows.append(row)
    return sorted(rows, key=lambda row: -row["more_bytes"]) if before is not None else rows


def stacks_text(said: Mapping[str, Any]) -> str:
    """Text in Python's order: the innermost frame last."""
    lines: list[str] = []
    for process, answer in said.items():
        lines.append(f"=== {process} ===")
        if isinstance(answer, str):
            lines += [answer, ""]
            continue
        for thread in answer["threads"]:
            lines += [f"thread {thread['name']}", *(f"    {frame}" for frame in thread["stack"]), ""]
        for task in answer["tasks"]:
            lines += [f"task {task['name']} ({task['coroutine']})", *(f"    {frame}" for frame in task["stack"]), ""]
    return "\n".join(lines)


def page(title: str, tables: Mapping[str, list[Row]], *, refreshes: bool) -> str:
    """Plain HTML. With ``refreshes`` the browser reloads it every two seconds."""
    refresh = '<meta http-equiv="refresh" content="2">' if refreshes else ""
    body = "".join(f"<h2>{escape(name)}</h2>{_table(rows)}" for name, rows in tables.items())
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8>{refresh}<title>{escape(title)}</title>"
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>{body}</html>"
    )


def _table(rows: list[Row]) -> str:
    if not rows:
        return "<p>none</p>"
    head = "".join(f"<th>{escape(name)}" for name in rows[0])
    lines = "".join("<tr>" + "".join(_cell(value) for value in row.values()) for row in rows)
    return f"<table><tr>{head}{lines}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"<td class=n>{value:,.6g}" if isinstance(value, float) else f"<td class=n>{value:,}"
    text = "" if value is None else str(value)
    if text.startswith("/debug"):
        return f'<td><a href="{escape(text)}">{escape(text)}</a>'
    return f"<td>{escape(text)}"


_STYLE = (
    "body{font:14px system-ui,sans-serif;margin:1.5em}table{border-collapse:collapse}"
    "th,td{padding:.25em .75em;text-align:left;border-bottom:1px solid #ddd;white-space:nowrap}"
    "td.n{text-align:right;font-variant:tabular-nums}"
)
