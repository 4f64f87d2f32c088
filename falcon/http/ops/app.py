"""The operations port: health and metrics for every client that reaches it, and ``/debug`` for operators.

All of it blocks, and runs on a dispatcher of its own, which bounds how many requests are served at once.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from falcon.http import web
from falcon.http.ops import pages
from falcon.http.ops.operators import Operators
from falcon.http.problems import Problem, broken
from falcon.http.requests import decode_query
from falcon.http.responses import BytesResponse, json_response, problem_response
from falcon.telemetry.dispatchers import Dispatcher, Saturated
from falcon.telemetry.heap import Heaps
from falcon.telemetry.probes import NoAnswer
from falcon.telemetry.process_tree import ProcessTree

_Page: TypeAlias = Callable[[Request], "Response | BytesResponse"]


class _ProcessQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    process: str | None = None


class _HeapQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    process: str | None = None
    since: int | None = None


def create_ops_app(processes: ProcessTree, dispatcher: Dispatcher, operators: Operators, needed: int = 1) -> Starlette:
    """``needed``: so many of the processes that share the port must serve. All must if each owns partitions."""
    shown = OpsPages(processes, needed)
    for_all: dict[str, _Page] = {
        "/livez": shown.live,
        "/startupz": shown.started,
        "/readyz": shown.ready,
    }
    for_operators: dict[str, _Page] = {
        **web.picture(),
        "/debug": shown.index,
        "/debug/shards": shown.shards,
        "/debug/stacks": shown.stacks,
        "/debug/heap": shown.heap,
    }
    served = for_all | {"/metrics": _checked(shown.metrics, operators.check_host)}
    served |= {path: _checked(page, operators.check) for path, page in for_operators.items()}
    return Starlette(routes=[Route(path, _endpoint(page, dispatcher)) for path, page in served.items()])


def _checked(page: _Page, check: Callable[[Request], None]) -> _Page:
    def checked(request: Request) -> Response | BytesResponse:
        check(request)
        return page(request)

    return checked


def _endpoint(page: _Page, dispatcher: Dispatcher) -> Any:
    async def endpoint(request: Request) -> Response | BytesResponse:
        try:
            return await dispatcher.run(page, request)
        except Problem as problem:
            return problem_response(problem)
        except Saturated:
            return problem_response(Problem(503, "overloaded", "Too much is asked at once.", retry_after=1))

    return endpoint


class OpsPages:
    """One method for each page."""

    def __init__(self, processes: ProcessTree, needed: int) -> None:
        self._processes = processes
        self._needed = needed
        self._has_started = False
        self._heaps = Heaps()

    # --- health -------------------------------------------------------------------------------------------------------

    def live(self, request: Request) -> Response:
        """Every event loop answers. If one does not, a restart may help."""
        stuck = [name for name, said in self._processes.health().items() if not said.get("live")]
        return PlainTextResponse("ok") if not stuck else PlainTextResponse(f"{', '.join(stuck)} does not answer", 503)

    def started(self, request: Request) -> Response:
        """Falcon has started once and for all: a process that hangs or is started again later does not undo that."""
        if not self._has_started:
            self._has_started = self._enough(self._processes.health().values(), "started")
        return PlainTextResponse("ok") if self._has_started else PlainTextResponse("starting", 503)

    def ready(self, request: Request) -> Response:
        """Succeeds if as many processes as are needed can serve, and none is draining."""
        said = self._processes.health().values()
        if any(each.get("draining") for each in said):
            return PlainTextResponse("draining", 503)
        if not self._enough(said, "started"):
            return PlainTextResponse("starting", 503)
        if not self._enough(said, "ready"):
            return PlainTextResponse("the shards are recovering", 503)
        return PlainTextResponse("ok")

    def _enough(self, said: Collection[Mapping[str, bool]], what: str) -> bool:
        return sum(each.get(what, False) for each in said) >= self._needed

    # --- metrics ------------------------------------------------------------------------------------------------------

    def metrics(self, request: Request) -> Response:
        page, content_type = self._processes.metrics(request.headers.get("accept", ""))
        return Response(page, headers={"content-type": content_type})

    # --- a look inside ------------------------------------------------------------------------------------------------

    def index(self, request: Request) -> Response | BytesResponse:
        links = [{"page": f"/debug/{name}"} for name in ("shards", "stacks", "heap")]
        return self._page(
            request,
            "Inside Falcon",
            {
                "pages": links,
                "processes": [{"process": name, "pid": pid} for name, pid in self._processes.processes().items()],
            },
        )

    def shards(self, request: Request) -> Response | BytesResponse:
        """The shards of every process that hosts some; other processes do not know the question."""
        said = self._asked("shards", decode_query(request.scope, _ProcessQuery).process)
        tables: dict[str, Any] = {"partitions": []}
        for process, answer in said.items():
            if isinstance(answer, list):
                tables["partitions"] += [{"process": process, **row} for row in answer]
        # Partitions that do not serve come first, then the busiest.
        tables["partitions"].sort(key=lambda row: (row["state"] == "serving", -row["commands_per_second"]))
        return self._page(request, "Shards", tables)

    def stacks(self, request: Request) -> Response | BytesResponse:
        said = self._asked("stacks", decode_query(request.scope, _ProcessQuery).process)
        if _wants_json(request):
            return json_response(200, said)
        return PlainTextResponse(pages.stacks_text(said))

    def heap(self, request: Request) -> Response | BytesResponse:
        query = decode_query(request.scope, _HeapQuery)
        process = self._process(query.process)
        before = self._heaps.get(query.since, process)
        if query.since is not None and before is None:
            detail = f"There is no heap {query.since} of {process} any more; ask without since."
            raise Problem(404, "not_found", detail, broken("since", "must be a heap that is kept"))
        try:
            counted = self._processes.ask(process, "heap", {}, 30.0)
        except NoAnswer as error:
            raise Problem(503, "unavailable", f"{error}.", retry_after=1) from error
        number = self._heaps.keep(process, counted)
        rows = pages.heap(counted, before)
        summary = {name: value for name, value in counted.items() if name != "classes"}
        shown = {"heap": [{"process": process, "number": number, "since": query.since, **summary}], "classes": rows}
        return self._page(request, f"Heap of {process}", shown, refreshes=False)

    def _asked(self, what: str, process: str | None) -> dict[str, Any]:
        """The answer of each process, or of the named one; the reason if a process does not answer."""
        said: dict[str, Any] = {}
        for name in [self._process(process)] if process is not None else self._processes.answering():
            try:
                said[name] = self._processes.ask(name, what)
            except NoAnswer as error:
                said[name] = str(error)
        return said

    def _process(self, name: str | None) -> str:
        """The name of a process; by default that of the first that serves. Raises Problem 404."""
        processes = self._processes.processes()
        if name is None:
            return next(iter(self._processes.health()), next(iter(processes), ""))
        if name not in processes:
            rule = f"must be one of {', '.join(processes)}"
            detail = f"There is no process {name[:64]!r}: {rule}."
            raise Problem(404, "not_found", detail, broken("process", rule))
        return name

    def _page(
        self, request: Request, title: str, tables: dict[str, Any], *, refreshes: bool = True
    ) -> Response | BytesResponse:
        if _wants_json(request):
            return json_response(200, tables)
        return HTMLResponse(pages.page(title, tables, refreshes=refreshes))


def _wants_json(request: Request) -> bool:
    """Browsers ask for HTML. All other clients get JSON."""
    return "text/html" not in request.headers.get("accept", "")
