"""Bytes go both ways through the relay, and the end of one direction is passed on."""

import socket
import threading

from e2e.cluster import relay


def test_an_echo_comes_back_whole() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_echo_once, args=(server,), daemon=True).start()
        listener = relay.listen()
        relay.serve_in_thread(listener, server.getsockname()[1])
        sent = bytes(range(256)) * 8192
        with socket.create_connection(listener.getsockname(), timeout=10) as client:
            threading.Thread(target=_send_all, args=(client, sent), daemon=True).start()
            received = b"".join(iter(lambda: client.recv(65536), b""))

    assert received == sent


def _send_all(client: socket.socket, content: bytes) -> None:
    client.sendall(content)
    client.shutdown(socket.SHUT_WR)


def _echo_once(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        content = b"".join(iter(lambda: connection.recv(65536), b""))
        connection.sendall(content)
