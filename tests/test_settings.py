"""Settings that would let strangers in are refused."""

from dataclasses import fields

import pytest

from falcon.run.settings import Settings, WrongSettings, setting_names, unknown_settings


@pytest.mark.parametrize("networks", ["10.0.0.1/8", "nonsense", "", ","])
def test_networks_of_owners_must_be_networks(networks: str) -> None:
    with pytest.raises(WrongSettings, match="FALCON_INTERNAL_NETWORKS"):
        Settings.from_env({"FALCON_INTERNAL_NETWORKS": networks})


def test_networks_of_owners_may_be_several() -> None:
    found = Settings.from_env({"FALCON_INTERNAL_NETWORKS": "100.64.0.0/10, fd00::/8"})
    assert found.internal_networks == ("100.64.0.0/10", "fd00::/8")


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", ""])
def test_a_password_for_kafka_is_not_to_be_had_without_tls(protocol: str) -> None:
    user = {"FALCON_KAFKA_USER": "falcon-write", "FALCON_KAFKA_PASSWORD_FILE": "password"}
    with pytest.raises(WrongSettings, match=r"FALCON_KAFKA_USER.*SASL_SSL"):
        Settings.from_env({**user, "FALCON_KAFKA_SECURITY_PROTOCOL": protocol})


def test_kafka_has_a_user_with_a_password_or_neither() -> None:
    whole = {
        "FALCON_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "FALCON_KAFKA_USER": "falcon-write",
        "FALCON_KAFKA_PASSWORD_FILE": "password",
    }
    assert Settings.from_env(whole).kafka_sasl_mechanism == "SCRAM-SHA-512"
    for name in whole:
        with pytest.raises(WrongSettings, match="FALCON_KAFKA_USER"):
            Settings.from_env({other: value for other, value in whole.items() if other != name})


@pytest.mark.parametrize(
    "settings",
    [
        {"FALCON_KAFKA_CA": "ca.crt"},
        {"FALCON_KAFKA_CERT": "tls.crt", "FALCON_KAFKA_KEY": "tls.key"},
        {"FALCON_KAFKA_SECURITY_PROTOCOL": "SSL", "FALCON_KAFKA_CERT": "tls.crt"},
        {"FALCON_KAFKA_SECURITY_PROTOCOL": "SSL", "FALCON_KAFKA_KEY": "tls.key"},
        {"FALCON_KAFKA_SASL_MECHANISM": "SCRAM-SHA-1"},
        {"FALCON_HBASE_CERT": "tls.crt", "FALCON_HBASE_KEY": "tls.key"},
        {"FALCON_HBASE_CA": "ca.crt", "FALCON_HBASE_KEY": "tls.key"},
    ],
)
def test_what_would_protect_nothing_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(WrongSettings, match=r"FALCON_(KAFKA|HBASE)_"):
        Settings.from_env(settings)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("FALCON_PORT", "FALCON_OPS_PORT"),
        ("FALCON_LIMTS", "FALCON_LIMITS"),
        ("FALCON_DATADIR", "FALCON_DATA_DIR"),
        ("FALCON_KAFKA_PASSWORD", "FALCON_KAFKA_PASSWORD_FILE"),
    ],
)
def test_a_misspelt_setting_is_named_with_the_nearest_one(name: str, nearest: str) -> None:
    assert unknown_settings({name: "8390"}) == [f"{name} is no setting of Falcon; do you mean {nearest}?"]


@pytest.mark.parametrize("name", ["FALCON_KAFKA_COMPRESSION", "FALCON_ACCOUNT_BURST", "FALCON_ROOM_MEMBERS"])
def test_what_was_a_setting_once_is_said_to_be_fixed(name: str) -> None:
    assert unknown_settings({name: "7"}) == [f"{name} is no setting any more: docs/settings.md says what is fixed"]
    assert Settings.from_env({name: "7"}) == Settings.from_env({})


def test_a_name_like_no_setting_is_named_alone() -> None:
    assert unknown_settings({"FALCON_XYZZY": ""}) == ["FALCON_XYZZY is no setting of Falcon"]


def test_settings_variables_of_commands_and_those_of_kubernetes_are_not_named() -> None:
    service = {
        "SERVICE_HOST": "10.0.0.7",
        "SERVICE_PORT": "8080",
        "SERVICE_PORT_HTTP": "8080",
        "PORT": "tcp://10.0.0.7:8080",
        "PORT_8080_TCP": "tcp://10.0.0.7:8080",
        "PORT_8080_TCP_PROTO": "tcp",
        "PORT_8080_TCP_PORT": "8080",
        "PORT_8080_TCP_ADDR": "10.0.0.7",
    }
    links = {f"FALCON_{of}{name}": value for of in ("", "API_", "WRITE_INTERNAL_") for name, value in service.items()}
    own = {"FALCON_HTTP_PORT": "80", "FALCON_URL": "http://127.0.0.1:8080", "FALCON_TOKEN": "t", "HOME": "/"}
    assert unknown_settings({**links, **own}) == []


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("HTTP_PORT", "high", "a whole number from 0 to 65535"),
        ("HTTP_PORT", "65536", "a whole number from 0 to 65535"),
        ("MAILBOX_BOUND", "0", "a whole number of at least 1"),
        ("COMMAND_SECONDS", "0", "a number above 0, at most 60"),
        ("COMMAND_SECONDS", "nan", "a number above 0, at most 60"),
        ("LOG_LEVEL", "loud", "one of debug, info, warning, error"),
    ],
)
def test_a_wrong_value_is_shown_with_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(WrongSettings) as wrong:
        Settings.from_env({f"FALCON_{name}": value})
    assert str(wrong.value) == f"FALCON_{name}={value}: must be {allowed}"


def test_every_default_is_allowed() -> None:
    defaults = {
        f"FALCON_{field.name.upper()}": str(field.default)
        for field in fields(Settings)
        if field.name in setting_names() and isinstance(field.default, str | int | float)
    }
    assert Settings.from_env(defaults) == Settings()
