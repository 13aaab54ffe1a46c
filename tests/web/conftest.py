"""What the tests of a studio that is open share; each module has its own `place`."""

from collections.abc import Iterator

import httpx
import pytest

from studios import Place


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
