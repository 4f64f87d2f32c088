"""The settings, read once from the environment when a process starts."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, get_type_hints

_PREFIX: Final = "FALCON_"
# Loopback, and the networks that are not routed over the internet (RFC 1918, RFC 4193).
_INTERNAL_NETWORKS: Final = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
_HBASE_COMPRESSIONS: Final = ("ZSTD", "SNAPPY", "LZ4", "GZ")  # HBase's names
_COMPRESSIONS: Final = ("zstd", "lz4", "gzip", "none")  # Kafka's names
_SECURITY_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_SSL")  # Kafka's names; SASL without TLS is not among them
_SASL_MECHANISMS: Final = ("SCRAM-SHA-512", "PLAIN")
_LIMITS: Final = (
    "account_commands",
    "account_burst",
    "account_reads",
    "account_requests",
    "account_streams",
    "account_keys",
    "account_rooms",
    "account_rooms_a_day",
    "room_messages",
    "address_requests",
    "address_burst",
    "address_connections",
)
_BURSTS: Final = (("account_commands", "account_burst"), ("address_requests", "address_burst"))
_LIMIT_MAX: Final = 1_000_000
# Budgets of an account, with the least and the most that each may be. A message has up to 64 KiB.
_BUDGETS: Final = (
    ("account_bytes_sent", 64 << 10, 1 << 40),
    ("account_cpu_ms", 10, 1_000_000),
    ("account_bytes_a_day", 1 << 20, 1 << 50),
)
_ROOM_MEMBERS_MAX: Final = 100_000
PROCESSES_MAX: Final = 32
_MANY_CORES: Final = 4  # from here on one process a core, and a core for everything else
_CPU_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


# Variables of the command line, which are no settings.
_OF_COMMANDS: Final = ("FALCON_URL", "FALCON_TOKEN", "FALCON_ADMIN_TOKEN")
# https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
_SERVICE_LINK: Final = re.compile(r"FALCON_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_ADDRESSES: Final = ("tcp://", "udp://", "sctp://")


class WrongSettings(Exception):
    """Some settings are wrong. The message has a line for each, with what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Each field is FALCON_ and its name in capitals. docs/settings.md explains them."""

    host: str = "127.0.0.1"
    http_port: int = 8080
    ops_host: str = "127.0.0.1"
    ops_port: int = 8081
    ops_token_file: Path | None = None
    data_dir: Path = Path("data")
    partitions: int = 64
    processes: int = 1
    mailbox_bound: int = 2_000
    command_seconds: float = 5.0
    answer_window_seconds: float = 600.0
    answers_bytes: int = 512 << 20
    passivate_seconds: float = 60.0
    hot_aggregates: int = 2_000
    body_max: int = 512 << 10
    streams_max: int = 10_000
    stream_buffer: int = 256 << 10
    stream_events: int = 600_000
    stream_events_bytes: int = 256 << 20
    cors_origins: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    plaintext: str = "no"
    limits: str = "auto"
    account_commands: int = 20
    account_burst: int = 100
    account_reads: int = 50
    account_requests: int = 64
    account_streams: int = 16
    account_keys: int = 20_000
    account_rooms: int = 5_000
    account_rooms_a_day: int = 500
    account_bytes_sent: int = 2 << 20
    account_cpu_ms: int = 100
    account_bytes_a_day: int = 256 << 20
    account_limits_file: Path | None = None
    room_messages: int = 50
    room_members: int = _ROOM_MEMBERS_MAX
    address_requests: int = 20
    address_burst: int = 100
    address_connections: int = 500
    hsts_seconds: int = 0
    log_level: str = "info"
    log_format: str = "auto"
    telemetry: str = "on"
    run_dir: str = ""
    start_seconds: float = 0.0
    # Of a cluster
    kafka: tuple[str, ...] = ()
    kafka_prefix: str = "falcon."
    kafka_replicas: int = 3
    kafka_security_protocol: str = "PLAINTEXT"
    kafka_sasl_mechanism: str = "SCRAM-SHA-512"
    kafka_user: str = ""
    kafka_password_file: Path | None = None
    kafka_ca: Path | None = None
    kafka_cert: Path | None = None
    kafka_key: Path | None = None
    kafka_compression: str = "zstd"
    kafka_rack: str = ""
    kafka_fetch_min_bytes: int = 1
    kafka_local_retention_seconds: int = 0
    append_seconds: float = 10.0
    session_seconds: float = 6.0
    refusal_age_seconds: float = 1.0
    internal_port: int = 8082
    advertise_host: str = ""
    internal_token_file: Path = Path("internal-token")
    internal_networks: tuple[str, ...] = _INTERNAL_NETWORKS
    secret_file: Path = Path("secret")
    hbase: tuple[str, ...] = ()
    hbase_prefix: str = "falcon"
    hbase_create_command: str = ""
    hbase_compression: tuple[str, ...] = ("ZSTD", "SNAPPY")
    hbase_ca: Path | None = None
    hbase_cert: Path | None = None
    hbase_key: Path | None = None
    read_threads: int = 16
    read_seconds: float = 2.0
    project_threads: int = 4
    project_events: int = 2_000
    project_seconds: float = 0.02

    def require(self, *names: str) -> None:
        """Raises WrongSettings for those that are not set, and must be for what is to run."""
        missing = [
            f"{_PREFIX}{name.upper()}: must be set; see docs/settings.md" for name in names if not getattr(self, name)
        ]
        if missing:
            raise WrongSettings("\n".join(missing))

    @property
    def is_read_on_the_way(self) -> bool:
        """Other machines reach the public port, and neither Falcon nor a proxy encrypts the connection."""
        return not (is_loopback(self.host) or self.tls_cert or self.trusted_proxies)

    @property
    def has_limits(self) -> bool:
        """Accounts, rooms and addresses have limits from the start. With ``auto`` they may begin later: see
        ``limits_switch``."""
        if self.limits == "auto":
            return bool(self.trusted_proxies) or not is_loopback(self.host)
        return self.limits == "on"

    @property
    def database(self) -> Path:
        return self.data_dir / "falcon.db"

    @property
    def copied(self) -> Path:
        """An empty file, as old as the last `falcon copy` of the data folder."""
        return self.data_dir / "copied"

    def copied_at(self) -> float:
        """Seconds since 1970; 0 if the data folder was never copied."""
        try:
            return self.copied.stat().st_mtime
        except OSError:
            return 0.0

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Raises WrongSettings for values that do not fit."""
        types = get_type_hints(cls)
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for field in fields(cls):
            name = _PREFIX + field.name.upper()
            if name in environ:
                try:
                    values[field.name] = _convert(environ[name], types[field.name])
                except ValueError:
                    wrong.append(f"{name}={environ[name]}: must be {_words(types[field.name])}")
        settings = cls(**values)
        if not says_processes(environ):
            settings = replace(settings, processes=settings._processes_for(cores()))
        wrong += settings._wrong()
        if wrong:
            raise WrongSettings("\n".join(wrong))
        return settings

    def _processes_for(self, cores: int) -> int:
        """The default for a new data folder on a machine with so many cores."""
        if cores < _MANY_CORES or self.kafka:
            return 1
        return min(cores - 1, PROCESSES_MAX, self.partitions)

    def _wrong(self) -> list[str]:
        rules = (
            (_is_text(str(self.data_dir)), "FALCON_DATA_DIR: must be UTF-8, as the names of SQLite's files are"),
            (0 <= self.http_port < 65_536, "FALCON_HTTP_PORT: must be 0 (any free one) to 65535"),
            (-1 <= self.ops_port < 65_536, "FALCON_OPS_PORT: must be -1 (none), 0 (any free one) to 65535"),
            (1 <= self.partitions <= 4_096, "FALCON_PARTITIONS: must be 1 to 4096"),
            (
                1 <= self.processes <= min(PROCESSES_MAX, max(1, self.partitions)),
                f"FALCON_PROCESSES: must be 1 to {PROCESSES_MAX}, and at most the number of partitions",
            ),
            (
                self.processes == 1 or not self.kafka,
                "FALCON_PROCESSES: more than one is for falcon up, which uses no FALCON_KAFKA",
            ),
            (self.mailbox_bound >= 1, "FALCON_MAILBOX_BOUND: must be at least 1"),
            (0 < self.command_seconds <= 60, "FALCON_COMMAND_SECONDS: must be more than 0, at most 60"),
            (self.answer_window_seconds >= 1, "FALCON_ANSWER_WINDOW_SECONDS: must be at least 1"),
            (self.answers_bytes >= 1 << 20, "FALCON_ANSWERS_BYTES: must be at least 1048576 bytes"),
            (self.passivate_seconds > 0, "FALCON_PASSIVATE_SECONDS: must be more than 0"),
            (self.hot_aggregates >= 1, "FALCON_HOT_AGGREGATES: must be at least 1"),
            (self.body_max >= 1_024, "FALCON_BODY_MAX: must be at least 1024 bytes"),
            (self.streams_max >= 0, "FALCON_STREAMS_MAX: must be at least 0"),
            (self.stream_buffer >= 16_384, "FALCON_STREAM_BUFFER: must be at least 16384 bytes"),
            (self.stream_events >= 100, "FALCON_STREAM_EVENTS: must be at least 100"),
            (self.stream_events_bytes >= 1 << 20, "FALCON_STREAM_EVENTS_BYTES: must be at least 1048576"),
            (
                self.log_level in ("debug", "info", "warning", "error"),
                "FALCON_LOG_LEVEL: must be debug, info, warning or error",
            ),
            (self.log_format in ("auto", "json", "text"), "FALCON_LOG_FORMAT: must be auto, json or text"),
            ((self.tls_cert is None) == (self.tls_key is None), "FALCON_TLS_CERT: must be set with FALCON_TLS_KEY"),
            (
                _are_networks(self.trusted_proxies),
                "FALCON_TRUSTED_PROXIES: must be networks such as 10.4.0.0/16,fd00::/8, with commas between",
            ),
            (self.plaintext in ("yes", "no"), "FALCON_PLAINTEXT: must be yes or no"),
            (self.limits in ("on", "off", "auto"), "FALCON_LIMITS: must be on, off or auto"),
            *self._limit_rules(),
            (0 <= self.hsts_seconds <= 63_072_000, "FALCON_HSTS_SECONDS: must be 0 (none) to 63072000 (two years)"),
            (0 <= self.start_seconds <= 3_600, "FALCON_START_SECONDS: must be 0 to 3600"),
            (self.telemetry in ("on", "off"), "FALCON_TELEMETRY: must be on or off"),
            (_are_addresses(self.kafka), "FALCON_KAFKA: must be host:port[,host:port...], some of the brokers"),
            (_are_addresses(self.hbase), "FALCON_HBASE: must be host:port[,host:port...], HBase's Thrift gateways"),
            (1 <= self.kafka_replicas <= 9, "FALCON_KAFKA_REPLICAS: must be 1 to 9"),
            (
                self.kafka_compression in _COMPRESSIONS,
                f"FALCON_KAFKA_COMPRESSION: must be one of {', '.join(_COMPRESSIONS)}",
            ),
            (
                1 <= self.kafka_fetch_min_bytes <= 1 << 20,
                "FALCON_KAFKA_FETCH_MIN_BYTES: must be 1 to 1048576 bytes",
            ),
            (
                self.kafka_local_retention_seconds == 0 or self.kafka_local_retention_seconds >= 3_600,
                "FALCON_KAFKA_LOCAL_RETENTION_SECONDS: must be 0 (no tiered storage) or at least 3600",
            ),
            *self._kafka_security_rules(),
            *self._hbase_security_rules(),
            (1 <= self.append_seconds <= 60, "FALCON_APPEND_SECONDS: must be 1 to 60"),
            (2 <= self.session_seconds <= 60, "FALCON_SESSION_SECONDS: must be 2 to 60"),
            (0 < self.refusal_age_seconds <= 60, "FALCON_REFUSAL_AGE_SECONDS: must be more than 0, at most 60"),
            (0 <= self.internal_port < 65_536, "FALCON_INTERNAL_PORT: must be 0 (any free one) to 65535"),
            (
                self.internal_networks != () and _are_networks(self.internal_networks),
                "FALCON_INTERNAL_NETWORKS: must be networks such as 10.0.0.0/8,fc00::/7, with commas between",
            ),
            (
                set(self.hbase_compression) <= set(_HBASE_COMPRESSIONS),
                f"FALCON_HBASE_COMPRESSION: must be of {', '.join(_HBASE_COMPRESSIONS)}, or empty",
            ),
            (1 <= self.read_threads <= 256, "FALCON_READ_THREADS: must be 1 to 256"),
            (0 < self.read_seconds <= 60, "FALCON_READ_SECONDS: must be more than 0, at most 60"),
            (1 <= self.project_threads <= 64, "FALCON_PROJECT_THREADS: must be 1 to 64"),
            (1 <= self.project_events <= 100_000, "FALCON_PROJECT_EVENTS: must be 1 to 100000"),
            (0 <= self.project_seconds <= 10, "FALCON_PROJECT_SECONDS: must be 0 to 10"),
        )
        return [rule for holds, rule in rules if not holds]

    def _kafka_security_rules(self) -> tuple[tuple[bool, str], ...]:
        """A setting without effect is refused: its operator would believe that it protects something."""
        has_tls = self.kafka_security_protocol != "PLAINTEXT"
        has_sasl = self.kafka_security_protocol == "SASL_SSL"
        return (
            (
                self.kafka_security_protocol in _SECURITY_PROTOCOLS,
                f"FALCON_KAFKA_SECURITY_PROTOCOL: must be one of {', '.join(_SECURITY_PROTOCOLS)}",
            ),
            (
                self.kafka_sasl_mechanism in _SASL_MECHANISMS,
                f"FALCON_KAFKA_SASL_MECHANISM: must be one of {', '.join(_SASL_MECHANISMS)}",
            ),
            (
                bool(self.kafka_user) == (self.kafka_password_file is not None) == has_sasl,
                "FALCON_KAFKA_USER: must be set with FALCON_KAFKA_PASSWORD_FILE and "
                "FALCON_KAFKA_SECURITY_PROTOCOL=SASL_SSL, all three or none",
            ),
            (
                (self.kafka_cert is None) == (self.kafka_key is None),
                "FALCON_KAFKA_CERT: must be set with FALCON_KAFKA_KEY",
            ),
            (
                has_tls or (self.kafka_ca is None and self.kafka_cert is None),
                "FALCON_KAFKA_CA, FALCON_KAFKA_CERT: need FALCON_KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL",
            ),
        )

    def _hbase_security_rules(self) -> tuple[tuple[bool, str], ...]:
        return (
            (
                (self.hbase_cert is None) == (self.hbase_key is None),
                "FALCON_HBASE_CERT: must be set with FALCON_HBASE_KEY",
            ),
            (
                self.hbase_cert is None or self.hbase_ca is not None,
                "FALCON_HBASE_CERT: must be set with FALCON_HBASE_CA, which turns TLS on",
            ),
        )

    def _limit_rules(self) -> list[tuple[bool, str]]:
        """Each rule: True if it holds, and the message if it does not."""
        each = [
            (0 <= getattr(self, name) <= _LIMIT_MAX, f"FALCON_{name.upper()}: must be 0 (no limit) to {_LIMIT_MAX}")
            for name in _LIMITS
        ]
        bursts = [
            (
                getattr(self, burst) == 0 or getattr(self, burst) >= getattr(self, rate),
                f"FALCON_{burst.upper()}: must be 0 or at least FALCON_{rate.upper()}, {getattr(self, rate)}",
            )
            for rate, burst in _BURSTS
        ]
        budgets = [
            (
                (value := getattr(self, name)) == 0 or least <= value <= most,
                f"FALCON_{name.upper()}: must be 0 (no limit), or {least} to {most}",
            )
            for name, least, most in _BUDGETS
        ]
        members = f"FALCON_ROOM_MEMBERS: must be 2 to {_ROOM_MEMBERS_MAX}"
        return [*each, *bursts, *budgets, (2 <= self.room_members <= _ROOM_MEMBERS_MAX, members)]


def unknown_settings(environ: Mapping[str, str] = os.environ) -> list[str]:
    """A line for each variable with a name like a setting's that is none, with the nearest setting. Kubernetes sets
    such variables, too, for services whose names begin with "falcon"."""
    import difflib  # takes milliseconds of each start of a process

    known = [field.name.upper() for field in fields(Settings)]
    lines = []
    for name in sorted(environ):
        is_link = _SERVICE_LINK.fullmatch(name) or environ[name].startswith(_SERVICE_ADDRESSES)
        own = name.removeprefix(_PREFIX)
        if own == name or own in known or name in _OF_COMMANDS or is_link:
            continue
        near = difflib.get_close_matches(own, known, n=1)
        lines.append(f"{name} is no setting of Falcon" + (f"; do you mean {_PREFIX}{near[0]}?" if near else ""))
    return lines


def says_processes(environ: Mapping[str, str] = os.environ) -> bool:
    """Otherwise a data folder that exists keeps its number of files."""
    return "FALCON_PROCESSES" in environ


def cores() -> int:
    """The cores that this process may use, of which a container's quota counts whole ones."""
    usable = len(os.sched_getaffinity(0))
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        return max(1, min(usable, int(quota) // int(period)))
    except (OSError, ValueError):  # there is no quota
        return usable


def is_loopback(host: str) -> bool:
    """Only this machine can reach this address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _are_addresses(addresses: tuple[str, ...]) -> bool:
    return all(host and port.isdigit() for host, _, port in (each.rpartition(":") for each in addresses))


def _is_text(value: str) -> bool:
    """False if it stands for bytes that are not UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _are_networks(networks: tuple[str, ...]) -> bool:
    try:
        for each in networks:
            ipaddress.ip_network(each)
    except ValueError:
        return False
    return True


def _convert(text: str, kind: Any) -> Any:
    if kind is Path:
        return Path(text)
    if kind == Path | None:
        return Path(text) if text else None
    if kind == tuple[str, ...]:
        return tuple(item.strip() for item in text.split(",") if item.strip())
    return kind(text)


def _words(kind: Any) -> str:
    return {int: "a whole number", float: "a number"}.get(kind, "a text")
