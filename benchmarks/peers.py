"""Table 10: pastiche with its defaults, impasto, and VGG-19 alone; needs ../shared.

Each paints the pairs at the same size; seconds are of the whole process, with the network loaded,
one after the other. Scores are the referee's: the features of the true VGG-19, which all of them
use. pastiche (the package whose weights impasto reads) is run as its users run it, in a process of
its own; --steps limits its L-BFGS evaluations.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import (
    PAIRS,
    SHARED,
    load_referee,
    machine,
    pictures,
    record,
    recorded,
    users_environment,
)

SIZE, STEPS = 512, 300


def commands(content: Path, style: Path, out: Path, size: int, steps: int) -> dict[str, list[str]]:
    """The command line of each painter."""
    ours = [sys.executable, "-m", "impasto", "paint", content, style, "-o", out, "--size", size]
    ours.append("--quiet")
    alone = ["--backbone", "vgg19", "--finish", "0", "--steps", "260"]
    theirs = [sys.executable, "-m", "pastiche", "--content", content, "--styles", style]
    theirs += ["--output", out, "--size", size, "--num-steps", steps, "--no-verbose"]
    found = {
        f"pastiche, {steps} steps": theirs,
        "impasto": ours,
        "impasto --draft": [*ours, "--draft"],
        "impasto --look bold": [*ours, "--look", "bold"],
        "impasto, VGG-19 alone": [*ours, *alone],
    }
    return {name: [str(word) for word in words] for name, words in found.items()}


def main() -> None:
    """Paint, score, print and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pairs", nargs="*", default=PAIRS, help="the others' rows are kept, if of today and here"
    )
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--steps", type=int, default=STEPS, help="of pastiche")
    parser.add_argument("--only", default="", metavar="NAME", help="painters whose names begin so")
    args = parser.parse_args()
    referee = load_referee(SHARED)
    rows = [
        row
        for row in recorded("peers")
        if row["pair"] not in args.pairs or not row["painter"].startswith(args.only)
    ]
    print(machine(), flush=True)
    for pair in args.pairs:
        content, style = pictures(pair)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "painting.png"
            painters = commands(content, style, out, args.size, args.steps)
            names = [*painters, *(row["painter"] for row in rows)]
            for name, words in painters.items():
                if not name.startswith(args.only):
                    continue
                began = time.perf_counter()
                subprocess.run(words, check=True, capture_output=True, env=users_environment())
                seconds = time.perf_counter() - began
                scores = referee.score(content, style, [out], args.size)[0]
                row = {"pair": pair, "painter": name, "seconds": seconds}
                row |= {key: scores[key] for key in ("w2", "style", "content", "noise")}
                rows.append(row)
                print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
                rows.sort(key=lambda row: names.index(row["painter"]))
                rows.sort(key=lambda row: [*PAIRS, row["pair"]].index(row["pair"]))
                record("peers", rows, size=args.size)
                sys.stdout.flush()


if __name__ == "__main__":
    main()
