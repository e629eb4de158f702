"""Some rows of a user's file on their way in: every value as text, every row with its line."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from pipelines.reject import Reject

ROWS = 50_000


@dataclass(frozen=True)
class Chunk:
    """Rows of a file, the columns that the mapping needs as text ("" where there is nothing)."""

    table: pd.DataFrame
    lines: Sequence[int]
    raw: Sequence[str] = ()
    rejects: Sequence[Reject] = ()  # rows of this stretch of the file that are not even rows

    def text(self, row: int) -> str:
        """What stood in the file."""
        return self.raw[row] if self.raw else json.dumps(self.table.iloc[row].to_dict(), ensure_ascii=False)


def frame(table: pa.Table) -> pd.DataFrame:
    """Text columns that stay in Arrow's memory: a tenth of the objects, and several times as fast to look through."""
    made: pd.DataFrame = table.to_pandas(types_mapper={pa.string(): pd.StringDtype("pyarrow")}.get)
    return made
