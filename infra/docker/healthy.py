"""A container's health check: `python -I -S healthy.py PORT PATH`, status 0 when the service here answers 2xx.

On sockets alone and without the site packages: it runs every few seconds in every container, and importing
an HTTP library would cost more than the check.
"""

import socket
import sys

SECONDS = 4.0  # less than the check's own timeout in compose.yaml, so that what is wrong gets said


def fault(port: int, path: str) -> str:
    """Why what listens on `port` is not healthy; empty when it is."""
    try:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            with connection.makefile("rb") as answer:
                status = answer.readline().decode("latin-1").strip()
                answer.read()  # to its end: a server that is left in the middle of an answer logs it as an error
    except OSError as error:
        return f"port {port}: {error}"
    return "" if status.partition(" ")[2].startswith("2") else f"{path} answers {status or 'nothing'}"


if __name__ == "__main__":
    sys.exit(fault(int(sys.argv[1]), sys.argv[2]) or 0)
