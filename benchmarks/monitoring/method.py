"""Which code was measured: a digest of a method's sources, which comments, docstrings and layout do not change."""

import ast
import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[2] / "monitoring"
SOURCES = {
    "data_drift": (
        *(f"data_drift/{name}.py" for name in ("columns", "sketch", "contrasts", "season", "spread", "evidence")),
        *(f"data_drift/{name}.py" for name in ("calibration", "reference", "verdict")),
    ),
    "concept_drift": tuple(f"concept_drift/{name}.py" for name in ("bound", "cusum", "detector")),
    "estimated_performance": ("estimated.py", "calibration_curve.py", "density_ratio.py"),
}


def digest(benchmark: str) -> str:
    """Of the sources of the method that a benchmark measures, as they are now."""
    found = hashlib.sha256()
    for name in SOURCES[benchmark]:
        found.update(code_of((ROOT / name).read_text()).encode())
    return found.hexdigest()[:12]


def code_of(source: str) -> str:
    """What a module does, without what is said about it."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
