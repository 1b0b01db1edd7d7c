"""A way in from outside: a listening socket of the outer network, served from the inner one.

A socket stays in the network namespace it was made in.  So the outer process binds it and hands it down,
and the inner one accepts on it and connects to a port that only it can see.
"""

import asyncio
import contextlib
import socket
import threading

CHUNK_BYTES = 256 * 1024


def listen() -> socket.socket:
    """A listening socket on a random loopback port, ready to be inherited."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.set_inheritable(True)
    return listener


def serve_in_thread(listener: socket.socket, port: int) -> None:
    """Relay every connection of `listener` to 127.0.0.1:`port`, until the process ends."""
    thread = threading.Thread(target=lambda: asyncio.run(_serve(listener, port)), name="relay", daemon=True)
    thread.start()


async def _serve(listener: socket.socket, port: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port, limit=CHUNK_BYTES)
        except OSError:
            writer.close()
            return
        async with asyncio.TaskGroup() as both_ways:
            both_ways.create_task(_copy(reader, inner_writer))
            both_ways.create_task(_copy(inner_reader, writer))

    server = await asyncio.start_server(connected, sock=listener, limit=CHUNK_BYTES)
    await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()  # One direction may end before the other.
