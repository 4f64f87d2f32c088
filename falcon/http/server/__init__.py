"""All that knows uvicorn's inside: connections and their limits, the protocols, and the ways around ASGI."""
