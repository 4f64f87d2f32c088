"""All operations of the API, from which requests are routed and the documents are made."""

from typing import Final

from falcon.features.catalogue import modules
from falcon.http.api import exporting, importing, provider_sign_in, tickets, typing_signals
from falcon.http.api.operation import ApiOperation, Group

OPERATIONS: Final[tuple[ApiOperation, ...]] = tuple(
    operation
    for api in (*modules("api"), provider_sign_in, tickets, typing_signals, importing, exporting)
    for operation in api.OPERATIONS
)
GROUPS: Final[list[Group]] = sorted(
    dict.fromkeys(operation.group for operation in OPERATIONS), key=lambda group: group.learned
)
