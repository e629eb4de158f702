"""How long an adapter waits for its store."""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext

UNBOUNDED: nullcontext[None] = nullcontext()


def bound(seconds: float | None) -> AbstractAsyncContextManager[object]:
    """A block that raises TimeoutError after so many seconds. With None it is bounded by its caller, as by
    the gateway's stages, and spared a second clock for every call."""
    return UNBOUNDED if seconds is None else asyncio.timeout(seconds)
