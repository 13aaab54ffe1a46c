"""Paint a film of the studio until it ends, or until a visitor requests something else."""

from __future__ import annotations

from impasto.backbone.load import settled
from impasto.config import Machine
from impasto.errors import ImpastoError
from impasto.figures.contact_sheet import contact_sheet
from impasto.film.paint import paint_film, write_film
from impasto.film.painter import FramePainter
from impasto.film.preview import preview_count, preview_frames
from impasto.film.store import FilmStore, open_film_store
from impasto.images.write import write
from impasto.painting.outcome import why_stopped
from impasto.painting.step import Step
from impasto.painting.tuning import use_threads
from impasto.web.jobs.films import OpenFilm, clip_of, open_film, own_names
from impasto.web.jobs.job import Clock, Job, Progress, State
from impasto.web.jobs.limits import Limits
from impasto.web.jobs.previews import reduced
from impasto.web.jobs.worker import cached_backbone

WORK = "film.work"  # the folder of the frames while it is painted
TURN = 60.0  # seconds after which a film lets others be painted
OTHERS = "others are painted meanwhile"


class _InterruptedError(Exception):
    """Something else was requested, or the time is over."""


def work_on_film(job: Job, limits: Limits, machine: Machine, threads: int) -> State:
    """Paint the frames of a film until the end, or until something else is requested; the job's
    next state. The next call goes on after the last frame that is there."""
    use_threads(machine, threads)
    with own_names(clip_of(job), job.content):
        film = open_film(job, limits)
    work = _Work(job, film, limits, machine)
    if job.film.preview:
        return _paint_three(work)
    with open_film_store(job.file(WORK), {"id": job.id}) as store:
        stopped = _paint(work, store)
        if job.requested == "pause" and stopped:
            return "paused"
        if stopped == OTHERS:
            return "waiting"
        if job.requested == "cancel" or not store.lines:
            return "cancelled"
        work.end()
        _write(work, store, stopped)
        store.remove()
    return "stopped" if stopped else "done"


class _Work:
    """The painter of a film, and its progress: over all frames, by their steps."""

    def __init__(self, job: Job, film: OpenFilm, limits: Limits, machine: Machine):
        self.job, self.film, self.limits = job, film, limits
        config = settled(job.config, machine)
        self._later_steps = job.film.later_steps or job.config.later_steps
        # A still, in steps of a later frame: those of the small network take not half as long as
        # those of VGG-19 after them.
        self._still = round(1.43 * config.finish_steps) if config.finisher else config.steps
        self.painter = FramePainter(
            film.styles,
            config,
            machine,
            self._later_steps,
            job.film.temporal,
            None,
            self.note,
            cached_backbone,
        )
        self.frames = preview_count(film.frames) if job.film.preview else film.frames
        self.done = 0  # frames
        self._here = 0.0  # the share of the work that was done before
        self.clock = Clock(job)

    def note(self, text: str) -> None:
        """Keep a note for the visitor."""
        clip = clip_of(self.job)
        text = text.replace(str(clip), self.job.content).replace(clip.name, self.job.content)
        if text not in self.job.notes:
            self.job.notes.append(text)

    def go_on(self, done: int) -> None:
        """Note how many frames are there from before."""
        self.done, self._here = done, self._share(done)

    def on_step(self, step: Step) -> None:
        """Note a step. Raises _InterruptedError."""
        if step.number == 1:
            self.painter.tune_allocator()
        within = self._share(self.done + 1) - self._share(self.done)
        self._show(self._share(self.done) + within * step.fraction, step)
        self.job.show_sometimes(step)
        if self.job.requested or self.clock.total > self.limits.seconds:
            raise _InterruptedError

    def on_frame(self) -> None:
        """Count a frame. Raises _InterruptedError."""
        self.done += 1
        if self.done < self.frames and (
            self.job.requested or self.clock.total > self.limits.seconds or self.gives_way
        ):
            raise _InterruptedError

    @property
    def gives_way(self) -> bool:
        """True if others wait, and it had its turn."""
        turn_is_over = self.clock.turn > TURN
        return self.job.give_way and turn_is_over and not self.job.film.preview

    def end(self) -> None:
        """Note that it is done."""
        if self.job.progress:
            self.job.progress = self.job.progress._replace(
                frame=self.done, seconds=self.clock.total, seconds_left=0.0
            )

    def _share(self, frames: int) -> float:
        """The share of all work that so many frames are; the first one takes longer."""
        later = self._still if self.job.film.preview else self._later_steps
        steps = self._still + later * (frames - 1) if frames else 0
        return min(1.0, steps / (self._still + later * (self.frames - 1)))

    def _show(self, share: float, step: Step) -> None:
        spent, here = self.clock.turn, share - self._here
        self.job.progress = Progress(
            step=step.number,
            steps=step.steps,
            level=step.level,
            levels=step.levels,
            fraction=share,
            seconds=self.clock.total,
            seconds_left=spent / here * (1 - share) if here > 0 and spent > 1 else None,
            objective=None,
            terms={},
            frame=self.done + 1,
            frames=self.frames,
        )


def _paint(work: _Work, store: FilmStore) -> str:
    """Paint the frames that the store lacks; why it was stopped, or ""."""
    job, film, there = work.job, work.film, len(store.lines)
    work.go_on(there)
    if job.requested:
        return "stopped by hand"
    painted = paint_film(film.input, work.painter, store, work.note, work.on_step)
    try:
        for count, _ in enumerate(painted, 1):
            if count > there:
                work.on_frame()
            if count >= work.limits.frames:
                break  # the file says that it has fewer
    except _InterruptedError:
        if job.requested:
            return "stopped by hand"
        if work.gives_way and work.clock.total <= work.limits.seconds:
            return OTHERS
        minutes = f"{work.limits.seconds / 60:g}"
        job.note = f"this server paints for at most {minutes} minutes"
        return job.note
    except (MemoryError, RuntimeError, ImpastoError) as error:
        if not store.lines or not (why := why_stopped(error)):
            raise
        job.note = why
        return why
    return ""


def _write(work: _Work, store: FilmStore, stopped: str) -> None:
    """Write the film's file, and what the page shows of it. stopped: it has more frames."""
    job, film, movie = work.job, work.film, work.film.movie
    write_film(job.product, film.input.clip, store, movie, bool(stopped))
    if movie.audio == "drop":
        work.note("the clip's sound does not fit into the film's file, and is left out")
    height, width = film.input.size
    poster = store.pixels(store.lines[0].number)
    write(reduced(poster, height, width), job.file("after.jpg"))
    job.show(poster)


def _paint_three(work: _Work) -> State:
    """Paint three frames onto one sheet."""
    job, film = work.job, work.film
    pairs = []
    try:
        for pair in preview_frames(film.input, film.frames, work.painter, work.note, work.on_step):
            pairs.append(pair)
            work.on_frame()
    except _InterruptedError:
        if job.requested == "pause":
            return "paused"
        if job.requested == "cancel" or not pairs:
            return "cancelled"
    work.end()
    sheet = contact_sheet(list(zip(*pairs, strict=True)))
    write(sheet, job.product)
    write(sheet, job.file("after.jpg"))
    return "done" if len(pairs) == work.frames else "stopped"
