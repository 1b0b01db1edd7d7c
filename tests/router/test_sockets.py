import errno
import resource
import socket

import pytest

from modelfleet.router import sockets

CAUSES = {
    "nobody listens there": (ConnectionRefusedError(errno.ECONNREFUSED, ""), "Refused"),
    "no such name": (socket.gaierror(-2, "Name or service not known"), "Refused"),
    "a name that is none": (UnicodeError("label too long"), "Refused"),
    "we have no file left": (OSError(errno.EMFILE, ""), "NoSocket"),
    "we have no port left": (OSError(errno.EADDRNOTAVAIL, ""), "NoSocket"),
}


@pytest.mark.parametrize(("err", "want"), CAUSES.values(), ids=CAUSES)
def test_why_a_connection_could_not_be_made(err: OSError | UnicodeError, want: str):
    assert sockets.refused(err) == want


def test_two_connections_of_each_client_fit_in_what_the_kernel_grants():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert 0 < 2 * sockets.clients_max() < hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
