"""Paint the frames of a film, which share a size, the styles and the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from impasto.backbone.load import load_backbone
from impasto.backbone.vgg import Backbone
from impasto.config import Config, Machine
from impasto.film.warp import Warped
from impasto.images.color import gray
from impasto.images.read import Picture
from impasto.objective.extractor import FeatureExtractor
from impasto.objective.pixel_terms import Reference
from impasto.objective.regions import Region
from impasto.objective.style_targets import StyleTargets, style_targets
from impasto.painting.cuda_graph import make_evaluator
from impasto.painting.loop import Evaluator
from impasto.painting.memory import Plan, plan_for
from impasto.painting.outcome import Painting
from impasto.painting.problem import regions_at
from impasto.painting.run import Run
from impasto.painting.step import Step
from impasto.painting.tuning import tune_allocator

__all__ = ["FramePainter", "later_config"]

TEMPORAL = 10.0  # weight of the temporal term at `--temporal 1`: benchmarks/film.py
# the other frames' share of the start of a second pass: Ruder et al. 2016, section 4.4 (delta)
BLEND = 0.5


def later_config(config: Config, steps: int) -> Config:
    """The settings of a frame that begins with an earlier painting: one level, fewer steps.

    All are made by the network of a still's last steps: the steps of another one before them lead
    away from where the last frame ended, and made films less steady (docs/film.md).
    """
    return config.changed(
        levels=1, steps=steps, backbone=config.finisher or config.backbone, finish=0
    )


class FramePainter:
    """Paint frame after frame; the styles' targets are computed once.

    If the styles are given the content's colors, these are of a shot's first frame.
    """

    def __init__(
        self,
        styles: Sequence[Picture],
        config: Config,
        machine: Machine,
        later_steps: int,
        temporal: float,
        plan: Plan | None = None,
        note: Callable[[str], object] = lambda text: None,
        backbone: Backbone | Callable[[Config, Machine], Backbone] = load_backbone,
    ):
        """Prepare to paint.

        Args:
            styles: the style pictures.
            config: the settings; frames are painted at their own size.
            machine: where to compute.
            later_steps: of a frame that begins with an earlier painting.
            temporal: how much a frame is held to the one before it; 1 is usual.
            plan: the tiles; None: chosen with the first frame.
            note: is told what the user should know of the pictures, once.
            backbone: the network, or a function that loads it.
        """
        self._styles, self._machine = styles, machine
        self._config = config.changed(size="original")
        self._later = later_config(self._config, later_steps)
        self._temporal = TEMPORAL * temporal  # the weight of the term
        self.plan, self._note, self._backbone = plan, note, backbone
        self._noted: set[str] = set()
        self._targets: dict[tuple[str, int, int], StyleTargets] = {}
        self._shot: tuple[Picture, Mapping[str, Picture]] | None = None

    def begin_shot(self, key: Picture, named: Mapping[str, Picture]) -> None:
        """Begin with a shot, or go on with it. key, named: its first frame, and the pictures then.

        What the styles ask for of later frames is computed when the first of them is painted.
        """
        self._shot = key, named
        if self._config.color != "style":
            self._targets.clear()

    def first(
        self, frame: Picture, named: Mapping[str, Picture], on_step: Callable[[Step], object]
    ) -> Painting:
        """Paint the first frame of a shot, as a still is painted."""
        run = self._prepare(frame, named, self._config, self._backbone)
        self._backbone = run.backbone
        painting = _painted(run, on_step)
        for text in (*run.problem.notes, painting.doubt):
            if text and text not in self._noted:
                self._noted.add(text)
                self._note(text)
        return painting

    def next(
        self,
        frame: Picture,
        carried: Warped,
        named: Mapping[str, Picture],
        on_step: Callable[[Step], object],
        own: torch.Tensor | None = None,
    ) -> Painting:
        """Paint a frame from others of its shot.

        Args:
            frame: the content.
            carried: the paintings of the others, carried to this frame, and where they are known.
            named: the pictures that the config names.
            on_step: called with every solver step.
            own: the frame's painting of an earlier pass (1, 3, H, W), of which the start has a
                half where the others are known, and all elsewhere; None: the start is `carried`.
        """
        self._measure_styles()
        pixels, known = carried
        start = pixels if own is None else torch.lerp(own, pixels, BLEND * known)
        if self._config.color == "luminance":
            start, pixels = gray(start), gray(pixels)
        reference = Reference(pixels, known, self._temporal)
        network = self._later_network()
        run = self._prepare(frame, named, self._later, network, start, reference)
        return _painted(run, on_step)

    def tune_allocator(self) -> None:
        """Make the process's allocator suit the frames, once one is prepared; for entry points."""
        if self.plan and isinstance(self._backbone, Backbone):
            tune_allocator(self.plan, self._backbone)

    def _later_network(self) -> Backbone:
        """The network that paints all frames but the first of a shot."""
        if not isinstance(self._backbone, Backbone):  # a film that is gone on with
            self._backbone = self._backbone(self._config, self._machine)
        return self._backbone.finisher or self._backbone

    def _measure_styles(self) -> None:
        """Compute the styles' targets at full size, from the shot's first frame."""
        if self._shot is None:
            return
        run = self._prepare(*self._shot, self._later, self._later_network())
        (level,) = run.problem.levels
        regions = regions_at(run.problem, level, self._later, run.backbone.device)
        self._targets_of(run.backbone, level.height, level.width, run.plan.tile_size, regions)
        self._shot = None

    def _prepare(
        self,
        frame: Picture,
        named: Mapping[str, Picture],
        config: Config,
        network: Backbone | Callable[[Config, Machine], Backbone],
        start: torch.Tensor | None = None,
        reference: Reference | None = None,
    ) -> Run:
        def evaluator(
            config: Config,
            network: Backbone,
            content: torch.Tensor,
            regions: Sequence[Region],
            tile_size: int | None,
            protect: torch.Tensor | None,
        ) -> Evaluator:
            height, width = content.shape[2:]
            targets = self._targets_of(network, height, width, tile_size, regions)
            held = reference and reference.to(content)
            return make_evaluator(
                config, network, content, regions, tile_size, protect,
                targets=targets, reference=held,
            )  # fmt: skip

        plan = self.plan
        run = Run.prepare(
            frame,
            list(self._styles),
            config,
            self._machine,
            named=named,
            start=None if start is None else frame._replace(pixels=start),
            backbone=network,
            plan=plan_for if plan is None else lambda *_: plan,
            make_evaluator=evaluator,
        )
        self.plan = run.plan
        return run

    def _targets_of(
        self,
        network: Backbone,
        height: int,
        width: int,
        tile_size: int | None,
        regions: Sequence[Region],
    ) -> StyleTargets:
        """The targets of the regions' styles at a size: computed once, then kept."""
        key = network.weights.name, height, width
        if key not in self._targets:
            extractor = FeatureExtractor(self._config, network, tile_size)
            self._targets[key] = style_targets(extractor, regions)
        return self._targets[key]


def _painted(run: Run, on_step: Callable[[Step], object]) -> Painting:
    """Make all steps of a run: unlike a still, a frame that is not finished is no use."""
    for step in run.steps():
        on_step(step)
    return run.painting(step)
