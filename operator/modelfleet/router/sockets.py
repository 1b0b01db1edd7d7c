"""What only the socket below a transport knows or can do."""

import asyncio
import errno
import fcntl
import resource
import socket
import struct
import termios

from modelfleet.router.crowd import CLIENTS_MAX

_LINGER_NOT = struct.pack("ii", 1, 0)
_INT = struct.Struct("i")
_OWN_FILES = 256  # not of clients: the API server, logs, kept-alive connections, modules
# We have no socket left, which is no fault of whom we wanted to call.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


def clients_max() -> int:
    """How many clients this process can have: each may need a connection to an engine.

    Takes as many file descriptors as the kernel grants: what most container runtimes begin with is a thousand.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return CLIENTS_MAX
    return max(1, (hard - min(_OWN_FILES, hard // 4)) // 2)


def refused(err: OSError | UnicodeError) -> str:
    """Why a connection could not be made, in one word."""
    return "NoSocket" if isinstance(err, OSError) and err.errno in _OURS else "Refused"


def untaken_bytes(transport: asyncio.Transport) -> int:
    """Bytes that the other side has not taken yet, here and in the kernel; while they become fewer, it reads."""
    found = transport.get_extra_info("socket")
    try:
        in_kernel: int = _INT.unpack(fcntl.ioctl(found.fileno(), termios.TIOCOUTQ, bytes(_INT.size)))[0]
    except (OSError, ValueError):
        return 0  # it is closed
    return transport.get_write_buffer_size() + in_kernel


def reset(transport: asyncio.Transport) -> None:
    """Where the end of the connection is the end of the answer, only a reset tells that it broke off."""
    found = transport.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()
