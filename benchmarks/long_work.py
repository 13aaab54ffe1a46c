"""Table 7: checkpoints, batch against a shell loop, small pictures together, Ray, and kills.

python benchmarks/long_work.py [checkpoints batch together ray tiles kills]
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median

from common import record, recorded
from PIL import Image

from impasto import Config, Machine
from impasto.backbone.load import load_backbone
from impasto.images.read import read, resize
from impasto.images.samples import sample_portrait, sample_style
from impasto.objective.objective import Objective
from impasto.painting import checkpoint
from impasto.painting.batched import paint_batched
from impasto.painting.problem import prepare_problem, regions_at
from impasto.painting.run import Run

STYLES = ("strokes", "woodcut", "glass", "points")
IMPASTO = str(Path(sys.executable).with_name("impasto"))
ROUNDS = 3
KILLS = 100
# The command line with a checkpoint after every step.
EVERY_STEP = (
    "import sys; from impasto.painting import checkpoint; "
    "checkpoint.SOONEST, checkpoint.COST = 0.0, 1e9; "
    "from impasto.cli.main import main; main(sys.argv[1:])"
)


def pictures(folder: Path) -> tuple[Path, Path]:
    """Make folders of two contents and four styles from the samples."""
    contents, styles = folder / "contents", folder / "styles"
    contents.mkdir()
    styles.mkdir()
    with Image.open(sample_portrait()) as image:
        image.save(contents / "photograph.png")
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(contents / "mirrored.png")
    for name in STYLES:
        shutil.copy(sample_style(name), styles)
    return contents, styles


def row(what: str, measured: str, ratio: str) -> dict:
    """Print and return a line of the table."""
    print(f"{what}: {measured}; {ratio}", flush=True)
    return {"what": what, "measured": measured, "ratio": ratio}


def checkpoints() -> list[dict]:
    """Measure the share of a run's time that goes into checkpoints."""
    rows = []
    for size, steps in ((512, 800), (1024, 300)):
        config = Config(size=size, steps=steps)
        backbone = load_backbone(config)
        content, style = read(sample_portrait()), read(sample_style("strokes"))
        run = Run.prepare(content, style, config, backbone=backbone)
        shares, counts, megabytes = [], [], 0.0
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                keeper = checkpoint.Checkpoints(Path(folder), run)
                spent, count, began = 0.0, 0, time.perf_counter()
                for step in run.steps():
                    before = time.perf_counter()
                    count += keeper.maybe_save(step)
                    spent += time.perf_counter() - before
                shares.append(spent / (time.perf_counter() - began))
                counts.append(count)
                megabytes = (Path(folder) / checkpoint.NAME).stat().st_size / 1e6 if count else 0.0
        rows.append(
            row(
                f"checkpoints of one painting at {size} pixels, {steps} steps",
                f"{median(counts):.0f} of {megabytes:.0f} MB in {step.seconds:.1f} s",
                f"{median(shares):.2%} of the time (at most {max(shares):.2%})",
            )
        )
    return rows


def batch() -> list[dict]:
    """Measure a batch of eight paintings against a shell loop."""
    rows = []
    for size in (256, 512):
        loops, batches = [], []
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                contents, styles = pictures(folder)
                began = time.perf_counter()
                for k, (content, style) in enumerate(
                    (c, s) for c in contents.iterdir() for s in styles.iterdir()
                ):
                    call(
                        [
                            IMPASTO,
                            "paint",
                            content,
                            style,
                            "-o",
                            folder / f"{k}.png",
                            "--size",
                            size,
                        ]
                    )
                loops.append(time.perf_counter() - began)
                batches.append(timed_batch(contents, styles, folder / "out", size))
        rows.append(
            row(
                f"8 paintings at {size} pixels: batch against a loop of `impasto paint`",
                f"{median(batches):.1f} s against {median(loops):.1f} s",
                f"{median(a / b for a, b in zip(loops, batches, strict=True)):.2f} times as "
                "many an hour",
            )
        )
    return rows


def call(command: list[object]) -> None:
    """Run a command quietly; raises if it fails."""
    subprocess.run([*map(str, command), "--quiet"], check=True)


def timed_batch(contents: Path, styles: Path, out: Path, size: int, *more: str) -> float:
    """Seconds of a batch in a new process."""
    began = time.perf_counter()
    call([IMPASTO, "batch", contents, "--style", styles, "-o", out, "--size", size, *more])
    return time.perf_counter() - began


def together() -> list[dict]:
    """Measure eight paintings in one process, several at once against one at a time, and compare
    their pixels."""
    rows = []
    photograph = read(sample_portrait())
    mirrored = photograph._replace(pixels=photograph.pixels.flip(3).contiguous())
    for size, at_once in ((128, 8), (256, 8), (512, 2)):
        config = Config(size=size)
        backbone = load_backbone(config)
        runs = [
            Run.prepare(content, sample_style(name), config, backbone=backbone)
            for content in (photograph, mirrored)
            for name in STYLES
        ]

        def painted(each: int, runs: list[Run] = runs) -> tuple[float, list[str]]:
            began, found = time.perf_counter(), []
            for start in range(0, len(runs), each):
                for steps in paint_batched(runs[start : start + each]):
                    last = steps
                found += [
                    hashlib.sha256(step.best.point.numpy().tobytes()).hexdigest() for step in last
                ]
            return time.perf_counter() - began, found

        painted(1)
        both = [(painted(1), painted(at_once)) for _ in range(ROUNDS)]
        same = sum(
            a == b for (_, alone), (_, others) in both for a, b in zip(alone, others, strict=True)
        )
        alone_time, together_time = median(a[0] for a, _ in both), median(b[0] for _, b in both)
        rows.append(
            row(
                f"8 paintings at {size} pixels in one process, {at_once} at once against one "
                "at a time",
                f"{together_time:.1f} s against {alone_time:.1f} s; {same} of {8 * ROUNDS} "
                "bit for bit the same",
                f"{median(a[0] / b[0] for a, b in both):.2f} times as many an hour",
            )
        )
    return rows


def ray() -> list[dict]:
    """A batch on a Ray cluster of this machine alone against the local engine; both as new
    processes."""
    local, cluster, local_painting, cluster_painting = [], [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            contents, styles = pictures(folder)
            local.append(timed_batch(contents, styles, folder / "local", 512))
            cluster.append(timed_batch(contents, styles, folder / "ray", 512, "--engine", "ray"))
            local_painting.append(painting_seconds(folder / "local"))
            cluster_painting.append(painting_seconds(folder / "ray"))
            same = sum(
                path.read_bytes() == (folder / "ray" / path.name).read_bytes()
                for path in (folder / "local").glob("*-*.png")
                if not path.name.startswith("contact-sheet")
            )
    ratios = median(a / b for a, b in zip(cluster_painting, local_painting, strict=True))
    return [
        row(
            "8 paintings at 512 pixels: Ray on this machine against the local engine, "
            "painting alone",
            f"{median(cluster_painting):.1f} s against {median(local_painting):.1f} s; {same} "
            "of 8 the same bytes",
            f"{ratios:.2f} times the time",
        ),
        row(
            "the same with the start of Ray, of its worker and of the program",
            f"{median(cluster):.1f} s against {median(local):.1f} s",
            f"{median(cluster) - median(local):.1f} s more",
        ),
    ]


def painting_seconds(folder: Path) -> float:
    """The seconds of all paintings of a batch, from its manifest."""
    records = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    return sum(each["seconds"] / each["together"] for each in records)


def tiles() -> list[dict]:
    """Measure an evaluation with its tiles on two Ray actors against the same tiles here, and the
    data sent."""
    from ray.cluster_utils import Cluster

    from impasto.cluster.distributed import TileWorkers
    from impasto.cluster.ray_cluster import connected

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    config, machine = Config(size=1536, levels=1), Machine(precision="bfloat16")
    backbone = load_backbone(config, machine)
    problem = prepare_problem(read(sample_portrait()), [read(sample_style("strokes"))], config)
    level = problem.levels[0]
    content = resize(problem.content.pixels, level.height, level.width)
    regions = regions_at(problem, level, config)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    try:
        with (
            connected(cluster.address),
            closing(TileWorkers(config, machine, backbone.weights)) as workers,
        ):
            plan = workers.plan_for(problem, config, machine, backbone)
            here = Objective(config, backbone, content, regions, plan.tile_size)
            there = workers.objective(config, backbone, content, regions, plan.tile_size)
            pairs = [
                (seconds(lambda: here.evaluate(content)), seconds(lambda: there.evaluate(content)))
                for _ in range(7)
            ]
    finally:
        cluster.shutdown()
    crops = sum(
        3 * 4 * (tile.crop[0].stop - tile.crop[0].start) * (tile.crop[1].stop - tile.crop[1].start)
        for tile in here.tiles
    )
    sums = sum(4 * total.numel() for total in here._totals(here._crops(here.frame.add(content))))
    ratio = median(there / here for here, there in pairs[1:])
    return [
        row(
            f"an evaluation at {level.width} x {level.height} in {len(here.tiles)} tiles, on "
            "two actors of one "
            "processor each against here on both",
            f"{crops / 1e6:.1f} MB of pixels there and as many back, {sums / 1e6:.2f} MB of "
            "sums from each actor",
            f"{ratio:.2f} times the time",
        )
    ]


def seconds(do: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def kills() -> list[dict]:
    """Kill batches at random moments, KILLS times; count what is lost, doubled or different."""
    options = ["--size", "128", "--steps", "60", "--levels", "2", "--quiet"]
    moments, killed, batches = random.Random(0), 0, 0
    lost = doubled = different = unreadable = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contents, styles = pictures(folder)
        whole = [IMPASTO, "batch", contents, "--style", styles, "-o", folder / "whole", *options]
        subprocess.run([*map(str, whole)], check=True)
        sums = checksums(folder / "whole")
        while killed < KILLS:
            batches += 1
            out = folder / f"killed{batches}"
            command = [
                sys.executable,
                "-c",
                EVERY_STEP,
                "batch",
                contents,
                "--style",
                styles,
                "-o",
                out,
                *options,
            ]
            while killed < KILLS and not is_done(out, len(sums)):
                with subprocess.Popen([*map(str, command)]) as process:
                    try:
                        process.wait(moments.uniform(1.5, 4.5))
                    except subprocess.TimeoutExpired:
                        process.kill()
                        killed += 1
            subprocess.run([*map(str, command)], check=True)
            records = [
                json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()
            ]
            done = [each["out"] for each in records if each["state"] == "done"]
            found = checksums(out)
            lost += len(sums.keys() - found.keys())
            doubled += len(done) - len(set(done)) + len(found.keys() - sums.keys())
            different += sum(found[each] != sums[each] for each in sums.keys() & found.keys())
            unreadable += len(records) - len(done)
            shutil.rmtree(out)
    return [
        row(
            f"{killed} kills -9 at random moments of {batches} batches of {len(sums)} paintings",
            f"{different} paintings other than undisturbed, {unreadable} failed",
            f"**{lost} lost, {doubled} doubled**",
        )
    ]


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of the paintings in a folder, by name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*.png")
        if not path.name.startswith("contact-sheet")
    }


def is_done(out: Path, count: int) -> bool:
    """True if the manifest has `count` paintings."""
    path = out / "manifest.jsonl"
    return path.exists() and path.read_text().count('"done"') >= count


PARTS = {
    "checkpoints": checkpoints,
    "batch": batch,
    "together": together,
    "ray": ray,
    "tiles": tiles,
    "kills": kills,
}


def main() -> None:
    """Measure the parts named on the command line, or all; rows of other parts measured today are
    kept."""
    wanted = sys.argv[1:] or list(PARTS)
    rows = [each for each in recorded("long_work") if each["part"] not in wanted]
    for part in wanted:
        rows += [{"part": part, **each} for each in PARTS[part]()]
        record("long_work", sorted(rows, key=lambda each: list(PARTS).index(each["part"])))


if __name__ == "__main__":
    main()
