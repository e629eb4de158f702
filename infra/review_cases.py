"""The list of predictions that wait for a person's label, beside the log: what a case is made of, how many there are.

By system a sorted set of prediction ids by their time, and a hash of the cases. A case comes with its prediction and
goes with a reviewer's outcome, in the same step as the log's own entry; the list is bounded, for nobody need ever look
at it, and what falls off its end is still in the archive.
"""

from datetime import datetime

import orjson

from contracts.records import PredictionRecord, ReviewCase

MOST_CASES = 10_000  # of a system; the oldest fall off
REVIEWS = "flywheel:reviews"

NEWEST = """
local ids = redis.call('ZREVRANGE', KEYS[1], 0, ARGV[1] - 1)
if #ids == 0 then return {} end
return redis.call('HMGET', KEYS[2], unpack(ids))
"""


def keys(system: str) -> tuple[str, str]:
    """The sorted set of a system, and its hash."""
    return f"{REVIEWS}:{system}", f"{REVIEWS}:{system}:cases"


def case_of(record: PredictionRecord) -> ReviewCase:
    """What a person is shown of a prediction."""
    return ReviewCase(
        prediction_id=record.prediction_id,
        system=record.system,
        at=record.at,
        model_version=record.model_version,
        request=record.request,
        result=record.result,
    )


def packed(record: PredictionRecord) -> bytes:
    """The case of a prediction as it lies in Redis: JSON."""
    case = {
        "id": record.prediction_id,
        "system": record.system,
        "at": record.at.isoformat(),
        "model_version": record.model_version,
        "request": record.request,
        "result": record.result,
    }
    return orjson.dumps(case, option=orjson.OPT_SERIALIZE_NUMPY)


def unpacked(content: bytes) -> ReviewCase:
    """The case that `packed` wrote."""
    found = orjson.loads(content)
    at = datetime.fromisoformat(found["at"])
    return ReviewCase(found["id"], found["system"], at, found["model_version"], found["request"], found["result"])
