"""The operations port: health and metrics. Nothing here is for the public."""

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


class Health:
    """What the probes ask. ``ready`` is asked each time: it can serve now."""

    def __init__(self) -> None:
        self.started = False
        self.draining = False
        self.ready: Callable[[], bool] = lambda: True


def create_ops_app(health: Health) -> Starlette:
    async def livez(request: Request) -> Response:
        """The loop answers; that is what a restart could mend."""
        return PlainTextResponse("ok")

    async def readyz(request: Request) -> Response:
        if not health.started:
            return PlainTextResponse("starting", 503)
        if health.draining:
            return PlainTextResponse("draining", 503)
        return PlainTextResponse("ok") if health.ready() else PlainTextResponse("the shards are recovering", 503)

    async def startupz(request: Request) -> Response:
        return PlainTextResponse("ok") if health.started else PlainTextResponse("starting", 503)

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/startupz", startupz),
            Route("/metrics", metrics),
        ]
    )
