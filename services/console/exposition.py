"""Prometheus' text format, read back: the console takes its figures from what the parts tell Prometheus anyway."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from contracts.errors import FlywheelError, Unavailable

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Exposition:
    """The samples of one scrape, by name."""

    samples: Mapping[str, tuple[tuple[Labels, float], ...]]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a scrape; ValueError where it is none."""
        found: defaultdict[str, list[tuple[Labels, float]]] = defaultdict(list)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name].append((sample.labels, float(sample.value)))
        return cls({name: tuple(each) for name, each in found.items()})

    def total(self, name: str, **labels: str | None) -> float:
        """The sum of a metric's samples with these labels (None: whatever it is); 0 where there are none."""
        return sum(value for _, value in self._matching(name, labels))

    def by_label(self, name: str, label: str, **labels: str | None) -> dict[str, float]:
        """A metric's samples with these labels, added up by another label: buckets by `le`, for example."""
        found: defaultdict[str, float] = defaultdict(float)
        for each, value in self._matching(name, labels):
            found[each[label]] += value
        return dict(found)

    def _matching(self, name: str, labels: Mapping[str, str | None]) -> Iterator[tuple[Labels, float]]:
        for each, value in self.samples.get(name, ()):
            if all(wanted is None or each.get(label) == wanted for label, wanted in labels.items()):
                yield each, value


async def scrape(client: httpx.AsyncClient, name: str) -> Exposition:
    """What the part called `name` tells at /metrics; `Unavailable` when it does not answer, FlywheelError when that is
    no text of metrics."""
    try:
        answer = await client.get("/metrics")
        answer.raise_for_status()
        return Exposition.parse(answer.text)
    except httpx.HTTPError as error:
        raise Unavailable(f"{name} at {client.base_url} does not answer ({type(error).__name__}).") from error
    except ValueError as error:
        raise FlywheelError(f"{name} at {client.base_url} gave no text of metrics; is it what it is called?") from error
