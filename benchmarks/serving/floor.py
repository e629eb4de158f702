"""The floor: the least that still reads features, scores and logs. One bare ASGI process; nothing is checked.

Redis is asked once a request for the user and every candidate, in one pipeline of HMGET over the layout that Feast
writes; ONNX Runtime scores; XADD keeps the answer. No key, no validation, no freshness, no deadline, no fallback, and
the answer is the log's only for as long as the stream is long.
"""

import itertools
from typing import Any

import numpy as np
import onnxruntime
import orjson
import redis.asyncio as redis
import uvicorn
from numpy.typing import NDArray
from starlette.types import Receive, Scope, Send

from benchmarks.serving.contenders import FLOOR, floor_settings
from benchmarks.serving.ranking import CHAMPION, SYSTEM, TOP, kept
from infra.feast_layout import FeastLayout
from infra.settings import Settings

STREAM, KEPT = "benchmark:floor", 10_000  # entries; more would be the machine's memory and tell nothing
JSON = [(b"content-type", b"application/json")]


class Floor:
    """The ASGI application: every POST is a request for a ranking, every GET a look whether it is there."""

    def __init__(self, settings: Settings) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        model = str(kept(settings, CHAMPION))
        self.session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.user, self.item = (FeastLayout.of(SYSTEM, view) for view in SYSTEM.features.views)
        self.pool = redis.ConnectionPool.from_url(settings.redis)
        self.log = redis.Redis.from_url(floor_settings(settings).redis)
        self.numbers = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            answer = b"{}" if scope["method"] == "GET" else await self.ranked(orjson.loads(await _body(receive)))
            headers = [*JSON, (b"content-length", b"%d" % len(answer))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer})

    async def ranked(self, request: dict[str, Any]) -> bytes:
        """Features, scores, the log, the answer."""
        items = request["item_ids"]
        matrix = await self.features(request["user_id"], items)
        scores = self.session.run(["probabilities"], {self.input: matrix})[0][:, 1]
        best = np.argsort(-scores, kind="stable")[:TOP]
        answer: bytes = orjson.dumps(
            {"item_ids": [items[row] for row in best.tolist()], "scores": scores[best].tolist()}
        )
        entry = {
            "id": str(next(self.numbers)),
            "request": orjson.dumps(request),
            "features": matrix.tobytes(),
            "scores": scores.tobytes(),
            "answer": answer,
        }
        await self.log.xadd(STREAM, entry, maxlen=KEPT, approximate=True)  # type: ignore[arg-type]  # str keys are fine
        return answer

    async def features(self, user: str, items: list[str]) -> NDArray[np.float32]:
        """Candidates × features, the user's own before the item's, in one round trip."""
        commands = [*self.user.asking([(user,)]), *self.item.asking([(item,) for item in items])]
        connection = await self.pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py's has no types
        try:
            await connection.send_packed_command(b"".join(commands), check_health=False)
            replies = [await connection.read_response(disable_decoding=True) for _ in commands]
        finally:
            await self.pool.release(connection)
        own, each = self.user.read(replies[:1]).values, self.item.read(replies[1:]).values
        return np.hstack([np.repeat(own, len(items), axis=0), each])


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        piece: bytes = message.get("body", b"")
        body += piece
        if not message.get("more_body"):
            return body


def main() -> None:
    """Serve until told to stop."""
    settings = Settings.load()
    uvicorn.run(
        Floor(settings),
        host=settings.host,
        port=getattr(settings, FLOOR.port),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
