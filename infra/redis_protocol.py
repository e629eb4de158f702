"""Commands as Redis reads them (RESP), for readers that send many in one piece."""


def packed(*parts: bytes) -> bytes:
    """A command and its arguments."""
    return b"*%d\r\n%b" % (len(parts), b"".join(map(bulk, parts)))


def bulk(value: bytes) -> bytes:
    """One argument."""
    return b"$%d\r\n%b\r\n" % (len(value), value)
