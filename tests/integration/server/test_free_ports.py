"""Ports that services of one's own get: free, and of a kind that no outgoing connection takes meanwhile."""

import socket
from pathlib import Path

import pytest

from meeshy_sfu.errors import StartError
from meeshy_sfu.free_ports import PORTS, free_ports


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for _ in range(20):
            assert port not in free_ports(1, among=[port, *PORTS[:3]])


def test_ports_differ_and_are_outside_the_range_of_outgoing_connections() -> None:
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found = free_ports(50)
    assert len(set(found)) == 50
    assert max(found) < first_outgoing


def test_without_a_free_port_the_range_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"between {port} and {port}"):
            free_ports(1, among=[port])
