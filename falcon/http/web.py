"""Static files: the web client of ``falcon/web``, with its page at ``/`` for browsers, and for the operations port the
picture of what runs, of ``falcon/web/ops``."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from falcon.http.responses import matches

_FOLDER: Final = Path(__file__).parent.parent / "web"
_CLIENT: Final = _FOLDER / "client"  # a link to clients/javascript/src, which the page is built on
_OPS: Final = _FOLDER / "ops"
_PAGE: Final = "index.html"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_INDEX: Final = b'{"name":"Falcon","docs":"/docs","openapi":"/openapi.json"}'

Render = Callable[[Request], Response]


def documents() -> dict[str, Render]:
    """A renderer for each path. Reads the files now, so that all are of one version while the process runs."""
    files = _files(_FOLDER)
    page = files.pop(_PAGE)

    def index(request: Request) -> Response:
        if _wants_html(request.headers.get("accept", "")):
            answer = page(request)
        else:
            answer = Response(_INDEX, media_type="application/json")
        answer.headers["vary"] = "Accept"
        return answer

    files |= {f"client/{name}": file for name, file in _files(_CLIENT).items()}
    return {"/": index, **{f"/web/{name}": file for name, file in files.items()}}


def picture() -> dict[str, Render]:
    """As :func:`documents`, for the operations port."""
    files = _files(_OPS)
    return {"/ops": files.pop(_PAGE), **{f"/ops/{name}": file for name, file in files.items()}}


def _files(folder: Path) -> "dict[str, Render]":
    return {path.name: _File(path) for path in sorted(folder.iterdir()) if path.suffix in _TYPES}


class _File:
    def __init__(self, path: Path) -> None:
        self._body = path.read_bytes()
        self._etag = f'"{hashlib.blake2b(self._body, digest_size=12).hexdigest()}"'
        self._type = _TYPES[path.suffix]

    def __call__(self, request: Request) -> Response:
        headers = {
            "etag": self._etag,
            # Browsers ask each time, and mostly get 304: the files of a page must be of one version.
            "cache-control": "no-cache",
            "content-security-policy": POLICY,
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
        }
        known = request.headers.get("if-none-match")
        if known is not None and matches(known.encode("latin-1"), self._etag.encode()):
            return Response(status_code=304, headers=headers)
        return Response(self._body, media_type=self._type, headers=headers)


def _wants_html(accept: str) -> bool:
    """True if HTML is named. Clients that accept ``*/*`` get JSON."""
    return any(choice.partition(";")[0].strip().lower() == "text/html" for choice in accept.split(","))
