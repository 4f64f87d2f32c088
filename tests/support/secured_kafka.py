"""A real Kafka that lets in only whom it knows, and only to what it is allowed."""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.support.certificates import Authority
from tools.harness.ports import HOST
from tools.servers.jars import java
from tools.servers.kafka import Kafka, fetch

_ACLS: Final = Path(__file__).parent / "java" / "Acls.java"
_INSIDE: Final = 20  # above the port of clients: plaintext on loopback, for Kafka's own tools, which may do anything
_BY_CERTIFICATE: Final = 30
_PLAIN: Final = "org.apache.kafka.common.security.plain.PlainLoginModule required"
_SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class SecuredKafka(Kafka):
    """One node. Its certificate is for ``localhost`` and for no address.

    Clients come by SASL_SSL to the port, and with a certificate by SSL to ``by_certificate``. ``passwords``: of the
    users, the same by SCRAM-SHA-512 and by PLAIN. ``CN=admin`` may do anything, others what their ACLs say.
    """

    def __init__(self, folder: Path, port: int, authority: Authority, passwords: Mapping[str, str]) -> None:
        super().__init__(folder, port, nodes=1, heap_mib=256)
        self._authority = authority
        self._passwords = passwords

    @property
    def bootstrap(self) -> str:
        return f"localhost:{self.port}"

    @property
    def by_certificate(self) -> str:
        return f"localhost:{self.port + _BY_CERTIFICATE}"

    def ports(self) -> list[int]:
        return [*super().ports(), self.port + _INSIDE, self.port + _BY_CERTIFICATE]

    def acls(self, calls: Iterable[Sequence[str]]) -> None:
        """The output of kafka-acls for each of these arguments."""
        inside = ["--bootstrap-server", f"{HOST}:{self.port + _INSIDE}"]
        self._java([str(_ACLS)], "\n".join(" ".join([*inside, *call]) for call in calls))

    def change_passwords(self, passwords: Mapping[str, str]) -> None:
        self._passwords = {**self._passwords, **passwords}
        inside = ["--bootstrap-server", f"{HOST}:{self.port + _INSIDE}", "--alter", "--entity-type", "users"]
        for user, password in passwords.items():
            added = ["--entity-name", user, "--add-config", f"SCRAM-SHA-512=[password={password}]"]
            self._java(["kafka.admin.ConfigCommand", *inside, *added])

    def _java(self, program: Sequence[str], said: str = "") -> None:
        command = [
            java(),
            "-Xmx128m",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-cp",
            f"{fetch(print)}/*",
            *program,
        ]
        done = subprocess.run(command, input=said, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def _users(self) -> list[str]:
        return [
            word
            for name, password in self._passwords.items()
            for word in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")
        ]

    def _listeners(self, port: int) -> dict[str, str]:
        pair = self._authority.issue("broker")
        plain = " ".join(f'user_{name}="{password}"' for name, password in self._passwords.items())
        clients, by_certificate, inside = port, port + _BY_CERTIFICATE, port + _INSIDE
        return {
            **super()._listeners(port),
            "listeners": (
                f"CLIENTS://{HOST}:{clients},CERTIFIED://{HOST}:{by_certificate},INSIDE://{HOST}:{inside},"
                f"CONTROLLER://{HOST}:{port + 10}"
            ),
            "advertised.listeners": (
                f"CLIENTS://localhost:{clients},CERTIFIED://localhost:{by_certificate},INSIDE://{HOST}:{inside}"
            ),
            "listener.security.protocol.map": "CLIENTS:SASL_SSL,CERTIFIED:SSL,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "INSIDE",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(pair.together),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._authority.certificate),
            "listener.name.certified.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            "listener.name.clients.scram-sha-512.sasl.jaas.config": _SCRAM,
            "listener.name.clients.plain.sasl.jaas.config": f"{_PLAIN} {plain};",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": "User:ANONYMOUS;User:CN=admin",
        }
