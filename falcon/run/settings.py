"""The settings, read once from the environment when a process starts."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

_PREFIX: Final = "FALCON_"
# Loopback, and the networks that are not routed over the internet (RFC 1918, RFC 4193).
_INTERNAL_NETWORKS: Final = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
_HBASE_COMPRESSIONS: Final = ("ZSTD", "SNAPPY", "LZ4", "GZ")  # HBase's names
# Budgets of an account, with the least that each may be if it is not 0. A message has up to 64 KiB.
_BUDGETS: Final = (("account_bytes_sent", 64 << 10), ("account_bytes_a_day", 1 << 20))
PROCESSES_MAX: Final = 32
_MANY_CORES: Final = 4  # from here on one process a core, and a core for everything else
_CPU_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


# Settings of an earlier Falcon that are fixed now, besides Constants.
_FIXED: Final = (
    *("body_max", "connections", "kafka_compression", "kafka_fetch_min_bytes", "kafka_local_retention_seconds"),
    *("passivate_seconds", "project_seconds", "read_seconds", "refusal_age_seconds"),
    *("stream_events_bytes", "telemetry"),
)
# Variables of the command line, which are no settings.
_OF_COMMANDS: Final = ("FALCON_URL", "FALCON_TOKEN", "FALCON_ADMIN_TOKEN")
# https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
_SERVICE_LINK: Final = re.compile(r"FALCON_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_ADDRESSES: Final = ("tcp://", "udp://", "sctp://")


# Without TLS on this machine only, as browsers keep cookies.
_ORIGIN: Final = re.compile(r"(https://[a-z0-9.-]+|http://(localhost|127\.0\.0\.1|\[::1\]))(:[0-9]{1,5})?")

_OPENSEARCH: Final = re.compile(r"https?://[^\s/]+/?")

_Port: TypeAlias = Annotated[int, Meta(ge=0, le=65_535)]
_Limit: TypeAlias = Annotated[int, Meta(ge=0, le=1_000_000)]
_ToAMinute: TypeAlias = Annotated[float, Meta(gt=0, le=60)]
_AtLeast1: TypeAlias = Annotated[int, Meta(ge=1)]
_AtLeast1MiB: TypeAlias = Annotated[int, Meta(ge=1 << 20)]


class WrongSettings(Exception):
    """Some settings are wrong. The message has a line for each, with what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """Values that no operator has had to set. Tests give other values; the environment cannot."""

    # A person's client repeats a command for minutes at most, and an owner must remember each key for so long.
    answer_window_seconds: float = 600.0
    # Each stream takes 24 to 32 KiB, so these take 300 MiB.
    streams_max: int = 10_000
    # A client that was away sends its outbox at once.
    account_burst: int = 100
    # Six connections of a browser, in ten windows.
    account_requests: int = 64
    # Windows and devices of a person; FALCON_ACCOUNT_LIMITS_FILE gives a bot more.
    account_streams: int = 16
    # 33 a second for the answer window. FALCON_ANSWERS_BYTES holds the keys of a hundred such accounts.
    account_keys: int = 20_000
    # A person makes tens; each is a row in the lists of all its members.
    account_rooms_a_day: int = 500
    # A tenth of a core, with twenty times as much at once.
    account_cpu_ms: int = 100
    # The most for which checkpoints and lists of members are measured.
    room_members: int = 0  # domain.limits.MEMBERS_MAX
    # Of a projection's batch. A larger one is applied no faster.
    project_events: int = 2_000
    # An office behind one address opens its pages at the same time.
    address_burst: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Constants):
    """Each field, but those of Constants, is FALCON_ and its name in capitals. docs/settings.md explains them."""

    host: str = "127.0.0.1"
    http_port: _Port = 8080
    ops_host: str = "127.0.0.1"
    ops_port: Annotated[int, Meta(ge=-1, le=65_535)] = 8081
    ops_token_file: Path | None = None
    data_dir: Path = Path("data")
    partitions: Annotated[int, Meta(ge=1, le=4_096)] = 64
    processes: Annotated[int, Meta(ge=1, le=PROCESSES_MAX)] = 1
    mailbox_bound: _AtLeast1 = 2_000
    command_seconds: _ToAMinute = 5.0
    answers_bytes: _AtLeast1MiB = 512 << 20
    hot_aggregates: _AtLeast1 = 2_000
    stream_buffer: Annotated[int, Meta(ge=16_384)] = 256 << 10
    stream_events: Annotated[int, Meta(ge=100)] = 60_000
    cors_origins: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    oidc_file: Path | None = None
    mail_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    plaintext: Literal["yes", "no"] = "no"
    limits: Literal["on", "off", "auto"] = "auto"
    account_commands: _Limit = 20
    account_reads: _Limit = 50
    account_rooms: _Limit = 5_000
    account_bytes_sent: Annotated[int, Meta(ge=0, le=1 << 40)] = 2 << 20
    account_bytes_a_day: Annotated[int, Meta(ge=0, le=1 << 50)] = 256 << 20
    account_limits_file: Path | None = None
    room_messages: _Limit = 50
    address_requests: _Limit = 20
    address_connections: _Limit = 500
    hsts_seconds: Annotated[int, Meta(ge=0, le=63_072_000)] = 0  # at most two years
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"
    run_dir: str = ""
    start_seconds: Annotated[float, Meta(ge=0, le=3_600)] = 0.0
    # Of a cluster
    kafka: tuple[str, ...] = ()
    kafka_prefix: str = "falcon."
    kafka_replicas: Annotated[int, Meta(ge=1, le=9)] = 3
    # SASL without TLS is not among them: a password would travel in clear.
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["SCRAM-SHA-512", "PLAIN"] = "SCRAM-SHA-512"
    kafka_user: str = ""
    kafka_password_file: Path | None = None
    kafka_ca: Path | None = None
    kafka_cert: Path | None = None
    kafka_key: Path | None = None
    kafka_rack: str = ""
    append_seconds: Annotated[float, Meta(ge=1, le=60)] = 10.0
    session_seconds: Annotated[float, Meta(ge=2, le=60)] = 6.0
    internal_port: _Port = 8082
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
    read_threads: Annotated[int, Meta(ge=1, le=256)] = 16
    project_threads: Annotated[int, Meta(ge=1, le=64)] = 4
    opensearch_url: str = ""

    def require(self, *names: str) -> None:
        """Raises WrongSettings for the ones that are not set, and must be for what is to run."""
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
        types = get_type_hints(cls, include_extras=True)
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for field in setting_names():
            name = _PREFIX + field.upper()
            if name in environ:
                try:
                    values[field] = _convert(environ[name], types[field])
                except msgspec.ValidationError:
                    wrong.append(f"{name}={environ[name]}: must be {_allowed(types[field])}")
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
        """Yields what the bounds of single settings do not say."""
        has_tls = self.kafka_security_protocol != "PLAINTEXT"
        has_sasl = self.kafka_security_protocol == "SASL_SSL"
        rules = (
            (_is_text(str(self.data_dir)), "FALCON_DATA_DIR: must be UTF-8, as the names of SQLite's files are"),
            (
                self.processes <= self.partitions,
                f"FALCON_PROCESSES: must be at most FALCON_PARTITIONS, {self.partitions}",
            ),
            (
                self.processes == 1 or not self.kafka,
                "FALCON_PROCESSES: more than one is for falcon up, which uses no FALCON_KAFKA",
            ),
            *(
                (
                    (getattr(self, f"{whose}_cert") is None) == (getattr(self, f"{whose}_key") is None),
                    f"FALCON_{whose.upper()}_CERT: must be set with FALCON_{whose.upper()}_KEY",
                )
                for whose in ("tls", "kafka", "hbase")
            ),
            (
                _are_networks(self.trusted_proxies),
                "FALCON_TRUSTED_PROXIES: must be networks such as 10.4.0.0/16,fd00::/8, with commas between",
            ),
            (
                all(_ORIGIN.fullmatch(each) for each in self.allowed_origins),
                "FALCON_ALLOWED_ORIGINS: must be origins such as https://chat.example, with commas between",
            ),
            *(
                (
                    getattr(self, name) == 0 or getattr(self, name) >= least,
                    f"FALCON_{name.upper()}: must be 0 (no limit) or at least {least}",
                )
                for name, least in _BUDGETS
            ),
            (_are_addresses(self.kafka), "FALCON_KAFKA: must be host:port[,host:port...], some of the brokers"),
            (_are_addresses(self.hbase), "FALCON_HBASE: must be host:port[,host:port...], HBase's Thrift gateways"),
            (
                not self.opensearch_url or _OPENSEARCH.fullmatch(self.opensearch_url) is not None,
                "FALCON_OPENSEARCH_URL: must be an address such as https://opensearch:9200",
            ),
            (
                self.internal_networks != () and _are_networks(self.internal_networks),
                "FALCON_INTERNAL_NETWORKS: must be networks such as 10.0.0.0/8,fc00::/7, with commas between",
            ),
            (
                set(self.hbase_compression) <= set(_HBASE_COMPRESSIONS),
                f"FALCON_HBASE_COMPRESSION: must be of {', '.join(_HBASE_COMPRESSIONS)}, or empty",
            ),
            # A setting without effect is refused: its operator would believe that it protects something.
            (
                bool(self.kafka_user) == (self.kafka_password_file is not None) == has_sasl,
                "FALCON_KAFKA_USER: must be set with FALCON_KAFKA_PASSWORD_FILE and "
                "FALCON_KAFKA_SECURITY_PROTOCOL=SASL_SSL, all three or none",
            ),
            (
                has_tls or (self.kafka_ca is None and self.kafka_cert is None),
                "FALCON_KAFKA_CA, FALCON_KAFKA_CERT: need FALCON_KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL",
            ),
            (
                self.hbase_cert is None or self.hbase_ca is not None,
                "FALCON_HBASE_CERT: must be set with FALCON_HBASE_CA, which turns TLS on",
            ),
        )
        return [rule for holds, rule in rules if not holds]


def setting_names() -> list[str]:
    """The fields that the environment sets."""
    return [field.name for field in fields(Settings) if field.name not in Constants.__annotations__]


def unknown_settings(environ: Mapping[str, str] = os.environ) -> list[str]:
    """A line for each variable with a name like a setting's that is none, with the nearest setting. Kubernetes sets
    such variables, too, for services whose names begin with "falcon"."""
    import difflib  # takes milliseconds of each start of a process

    known = [name.upper() for name in setting_names()]
    lines = []
    for name in sorted(environ):
        is_link = _SERVICE_LINK.fullmatch(name) or environ[name].startswith(_SERVICE_ADDRESSES)
        own = name.removeprefix(_PREFIX)
        if own == name or own in known or name in _OF_COMMANDS or is_link:
            continue
        if own.lower() in _FIXED or own.lower() in Constants.__annotations__:
            lines.append(f"{name} is no setting any more: docs/settings.md says what is fixed")
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
    """Raises msgspec.ValidationError for a number or a word that the type does not allow."""
    if kind is Path:
        return Path(text)
    if kind == Path | None:
        return Path(text) if text else None
    if kind == tuple[str, ...]:
        return tuple(item.strip() for item in text.split(",") if item.strip())
    return msgspec.convert(text.strip(), kind, strict=False)


def _allowed(kind: Any) -> str:
    """Says what a setting of this type may be, as the end of a sentence."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    number, *metas = get_args(kind) or (kind,)
    words = "a whole number" if number is int else "a number"
    for meta in metas:
        if meta.ge is not None and meta.le is not None:
            return f"{words} from {meta.ge} to {meta.le}"
        low = f" of at least {meta.ge}" if meta.ge is not None else f" above {meta.gt}"
        words += low + (f", at most {meta.le}" if meta.le is not None else "")
    return words
