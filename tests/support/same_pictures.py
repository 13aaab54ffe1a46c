"""Paint twenty-odd small pictures and print the sha256 of their pixels: what a refactoring must not
change.

    python tests/support/same_pictures.py before.json       # on the old code
    python tests/support/same_pictures.py before.json       # on the new code: compares, exits with
    1 if any differs

On one machine only: other processors round otherwise.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

IMPASTO = [sys.executable, "-m", "impasto"]
SMALL = ["--size", "96", "--steps", "8", "--device", "cpu", "--precision", "float32"]
# Command lines; {name} is a picture below. The presets take the network in the box: theirs need not
# be at hand.
PAINTINGS = {
    "default": "{photo} {dots}",
    "gatys-lbfgs": "{photo} {dots} --preset gatys-lbfgs --backbone compact",
    "keras-tv": "{photo} {dots} --preset keras-tv --backbone compact",
    "noise-start": "{photo} {dots} --preset noise-start --backbone compact",
    "layered": "{photo} {dots} --preset layered --backbone compact",
    "lbfgs-tv": "{photo} {dots} --preset lbfgs-tv --backbone compact --size-of long",
    "bfloat16": "{photo} {dots} --precision bfloat16",
    "wasserstein": "{photo} {dots} --style-term wasserstein",
    "moments": "{photo} {dots} --style-term moments",
    "sliced": "{photo} {dots} --style-term sliced",
    "neighbors": "{photo} {dots} --style-term neighbors",
    "mask": "{photo} {dots} --mask {half}={lines}",
    "protect and edges": "{photo} {dots} --protect {half} --edge-weight 0.5 --tv-weight 0.1",
    "content's color": "{photo} {dots} --color content",
    "luminance": "{photo} {dots} --color luminance",
    "palette": "{photo} {dots} --palette {lines}",
    "fine and coarse": "{photo} --fine {dots} --coarse {lines}",
    "several styles": "{photo} {dots} {lines} --blend 0.7,0.3",
    "tiles": "{photo} {dots} --size 160 --tile 128 --levels 1",
    "adam": "{photo} {dots} --optimizer adam",
    "alpha": "{cutout} {dots} --levels 1",
    "average pooling, zeros": "{photo} {dots} --pooling average --padding zeros --precondition 0",
    "noise": "{photo} {dots} --start content=0.5,noise=0.5 --seed 3 --levels 2 --no-clamp",
}


def pictures(folder: Path) -> dict[str, str]:
    """The pictures to paint from, drawn here."""
    chance = np.random.default_rng(0)
    across, down = np.meshgrid(np.linspace(0, 1, 120), np.linspace(0, 1, 100))
    photo = np.stack([across, down, np.sin(9 * across * down) ** 2], 2)
    dots = chance.random((20, 25, 3)).repeat(6, 0).repeat(6, 1)
    lines = np.stack([np.sin(40 * (across + k * down)) ** 2 for k in (1, 2, 3)], 2)
    half = (across > 0.5).astype(float)
    disc = ((across - 0.5) ** 2 + (down - 0.5) ** 2 < 0.2).astype(float)[..., None]
    drawn = {
        "photo": photo,
        "dots": dots,
        "lines": lines,
        "half": half,
        "cutout": np.concatenate([photo, disc], 2),
    }
    for name, values in drawn.items():
        Image.fromarray((values * 255).round().astype(np.uint8)).save(folder / f"{name}.png")
    return {name: str(folder / f"{name}.png") for name in drawn}


def digest(path: Path) -> str:
    """Of the pixels: what the file says of its settings may change."""
    with Image.open(path) as image:
        return hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()[
            :24
        ]


def run(*arguments: str) -> None:
    """A command of impasto's, which must not fail."""
    done = subprocess.run([*IMPASTO, *arguments], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 4):
        sys.exit(f"{' '.join(arguments)}: {done.stderr}")


def resumed(folder: Path, known: dict[str, str]) -> str:
    """A painting that was killed once it had a checkpoint, and resumed."""
    kept, out = folder / "kept", folder / "resumed.png"
    options = [known["photo"], known["dots"], *SMALL, "--size", "256", "--steps", "90"]
    command = [*IMPASTO, "paint", *options, "--checkpoint", str(kept), "-o", str(out)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        while not (kept / "checkpoint.safetensors").exists() and process.poll() is None:
            time.sleep(0.02)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    if not out.exists():
        run("resume", str(kept))
    return digest(out)


def paint_all() -> dict[str, str]:
    """The digests by name."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = pictures(folder)
        os.chdir(folder)
        for title, line in PAINTINGS.items():
            run("paint", *SMALL, *(each.format(**known) for each in line.split()), "-o", "out.png")
            found[title] = digest(folder / "out.png")
            print(f"{title:24} {found[title]}", flush=True)
        run(
            "batch", known["photo"], known["lines"], "--style", known["dots"], "-o", "batch", *SMALL
        )
        for path in sorted((folder / "batch").glob("*-dots.png")):
            found[f"batch {path.stem}"] = digest(path)
        run(
            "texture",
            known["dots"],
            "--size",
            "96x64",
            "--steps",
            "8",
            "-o",
            "texture.png",
            *SMALL[4:],
        )
        found["texture"] = digest(folder / "texture.png")
        found["resume after a kill"] = resumed(folder, known)
    return found


def main() -> None:
    """Record, or compare with what was recorded."""
    record = Path(sys.argv[1]).absolute()
    found = paint_all()
    if not record.exists():
        record.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{len(found)} pictures recorded in {record}")
        return
    before = json.loads(record.read_text())
    different = [name for name in before if found.get(name) != before[name]]
    print(f"{len(before) - len(different)} of {len(before)} pictures are the same; not {different}")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
