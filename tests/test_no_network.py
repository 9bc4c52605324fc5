"""No test reaches a network, and one that tries fails: all that the tests train is trained with sockets blocked."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

pytest_plugins = ("pytester",)


def test_a_connection_within_this_machine_is_made() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


@pytest.mark.parametrize(
    "body", ["socket.create_connection(('192.0.2.1', 80))", "socket.getaddrinfo('example.org', 80)"]
)
def test_a_test_that_tries_to_leave_it_fails_also_where_it_swallows_the_error(
    pytester: pytest.Pytester, repository: Path, body: str
) -> None:
    pytester.makeconftest((repository / "tests/conftest.py").read_text())
    pytester.makepyfile(f"""
        import contextlib, socket

        def test_leaving():
            with contextlib.suppress(OSError):
                {body}
    """)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
