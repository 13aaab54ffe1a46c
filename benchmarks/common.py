"""Helpers of the benchmarks: the machine and its ceilings, medians, pictures, records of tables."""

import datetime
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from impasto.backbone.fastest import processor_name
from impasto.process import HUGE_PAGES, SPIN

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))
from gallery import PAIRS, find, load_referee  # noqa: E402, F401

SHARED = ROOT.parent / "shared"
RECORDS = ROOT / "benchmarks" / "records"


def machine(device: str = "cpu") -> str:
    """The processor or accelerator, the threads in use here, and torch's version."""
    if device != "cpu":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{processor_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def users_environment() -> dict[str, str]:
    """The environment of a program as its users start it.

    Without what `impasto.process` has set in this one (`gallery` has it do so), and with modules
    that are compiled once, as an installed package's are.
    """
    ours = {HUGE_PAGES, *SPIN, "PYTHONDONTWRITEBYTECODE"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def wait(device: str) -> None:
    """Wait until the device has finished."""
    if device != "cpu":
        torch.cuda.synchronize()


def median_seconds(call: Callable[[], object], runs: int = 7, device: str = "cpu") -> float:
    """Median time of `call`, after a first call that is not counted."""
    taken = []
    for _ in range(runs + 1):
        wait(device)
        began = time.perf_counter()
        call()
        wait(device)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def ceilings(device: str = "cpu") -> dict[str, float]:
    """TFLOP/s of the best of three large matrix products in each precision, and GB/s of a copy
    (read and written)."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        rates = []
        for side in (1024, 2048, 4096):
            a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
            rates.append(2 * side**3 / median_seconds(lambda a=a, b=b: a @ b, device=device) / 1e12)
        found[str(dtype).removeprefix("torch.")] = max(rates)
    source = torch.randn(2**26, device=device)
    target = torch.empty_like(source)
    found["copy"] = (
        2 * source.nbytes / median_seconds(lambda: target.copy_(source), device=device) / 1e9
    )
    return found


def record(table: str, rows: Sequence[dict], device: str = "cpu", **more: object) -> None:
    """Save a table's rows with date and machine for report.py: a file for each table and device."""
    RECORDS.mkdir(exist_ok=True)
    kept = {
        "date": str(datetime.date.today()),
        "machine": machine(device),
        "device": device,
        **more,
        "rows": list(rows),
    }
    (RECORDS / f"{table}-{device}.json").write_text(json.dumps(kept, indent=1) + "\n")


def recorded(table: str, device: str = "cpu") -> list[dict]:
    """The rows of a table that were measured today on this machine."""
    file = RECORDS / f"{table}-{device}.json"
    kept = json.loads(file.read_text()) if file.exists() else {"rows": []}
    same = (kept.get("date"), kept.get("machine")) == (str(datetime.date.today()), machine(device))
    return kept["rows"] if same else []


def pictures(pair: str) -> tuple[Path, Path]:
    """The content and the style of "content+style" in ../shared."""
    content, style = pair.split("+")
    return find(SHARED / "images" / "content", content), find(SHARED / "images" / "style", style)
