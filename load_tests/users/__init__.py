"""Locust's users of Falcon: their acts, the times of these, and their checks of Falcon's promises."""

import os

# Locust would have gevent take the place of sockets and threads, on which asyncio then waits for ever. People are
# asyncio, in a thread of their own (`beside.py`), so nothing needs to be patched. It looks at this when it is imported.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
