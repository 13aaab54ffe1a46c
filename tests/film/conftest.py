"""A small clip with sound: a camera over the sample photograph, at uneven times."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from films import MadeFilm, photograph
from impasto.images.write import to_image
from movies import write_clip

TIMES = (0, 40, 80, 133, 200, 210)  # milliseconds


@pytest.fixture(scope="session")
def made() -> MadeFilm:
    return MadeFilm(photograph(36, 48), pan=1.3)


@pytest.fixture(scope="session")
def clip(made: MadeFilm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [np.asarray(to_image(made.frame(t))) for t in range(len(TIMES))]
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path, frames, TIMES, Fraction(1, 1000), sound="aac")
    return path
