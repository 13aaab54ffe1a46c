"""A batch on a Ray cluster: one painter a device, who pull their work; what dies is painted again elsewhere."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from impasto.batch.worker import Painter, Report, Task
from impasto.cluster.ray_cluster import VERSIONS, Place, hire, places, take_place
from impasto.errors import ClusterError, OutputError
from impasto.locking import alone_in
from impasto.painting.checkpoint import NAME, newest, put

if TYPE_CHECKING:
    from impasto.backbone.weights import Weights
    from impasto.batch.executor import StopRequest
    from impasto.batch.scheduler import Foreman

__all__ = ["paint_there"]

SLICE = 0.5  # seconds that a painter paints between two words
LOOK = 2.0  # seconds between two looks at what the cluster has
LONG = 30.0  # seconds after which it is told that nobody has come
KEEPING = 30.0  # seconds that painters have to write their last checkpoints
LEAVING = 5.0  # seconds that they have to tidy up
REFUSALS = 10  # times that a place has no painter, or loses him, with no painting between: it is not asked again
FOLDER = "impasto-painter-"  # what the names of painters' temporary folders begin with
YOUNG = 60.0  # seconds that a folder may not be held yet by who has made it
REMEMBERED = 64  # files and networks that are kept in the object store

States = dict[str, bytes]  # checkpoints by key


class RemotePainter:
    """The Painter on a device of the cluster, without a shared disk: files come with the work, checkpoints go back."""

    def __init__(self, place: Place):
        take_place(place)
        self._painter = Painter()
        _sweep()
        self._folder = Path(tempfile.mkdtemp(prefix=FOLDER))
        self._held = ExitStack()
        self._held.enter_context(alone_in(self._folder))  # as long as this process lives

    def versions(self) -> str:
        """What paints here."""
        return VERSIONS

    def begin(
        self, tasks: Sequence[Task], states: States, weights: Weights, digests: Sequence[str], *files: bytes
    ) -> tuple[Report, States]:
        """Take on tasks, from their checkpoints where there are any, and paint for a while."""
        for each in filter(Path.is_dir, self._folder.glob("*")):
            shutil.rmtree(each, ignore_errors=True)
        folders = {task.key: self._folder / task.key for task in tasks}
        for key, folder in folders.items():
            folder.mkdir(parents=True)
            if key in states:
                (folder / NAME).write_bytes(states[key])
        self._painter.begin(tasks, dict(zip(digests, files, strict=True)), weights, folders)
        return self.go_on()

    def go_on(self) -> tuple[Report, States]:
        """Paint for a while."""
        return self._with_states(self._painter.go_on(SLICE))

    def keep(self) -> tuple[Report, States]:
        """Write checkpoints now."""
        return self._with_states(self._painter.keep())

    def _with_states(self, report: Report) -> tuple[Report, States]:
        saved = {key: self._folder / key / NAME for key in report.saved if key not in report.done}
        return report, {key: path.read_bytes() for key, path in saved.items()}

    def leave(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _sweep() -> None:
    """Remove what painters that were killed on this machine have left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        with suppress(OSError):  # somebody paints there, or was faster
            if time.time() - folder.stat().st_mtime > YOUNG:
                with alone_in(folder):
                    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Hand:
    """A painter as the foreman sees it: what it has in hand, and the answer that it owes."""

    place: Place
    actor: Any
    answer: Any
    tasks: list[Task] = field(default_factory=list)
    ready: bool = False


def paint_there(foreman: Foreman, stopping: StopRequest) -> None:
    """Paint everything that waits, on every device of the cluster that has been joined.

    Raises KeyboardInterrupt when it is stopped, with all kept; ClusterError where nobody can paint.
    """
    crew = _Crew(foreman)
    foreman.ledger.stopped = lambda: stopping.asked
    try:
        while crew.busy or foreman.waiting:
            crew.hire()
            crew.deal()
            crew.listen()
            if stopping.asked:
                crew.keep()
            stopping.end_here()
    finally:
        crew.dismiss()


class _Crew:
    """All painters: never more loads given out than there are devices."""

    def __init__(self, foreman: Foreman):
        self._foreman = foreman
        self._hands: list[Hand] = []
        self._looked, self._seen = 0.0, time.monotonic()  # when it was looked what there is, and somebody was there
        self._told = self._told_of_disk = False
        self._refused: Counter[Place] = Counter()
        self._why = ""
        self._faulty = set[str]()  # keys that somebody's painter found a fault with
        self._stored: dict[str, Any] = {}  # files in the object store, by checksum, the oldest first

    @property
    def busy(self) -> bool:
        """Whether anybody has something in hand."""
        return any(hand.tasks for hand in self._hands)

    def hire(self) -> None:
        """A painter for every device that has none: also for those that came later, or whose painter died."""
        if time.monotonic() - self._looked < LOOK and self._hands:
            return
        self._looked = time.monotonic()
        found = places()
        able = [place for place in found if self._refused[place] < REFUSALS]
        if not able and not self._hands:
            raise ClusterError(self._why or "the cluster has no device to paint on", [place.name for place in found])
        if any(hand.ready for hand in self._hands):
            self._seen = self._looked
        elif not self._told and self._looked - self._seen > LONG:
            names = ", ".join(place.name for place in able)
            self._foreman.note(f"nobody has come yet to paint at {names}: perhaps others use the cluster; waiting")
            self._told = True
        taken = {hand.place for hand in self._hands}
        for place in able:
            if place not in taken:
                actor = hire(RemotePainter, place)
                self._hands.append(Hand(place, actor, actor.versions.remote()))

    def deal(self) -> None:
        """Work for those who have none."""
        for hand in self._hands:
            if hand.ready and not hand.tasks:
                self._give(hand)

    def _give(self, hand: Hand) -> None:
        load = self._foreman.next_load(hand.place.name, [each.place.name for each in self._hands if each.ready])
        if load is None:
            return
        states = {}
        for key, folder in self._foreman.folders(load.tasks).items():
            with suppress(OSError, OutputError):  # it cannot be read: it is begun anew
                if path := newest(folder):
                    states[key] = path.read_bytes()
        files = [self._in_store(digest, data) for digest, data in load.files.items()]
        weights = self._in_store(load.weights.sha256, load.weights)
        hand.tasks = load.tasks
        hand.answer = hand.actor.begin.remote(load.tasks, states, weights, list(load.files), *files)

    def _in_store(self, digest: str, data: bytes | Weights) -> Any:
        """A file's bytes or a network where all nodes can have them; a style is sent once."""
        reference = self._stored.pop(digest, None)
        self._stored[digest] = reference = ray.put(data) if reference is None else reference
        if len(self._stored) > REMEMBERED:
            del self._stored[next(iter(self._stored))]
        return reference

    def listen(self) -> None:
        """Wait for a word from somebody."""
        owed = {hand.answer: hand for hand in self._hands if hand.answer is not None}
        if not owed:
            time.sleep(SLICE)
            return
        answers = list(owed)
        ray.wait(answers, num_returns=1, timeout=SLICE)
        answered, _ = ray.wait(answers, num_returns=len(answers), timeout=0)
        for answer in answered:
            self._hear(owed[answer])

    def _hear(self, hand: Hand) -> None:
        try:
            said = ray.get(hand.answer)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            self._gone(hand, f"{type(cause).__name__}: {cause}")
            return
        hand.answer = None
        if not hand.ready:
            hand.ready = said == VERSIONS
            if not hand.ready:
                self._refuse(hand, f"it has {said}, and this is {VERSIONS}", REFUSALS)
            return
        (report, states), tasks = said, hand.tasks
        if faults := _faults(report):
            self._take(hand, tasks, report, states)
            ray.wait([hand.actor.leave.remote()], timeout=LEAVING)
            again = faults.keys() <= self._faulty  # a picture's own, it seems, and not the machine's
            self._faulty |= faults.keys()
            self._gone(hand, next(iter(faults.values())), 0 if again else 1)
            return
        try:  # it paints on while this is written
            if report.over:
                hand.tasks = []
                self._give(hand)
            else:
                hand.answer = hand.actor.go_on.remote()
        finally:
            self._take(hand, tasks, report, states)

    def _take(self, hand: Hand, tasks: Sequence[Task], report: Report, states: States) -> None:
        folders = self._foreman.folders([task for task in tasks if task.key in states])
        for key, state in states.items():
            try:
                put(folders[key], state)
            except OutputError as error:
                if not self._told_of_disk:
                    report.notes.append(f"no checkpoint: {error}; it is tried again")
                self._told_of_disk = True
        if report.done:
            del self._refused[hand.place]
        self._foreman.take(hand.place.name, tasks, report)

    def _gone(self, hand: Hand, why: str, times: int = 1) -> None:
        """A painter that is dead, or never came."""
        self._refuse(hand, why, times)
        self._foreman.died(hand.place.name, hand.tasks, self._why)

    def _refuse(self, hand: Hand, why: str, times: int) -> None:
        self._refused[hand.place] += times
        self._why = f"nobody can paint at {hand.place.name}: {' '.join(why.split())}"
        self._dismiss(hand)

    def keep(self) -> None:
        """Have everybody write a checkpoint, and bring it here."""
        owed = [(hand, [hand.answer, hand.actor.keep.remote()]) for hand in self._hands if hand.tasks]
        deadline = time.monotonic() + KEEPING
        for hand, answers in owed:
            for answer in answers:
                try:
                    report, states = ray.get(answer, timeout=max(0.1, deadline - time.monotonic()))
                    _faults(report)
                    self._take(hand, hand.tasks, report, states)
                except ray.exceptions.RayError:
                    break  # the checkpoint before is here

    def _dismiss(self, hand: Hand) -> None:
        self._hands.remove(hand)
        ray.kill(hand.actor)

    def dismiss(self) -> None:
        """Send everybody home."""
        leaving = [hand.actor.leave.remote() for hand in self._hands if hand.ready]
        ray.wait(leaving, num_returns=len(leaving), timeout=LEAVING) if leaving else None
        for hand in list(self._hands):
            self._dismiss(hand)


def _faults(report: Report) -> dict[str, str]:
    """Take out of a report what failed and nobody knows why: perhaps the machine is sick, so that another tries."""
    keys = [key for key, failure in report.failed.items() if failure.fault]
    return {key: report.failed.pop(key).words for key in keys}
