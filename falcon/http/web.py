"""Static files: the web client of ``falcon/web``, with its page at ``/`` for browsers, and for the operations port the
picture of what runs, of ``falcon/web/ops``.

The page names its files by addresses that contain the hash of them all, so a browser keeps them for good, and never
mixes two versions. A page of another version gets 404 for its files, and loads itself again (the script in
``index.html``).
"""

import base64
import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import emoji
import msgspec
from starlette.requests import Request

from falcon.http.constant_documents import ConstantDocument
from falcon.http.responses import BytesResponse

_FOLDER: Final = Path(__file__).parent.parent / "web"
_CLIENT: Final = _FOLDER / "client"  # a link to clients/javascript/src, which the page is built on
_HIGHLIGHTING: Final = _FOLDER / "highlighting"  # of code; a browser asks for it when it shows the first code
_OPS: Final = _FOLDER / "ops"
_PAGE: Final = "index.html"
_ICON: Final = "icon.svg"
_DOCS: Final = "docs.html"
_OF_DOCS: Final = ("docs.js", "tryit.js")
# The page loads them when a person opens what they show.
_LATER: Final = ("admin.js", "directory.js", "keys.js", "lists.js", "settings.js", "thread.js", "welcome.js")
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
}
# Browsers ask each time, and mostly get 304.
_ASK: Final = (b"cache-control", b"no-cache")
# A year, the longest that caches honour. Another version has other addresses.
_KEEP: Final = (b"cache-control", b"public, max-age=31536000, immutable")
# Of a page and its files: no other site learns the address, opens the page within its own process, or includes a file,
# and no script uses a device.
GUARDS: Final = (
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_EMOJI: Final = "emoji.json"
_INDEX: Final = b'{"name":"Falcon","docs":"/docs","openapi":"/openapi.json"}'

Render = Callable[[Request], BytesResponse]


def policy(script: str = "") -> str:
    """The Content-Security-Policy of a page. ``script``: the source of its one inline script, if it has any."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    inline = f" 'sha256-{digest}'" if script else ""
    return (
        f"default-src 'none'; script-src 'self'{inline}; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def documents() -> dict[str, Render]:
    """A renderer for each path. Reads the files now, so that all are of one version while the process runs."""
    files = _files(_FOLDER) | {_EMOJI: _emoji()}
    client = {f"client/{name}": body for name, body in _files(_CLIENT).items()}
    highlighting = {f"highlighting/{name}": body for name, body in _files(_HIGHLIGHTING).items()}
    modules = [name for name in (*files, *client) if name.endswith(".js") and name not in (*_OF_DOCS, *_LATER)]
    page = _page(files.pop(_PAGE).decode(), modules, vary="Accept")
    docs = _page(files.pop(_DOCS).decode(), [*_OF_DOCS, "dom.js"])
    machine = ConstantDocument(_INDEX, "application/json", vary="Accept")

    def index(request: Request) -> BytesResponse:
        wanted = page if _wants_html(request.headers.get("accept", "")) else machine
        return wanted.answer(dict(request.scope["headers"]))

    return {
        "/": index,
        "/docs": lambda request: docs.answer(dict(request.scope["headers"])),
        **{address(name): _document(name, body, _KEEP) for name, body in (files | client | highlighting).items()},
        # Pages of others import the client by this address.
        **{f"/web/{name}": _document(name, body, _ASK) for name, body in client.items()},
    }


def picture() -> dict[str, Render]:
    """Like :func:`documents`, for the operations port."""
    shown = _files(_OPS) | {_ICON: (_FOLDER / _ICON).read_bytes()}
    files = {name: _document(name, body, _ASK) for name, body in shown.items()}
    return {"/ops": files.pop(_PAGE), **{f"/ops/{name}": file for name, file in files.items()}}


def address(name: str) -> str:
    """The path of a file of the web client, such as ``client/index.js``."""
    return f"/web/{_version()}/{name}"


@functools.cache
def _version() -> str:
    """The hash of all files of the web client. Servers with the same files give them the same addresses."""
    found = hashlib.blake2b(digest_size=8)
    for files in (*map(_files, (_FOLDER, _CLIENT, _HIGHLIGHTING)), {_EMOJI: _emoji()}):
        for name, body in files.items():
            found.update(b"%b %d\n%b" % (name.encode(), len(body), body))
    return found.hexdigest()


@functools.cache
def _emoji() -> bytes:
    """The names of each emoji, English and Japanese, for a person who types one. Skin tones are left out."""
    emoji.config.load_language("ja")
    named = {
        each: [name.strip(":") for name in (names["en"], *names.get("alias", ()), names.get("ja", "")) if name]
        for each, names in emoji.EMOJI_DATA.items()
        if names["status"] == emoji.STATUS["fully_qualified"] and "skin_tone" not in names["en"]
    }
    return msgspec.json.encode(named)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in _TYPES}


def _page(text: str, modules: Sequence[str], vary: str = "") -> ConstantDocument:
    """The page with the addresses of its files. It names its modules, so that a browser asks for them at once rather
    than for each when another one has imported it."""
    preloads = "\n".join(f'<link rel="modulepreload" href="/web/{name}">' for name in modules)
    text = text.replace("</head>", f"{preloads}\n</head>")
    text = re.sub(r'"/web/([\w./]+)"', lambda found: f'"{address(found[1])}"', text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL) or [""]
    return ConstantDocument(
        text.encode(),
        _TYPES[".html"],
        _ASK,
        (b"content-security-policy", policy(script).encode()),
        *GUARDS,
        vary=vary,
    )


def _document(name: str, body: bytes, cached: tuple[bytes, bytes]) -> Render:
    document = ConstantDocument(
        body, _TYPES[Path(name).suffix], cached, (b"content-security-policy", policy().encode()), *GUARDS
    )
    return lambda request: document.answer(dict(request.scope["headers"]))


def _wants_html(accept: str) -> bool:
    """True if HTML is named. Clients that accept ``*/*`` get JSON."""
    return any(choice.partition(";")[0].strip().lower() == "text/html" for choice in accept.split(","))
