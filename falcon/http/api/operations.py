"""All operations of the API, from which requests are routed and the documents are made."""

from typing import Final

from falcon.http.api import catalogue, exporting, importing

OPERATIONS: Final = (*catalogue.OPERATIONS, *importing.OPERATIONS, *exporting.OPERATIONS)
GROUPS: Final = (*catalogue.GROUPS, importing.GROUP)
