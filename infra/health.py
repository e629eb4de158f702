"""Health as the supervisor asks for it: a GET that answers 2xx, or a Redis that answers PING."""

from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def fault(url: str, timeout: float) -> str:
    """Why what answers at `url` is not healthy, within `timeout` seconds; empty when it is."""
    return _redis_fault(url, timeout) if url.startswith("redis://") else _http_fault(url, timeout)


def _http_fault(url: str, timeout: float) -> str:
    parts = urlsplit(url)
    # Not urllib: it would go through a proxy that the machine's environment names.
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path or "/")
        status = connection.getresponse().status
        return "" if 200 <= status < 300 else f"{parts.path} answers {status}"
    except TimeoutError:
        return f"{parts.path} did not answer within {timeout:g} s"
    except (OSError, HTTPException) as error:
        return f"port {parts.port}: {_words(error)}"
    finally:
        connection.close()


def _redis_fault(url: str, timeout: float) -> str:
    once = Retry(NoBackoff(), 0)
    try:
        with redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=once) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        return f"port {urlsplit(url).port}: {error}"
    return ""


def _words(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
