"""One painting on a terminal: the network with its download, the plan, the bar, the readers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.apps.progress import downloading, painting
from impasto.errors import OutputError
from impasto.painting import Painting, fit, make_backbone, paint
from impasto.scene import scene_of

if TYPE_CHECKING:
    from rich.console import Console

    from impasto.apps.readers import Reader
    from impasto.backbone import Backbone
    from impasto.config import Config
    from impasto.painting import Step
    from impasto.pictures import Picture
    from impasto.scene import Scene

__all__ = ["load_backbone", "run", "save"]


def load_backbone(console: Console, config: Config) -> Backbone:
    """The config's network; a download shows its bar."""
    with downloading(console, config.backbone) as progress:
        return make_backbone(config, progress)


def run(
    console: Console,
    pictures: Sequence[Picture],
    config: Config,
    backbone: Backbone | None = None,
    readers: Callable[[Scene, Config, Backbone], list[Reader]] | None = None,
    about: str = "",
) -> Painting:
    """Paint pictures[0] in the style of the others with a progress bar, under a line that begins with `about`.

    readers: makes the other readers of the run, once its scene, its config and its network are known.
    """
    content, *styles = pictures
    scene = scene_of(content, styles, config)  # before a network is downloaded for nothing
    backbone = backbone or load_backbone(console, config)
    fits = fit(scene, config, backbone)
    config = config.changed(tile=fits.side or config.tile)
    dtype = str(backbone.dtype).removeprefix("torch.")
    title = f"{backbone.weights.name} on {backbone.device}, {dtype}, {config.steps} steps of {config.optimizer}; {fits}"
    for note in scene.notes:
        console.print(note, markup=False, soft_wrap=True)
    with painting(console, f"{about}{title}") as bar:
        all_readers = [bar, *(readers(scene, config, backbone) if readers else [])]

        def read(step: Step) -> None:
            for reader in all_readers:
                reader(step)

        return paint(content, styles, config, backbone=backbone, scene=scene, fits=fits, on_step=read)


def save(painting: Painting, target: Path) -> None:
    """Save the painting; where that fails although it could be done before, it is not lost but saved elsewhere."""
    try:
        painting.save(target)
    except OutputError as error:
        elsewhere = Path(tempfile.mkdtemp(prefix="impasto-")) / f"{target.stem}.png"
        painting.save(elsewhere)
        raise OutputError(f"{error}; the painting was saved as {elsewhere}", str(target)) from error
