"""Ports for servers under test: free, and never the port of a client."""

import socket
from pathlib import Path

import pytest

from tools.harness import ports
from tools.harness.ports import HOST, free_port, is_free


def test_each_port_is_free_and_another_one() -> None:
    found = [free_port() for _ in range(50)]
    assert len(set(found)) == 50
    assert all(map(is_free, found))


def test_a_port_on_which_another_server_listens_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ports._taken
    taken = free_port()
    with socket.create_server((HOST, taken)):
        monkeypatch.setattr(ports, "_taken", before)
        assert free_port() != taken


def test_the_kernel_gives_these_ports_to_no_client() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert free_port() < lowest


def test_a_port_that_a_client_has_is_lost_to_its_server() -> None:
    """So a server that goes down for a moment must not have one of the kernel's ports for clients."""
    with socket.create_server((HOST, 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert not is_free(client.getsockname()[1])
