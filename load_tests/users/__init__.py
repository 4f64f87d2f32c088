"""People who use Falcon, as locust's users: what they do, when they mean to do it, and what they hold Falcon to."""

import os

# Locust would have gevent take the place of sockets and threads, on which asyncio then waits for ever. People are
# asyncio, in a thread of their own (`beside.py`), so nothing needs to be patched. It looks at this when it is imported.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
