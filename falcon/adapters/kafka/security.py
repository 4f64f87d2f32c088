"""TLS for the connections to Kafka, and Falcon's password or certificate."""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import create_conn
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from falcon.base.certificates import TlsFiles

log = logging.getLogger("falcon.kafka")

_TOLD_SECONDS: Final = 10.0  # once in so long for each broker, not with each of its connections


class AccessRefused(KafkaConnectionError):  # type: ignore[misc]
    """A broker answers, but no connection comes about. The message says why, and what to correct."""

    def __str__(self) -> str:
        return str(self.args[0])


class Security:
    """``tls``: of each connection. ``mechanism``: how the ``user`` shows the password. Without one the certificate of
    ``tls`` names the user.

    Each new connection uses the files as they are then, so they can be replaced without a restart.
    """

    def __init__(
        self, tls: TlsFiles, user: str = "", mechanism: str = "", password: Callable[[], str] = lambda: ""
    ) -> None:
        self._tls = tls
        self.user = user
        self._mechanism = mechanism
        self._password = password
        self._tell_at = 0.0
        # aiokafka's debug lines contain requests, and with the mechanism PLAIN the password.
        logging.getLogger("aiokafka.conn").setLevel(logging.CRITICAL)

    def settings(self) -> dict[str, Any]:
        """The settings as aiokafka's clients take them."""
        return {
            "security_protocol": "SASL_SSL" if self._mechanism else "SSL",
            "ssl_context": self.context(),
            "sasl_mechanism": self._mechanism or "PLAIN",
            "sasl_plain_username": self.user,
            "sasl_plain_password": self.password(),
        }

    def context(self) -> ssl.SSLContext:
        return self._tls.context()

    def password(self) -> str:
        return self._password()

    async def access_refusal(self, brokers: Iterable[tuple[str, int]], seconds: float) -> str | None:
        """The reason that the first broker to answer within that time gives. None if no broker answers, or it accepts
        this process.

        aiokafka tells its callers only that no connection came about.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for host, port in brokers:
                    try:
                        connection = await create_conn(host, port, **self.settings())
                    except (KafkaError, OSError) as error:
                        if why := self._why(f"{host}:{port}", error):
                            return why
                    else:
                        connection.close()
                        return None
        return None

    def _why(self, broker: str, error: BaseException) -> str | None:
        for each in (error, error.__cause__):
            if isinstance(each, ssl.SSLError):
                return (
                    f"no TLS with Kafka at {broker} ({_words(each)}): correct FALCON_KAFKA, FALCON_KAFKA_CA or "
                    "FALCON_KAFKA_SECURITY_PROTOCOL, and FALCON_KAFKA_CERT where brokers ask for a certificate"
                )
        if isinstance(error, SaslAuthenticationFailed | UnsupportedSaslMechanismError):
            return (
                f"Kafka at {broker} does not let {self.user} in ({error}): correct FALCON_KAFKA_USER, "
                "FALCON_KAFKA_PASSWORD_FILE or FALCON_KAFKA_SASL_MECHANISM"
            )
        return None

    async def tell_why(self, host: str, port: int, seconds: float) -> None:
        """Log the reason, at intervals."""
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + _TOLD_SECONDS
            if why := await self.access_refusal([(host, port)], seconds):
                log.error("%s", why)


class SecuredClient(AIOKafkaClient):  # type: ignore[misc]
    """The client inside aiokafka's consumers, producers and admin clients. They make it themselves, so ``secure``
    replaces its class."""

    security: Security
    telling: "asyncio.Task[None] | None" = None

    @property
    def _ssl_context(self) -> ssl.SSLContext:
        """aiokafka reads this, and the password, for each connection that it makes."""
        return self.security.context()

    @property
    def _sasl_plain_password(self) -> str:
        return self.security.password()

    async def bootstrap(self) -> None:
        """Raises AccessRefused, KafkaConnectionError."""
        try:
            await super().bootstrap()
        except KafkaConnectionError as error:
            brokers = [(host, port) for host, port, _ in self.hosts]
            if why := await self.security.access_refusal(brokers, self._seconds):
                raise AccessRefused(why) from error
            raise

    async def close(self) -> None:
        """Close at once. A broker joins TLS's goodbye only after it has answered the requests that are under way, such
        as a fetch that waits for records, and aiokafka would wait for that."""
        if self.telling is not None:
            self.telling.cancel()
        for connection in self._conns.values():
            if connection._writer is not None:
                connection._writer.transport.abort()
        await super().close()

    async def _get_conn(self, node_id: Any, **where: Any) -> Any:
        connection = await super()._get_conn(node_id, **where)
        if connection is None and (self.telling is None or self.telling.done()):
            # in the background: it must delay no connection
            self.telling = asyncio.get_running_loop().create_task(self._tell_why(node_id))
        return connection

    async def _tell_why(self, node_id: Any) -> None:
        broker = self.cluster.broker_metadata(node_id)
        if broker is not None:
            await self.security.tell_why(broker.host, broker.port, self._seconds)

    @property
    def _seconds(self) -> float:
        return float(self._request_timeout_ms) / 1000


def secure(client: AIOKafkaClient, security: Security | None) -> None:
    """Call before the client connects."""
    if security is not None:
        client.__class__ = SecuredClient
        client.security = security


def _words(error: ssl.SSLError) -> str:
    return str(getattr(error, "verify_message", "") or error.reason or error)
