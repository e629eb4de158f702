"""Latency against arrival rate, for each number of candidates and each contender."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.serving.contenders import CONTENDERS
from benchmarks.serving.report import Results, rate

COLOURS = {"usual": "#b3541e", "floor": "#7a7a7a", "flywheel": "#1f5fa8"}


def draw(found: Results, path: Path) -> None:
    """Write the plot as SVG; the same results make the same bytes."""
    with mpl.rc_context({"svg.hashsalt": "flywheel", "font.size": 9}):
        picture(found).savefig(path, metadata={"Date": None})


def picture(found: Results) -> Figure:
    """A panel for each number of candidates; p99 in full, p50 in dashes, its own saturation as a dotted line."""
    numbers = list(found["open"][CONTENDERS[0].name])
    figure = Figure(figsize=(4 * len(numbers), 3.8), layout="constrained")
    for panel, candidates in zip(figure.subplots(1, len(numbers), squeeze=False)[0], numbers, strict=True):
        for contender in CONTENDERS:
            _draw(panel, found, contender.name, contender.title, candidates)
        panel.set(
            xscale="log",
            yscale="log",
            title=f"{candidates} candidate{'' if candidates == '1' else 's'} a request",
            xlabel="arrivals a second (Poisson)",
            ylabel="latency from when it was due, ms",
        )
        panel.grid(True, which="major", alpha=0.3)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=2 * len(CONTENDERS), fontsize=8)
    return figure


def _draw(panel: Any, found: Results, name: str, title: str, candidates: str) -> None:
    points = sorted(found["open"][name][candidates], key=lambda one: float(one["rate"]))
    rates = [one["rate"] for one in points]
    for percentile, style in (("p99", "-"), ("p50", "--")):
        label = f"{title}, {percentile}"
        values = [one["found"][percentile] for one in points]
        panel.plot(rates, values, style, marker="o", markersize=3, color=COLOURS[name], label=label)
    panel.axvline(rate(found["closed"][name][candidates]), linestyle=":", color=COLOURS[name], linewidth=1)
