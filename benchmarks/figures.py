"""Figures as a benchmark keeps them."""

from collections.abc import Mapping
from typing import Any


def rounded(value: Any, digits: int) -> Any:
    """A value that JSON can hold, every float in it to so many significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, Mapping):
        return {key: rounded(one, digits) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one, digits) for one in value]
    return value
