"""Settings that would let strangers in are refused."""

import pytest

from falcon.settings import Settings, WrongSettings


@pytest.mark.parametrize("networks", ["10.0.0.1/8", "nonsense", "", ","])
def test_networks_of_owners_must_be_networks(networks: str) -> None:
    with pytest.raises(WrongSettings, match="FALCON_INTERNAL_NETWORKS"):
        Settings.from_env({"FALCON_INTERNAL_NETWORKS": networks})


def test_networks_of_owners_may_be_several() -> None:
    found = Settings.from_env({"FALCON_INTERNAL_NETWORKS": "100.64.0.0/10, fd00::/8"})
    assert found.internal_networks == ("100.64.0.0/10", "fd00::/8")
