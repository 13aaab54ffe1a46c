"""Write benchmarks/RESULTS.md from the records of the other scripts; missing ones are named."""

import json
import statistics
from collections.abc import Callable, Iterable, Sequence

from common import RECORDS, ROOT

GPU = "cuda"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def evaluation(kept: dict) -> str:
    """Table 1."""
    before, after = kept["ceilings"], kept["ceilings_after"]
    ceilings = ", ".join(
        f"{name} {before[name]:.2f} and {after[name]:.2f} TFLOP/s"
        for name in ("float32", "bfloat16")
    )
    rows = [
        (
            row["network"],
            row["side"],
            row["variant"],
            f"{row['seconds']:.3f}",
            f"{row['tflops']:.2f}",
            f"{row['speedup']:.1f}",
            f"{row['of_ceiling']:.0%}",
        )
        for row in kept["rows"]
    ]
    heads = (
        "network",
        "side",
        "variant",
        "seconds",
        "TFLOP/s",
        "times the baseline",
        "of the ceiling",
    )
    return (
        f"Ceilings, largest matrix product, before and after: {ceilings}; copy "
        f"{before['copy']:.0f} GB/s.\n\n" + table(heads, rows)
    )


def same_picture(kept: dict) -> str:
    """Table 2."""

    def shown(row: dict, share: str) -> str:
        seconds = row["seconds"][share]
        return f"{seconds:.1f} ({row['baseline_seconds'] / seconds:.1f})" if seconds else "no"

    rows = [
        (
            row["pair"].replace("+", ", "),
            f"{row['width']} x {row['height']}",
            f"{row['baseline']:.3f}",
            f"{row['baseline_seconds']:.0f}",
            *(shown(row, share) for share in row["seconds"]),
            f"{row['default']:.3f}",
            f"{row['default_seconds']:.1f}",
        )
        for row in kept["rows"]
    ]
    near = [f"within {100 * float(share):g} %, s" for share in kept["rows"][0]["seconds"]]
    heads = (
        "pair",
        "size",
        "objective to reach",
        "baseline, s",
        *near,
        "the defaults' objective",
        "and time, s",
    )
    return f"Network: {kept['network']}. In brackets: times sooner.\n\n" + table(heads, rows)


def memory(kept: dict) -> str:
    """Table 3."""
    rows = [
        (
            row["network"],
            f"{row['size']} x {row['size']}",
            row["memory"],
            row["side"] or "one piece",
            row["history"],
            f"{row['planned'] / 1e6:,.0f}",
            f"{row['peak'] / 1e6:,.0f}",
            f"{row['peak'] / row['size'] ** 2:,.0f}",
            f"{row['seconds_a_megapixel']:.2f}",
        )
        for row in kept["rows"]
    ]
    heads = (
        "network",
        "size",
        "--memory",
        "tiles of",
        "--history",
        "planned, MB",
        "peak, MB",
        "peak, bytes a pixel",
        "s an evaluation and megapixel",
    )
    return table(heads, rows)


def startup(kept: dict) -> str:
    """Table 4."""
    rows = [
        (row["what"], f"{row['seconds']:.2f}", f"{row['least']:.2f} to {row['most']:.2f}")
        for row in kept["rows"]
    ]
    return table(("what", "seconds, median of 7", "range"), rows)


def solvers(kept: dict) -> str:
    """Table 5."""
    rows = [
        (
            row["pair"].replace("+", ", "),
            row["solver"],
            *(f"{value:.4f}" for value in row["values"]),
        )
        for row in kept["rows"]
    ]
    return table(("pair", "solver", *(f"{mark} evaluations" for mark in kept["marks"])), rows)


def levels(kept: dict) -> str:
    """Table 6."""
    rows = [
        (
            ", ".join(f"{name} {value}" for name, value in row["split"].items()) or "the defaults",
            f"{row['objective']:.4f}",
            f"{row['seconds']:.1f}",
            f"{row['slowest']:.1f}",
            f"{row['style']:.4f}",
            f"{row['content']:.3f}",
            f"{row['noise']:.2f}",
        )
        for row in kept["rows"]
    ]
    return table(
        ("setting", "objective", "seconds", "slowest pair", "style", "content", "noise"), rows
    )


def long_work(kept: dict) -> str:
    """Table 7."""
    return table(
        ("what", "measured", "result"),
        [(row["what"], row["measured"], row["ratio"]) for row in kept["rows"]],
    )


def spinning(kept: dict) -> str:
    """Table 8."""
    rows = [
        (
            f"{row['spin count']:,}",
            f"{row['quiet']:.1f}",
            f"{row['quiet, against 300,000']:.2f}",
            f"{row['busy']:.1f}",
            f"{row['busy against quiet']:.2f}",
        )
        for row in kept["rows"]
    ]
    return table(
        ("rounds", "alone, s", "against 300,000", "beside busy loops, s", "against alone"), rows
    )


def convolutions(kept: dict) -> str:
    """Table 9."""
    rows = [
        (
            f"{row['inward']} to {row['outward']}",
            f"{row['side']} x {row['side']}",
            *(
                cell
                for way in ("forward", "backward")
                for cell in (
                    f"{row[way]['direct']:.1f}",
                    f"{row[way]['winograd']:.1f}",
                    f"{row[way]['winograd'] / row[way]['direct']:.2f}"
                    + ("" if row[way]["used"] else " (not used)"),
                )
            ),
            f"{row['error']:.0e}",
        )
        for row in kept["rows"]
    ]
    heads = ("channels", "size", "forward, ms", "Winograd", "ratio")
    heads += ("backward, ms", "Winograd", "ratio", "error")
    return table(heads, rows)


def peers(kept: dict) -> str:
    """Table 10."""
    scores = ("seconds", "w2", "style", "content", "noise")
    pairs = {row["pair"] for row in kept["rows"]}
    means = []
    for painter in dict.fromkeys(row["painter"] for row in kept["rows"]):
        own = [row for row in kept["rows"] if row["painter"] == painter]
        if len(own) == len(pairs) > 1:
            mean = {key: statistics.mean(row[key] for row in own) for key in scores}
            means.append({"pair": f"mean of {len(own)}", "painter": painter, **mean})
    rows = [
        (
            row["pair"].replace("+", ", "),
            row["painter"],
            f"{row['seconds']:.0f}",
            *(f"{row[key]:.3f}" for key in ("w2", "style", "content")),
            f"{row['noise']:.2f}",
        )
        for row in (*kept["rows"], *means)
    ]
    about = f"{kept['size']} pixels.\n\n"
    return about + table(("pair", "", "seconds", "w2", "Gram", "content", "noise"), rows)


def gpu(kept: dict) -> str:
    """Table 11."""
    rows = [
        (
            row["what"],
            f"{row['ms']:.1f} ms" if "ms" in row else f"{row['seconds']:.2f} s",
            f"{row['times_the_plain_loop']:.1f}" if "times_the_plain_loop" in row else "",
        )
        for row in kept["rows"]
        if "ms" in row or "seconds" in row
    ]
    about = f"Driver {kept['driver']}. " if "driver" in kept else ""
    return about + "\n\n" + table(("a step, or a painting", "time", "times as fast"), rows)


TABLES: dict[str, tuple[str, Callable[[dict], str], str]] = {
    "evaluation": (
        "1. One evaluation",
        evaluation,
        "Forward and backward pass to the pixels, the objective of the preset gatys-lbfgs, median "
        "of 5; TFLOP/s counts convolutions only. The baseline is measured before the allocator is "
        "told to keep its blocks, and after.",
    ),
    "same_picture": (
        "2. Time to the same picture",
        same_picture,
        "The plain loop minimizes the defaults' objective with VGG-19 at full size in 300 "
        "evaluations (autograd, torch's L-BFGS). Ours paints as the defaults do, the small network "
        "first, and lets VGG-19 go on; its times are until the objective is within some percents "
        "of that of the baseline's picture. The last columns are the defaults as they are. Ours "
        "runs in a process prepared as `impasto paint` prepares its own, the loop in one as torch "
        "comes.",
    ),
    "memory": (
        "3. Memory",
        memory,
        "Peak of the process less what interpreter, weights and pictures took before the "
        "first step.",
    ),
    "startup": ("4. Start-up", startup, "New processes, files warm."),
    "solvers": (
        "5. Solvers",
        solvers,
        "The lowest objective after so many evaluations: the default's objective, network compact, "
        "float32, 256 pixels, unclamped.",
    ),
    "levels": (
        "6. Sizes and steps",
        levels,
        "The defaults, but for what the first column says, on five pairs at 512 pixels: "
        "means. The objective is "
        "that at full size in float32.",
    ),
    "long_work": (
        "7. Batch and cluster",
        long_work,
        "Medians of three; the kills are counted once. Batches are new processes, start and all.",
    ),
    "spinning": (
        "8. Waiting threads",
        spinning,
        "Seconds of `--draft` at 256 pixels, by how many rounds libgomp's waiting threads spin "
        "(`GOMP_SPINCOUNT`): alone on the machine, medians of five; beside a busy loop on every "
        "processor, of two.",
    ),
    "convolutions": (
        "9. Convolutions",
        convolutions,
        "One 3 x 3 convolution in float32 on a CPU, direct (oneDNN) and by Winograd's algorithm; "
        "the error is relative, of the forward pass.",
    ),
    "peers": (
        "10. Peers",
        peers,
        "Whole processes, one after the other, all with the true VGG-19; pastiche 1.6.0 with its "
        "defaults. Scores as in the README, lower is nearer.",
    ),
    "gpu": (
        "11. A GPU",
        gpu,
        "Whole steps, solver included, medians after 20 warm-ups, in bfloat16; our steps as a CUDA "
        "graph of the evaluation, and with every kernel launched by itself. The plain loop "
        "(torch's L-BFGS, autograd, TF32, cuDNN's fastest kernels) has the objective of `gram`.",
    ),
}


def main() -> None:
    """Write RESULTS.md."""
    parts = [
        "# Results",
        "Printed by `make bench` (`benchmarks/*.py`); the numbers behind each table are in "
        "`benchmarks/records`. "
        "These machines are noisy: read the ratios.",
    ]
    for name, (title, render, about) in TABLES.items():
        parts += [f"## {title}", about]
        for device in ("cpu", GPU):
            path = RECORDS / f"{name}-{device}.json"
            if not path.exists():
                if name in ("evaluation", "same_picture", "memory"):
                    parts.append(f"**{'GPU' if device == GPU else 'CPU'}**: not measured.")
                continue
            kept = json.loads(path.read_text())
            parts += [f"**{kept['machine']}**, {kept['date']}.", render(kept)]
    (ROOT / "benchmarks" / "RESULTS.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
