"""What the tests of a studio that is open share; each module has its own `place`."""

from collections.abc import Iterator

import httpx
import pytest

from impasto.errors import use_option_names
from studios import Place


@pytest.fixture(scope="package", autouse=True)
def _as_on_the_command_line() -> Iterator[None]:
    """Messages name options, as under `impasto serve`; page and API then find their own words."""
    use_option_names()
    yield
    use_option_names(False)


@pytest.fixture(scope="module")
def client(place: Place) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=place.url, timeout=20) as client:
        yield client


@pytest.fixture
def tidy(place: Place) -> Iterator[None]:
    """Removes all paintings after a test."""
    yield
    for job in list(place.studio.jobs.values()):
        place.studio.forget(job)
