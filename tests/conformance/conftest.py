"""One small world for each system that is there, and for one fresh from `flywheel new`, shared by all sentences."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import systems
from contracts.system import System
from infra.new_system import make
from tests.conformance.sample import Sample, sampled

MADE = "fresh_from_new"


@contextmanager
def made(where: Path) -> Iterator[System]:
    """A system as `flywheel new` makes it, in a folder that is searched beside systems/ for as long as it is needed."""
    with pytest.MonkeyPatch.context() as patch:
        make(MADE, where)
        patch.setenv("FLYWHEEL_SYSTEMS_DIR", str(where))
        patch.setattr(systems, "__path__", [*systems.__path__])
        try:
            yield systems.load(MADE)
        finally:
            systems.load.cache_clear()
            for name in [name for name in sys.modules if name.startswith(f"systems.{MADE}")]:
                del sys.modules[name]


@pytest.fixture(scope="package", params=[*systems.names(), MADE])
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    if request.param == MADE:
        with made(tmp_path_factory.mktemp("systems")) as fresh:
            yield sampled(fresh)
    else:
        yield sampled(systems.load(request.param))


@pytest.fixture
def system(sample: Sample) -> System:
    return sample.system
