"""The plan: the largest tiles that fit, one clear line where none do, and what counts as free."""

import itertools
import math
import re
import weakref
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from impasto.backbone.architecture import reach
from impasto.backbone.convolution import Convolution, Way
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from impasto.config import Config, Machine, changed_by
from impasto.errors import ConfigError
from impasto.images.read import read
from impasto.objective.objective import Objective
from impasto.painting import allocator, memory, tuning
from impasto.painting.allocator import KEPT_IN_FLOAT32, has_huge_pages, keep_big_blocks
from impasto.painting.memory import Plan, check_tile, free_memory, plan
from impasto.painting.problem import prepare_problem
from impasto.painting.tuning import tune_allocator
from impasto.process import HUGE_PAGES
from impasto.solver.lbfgs import LBFGS
from impasto.solver.preconditioner import SpectralPreconditioner
from impasto.solver.safeguard import Safeguard

HALO = 85  # of relu5_1, the deepest of the default's layers
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def backbone(tiny_weights) -> Backbone:
    return Backbone(load(str(tiny_weights)))


def of(**settings: object) -> tuple[Config, Machine]:
    return changed_by(settings, Config())


def needed_whole(backbone: Backbone, size: tuple[int, int], **settings: object) -> int:
    return plan(*of(memory=10**15, **settings), backbone, size).needed


def refusal(
    settings: tuple[Config, Machine], backbone: Backbone, size: tuple[int, int]
) -> ConfigError:
    """Ask for a plan that cannot be made, and return what it says: one line."""
    with pytest.raises(ConfigError) as caught:
        plan(*settings, backbone, size)
    assert "\n" not in str(caught.value)
    return caught.value


# --- the plan
# --------------------------------------------------------------------------------------------------


def test_a_picture_that_fits_is_painted_whole(backbone: Backbone) -> None:
    needed = needed_whole(backbone, (600, 800))
    assert plan(*of(memory=needed), backbone, (600, 800))[:3] == (None, needed, needed)
    assert plan(*of(memory=needed - 1), backbone, (600, 800)).tile_size is not None


def test_less_memory_gives_smaller_tiles_and_every_plan_keeps_to_it(backbone: Backbone) -> None:
    sides = []
    budget = needed_whole(backbone, (1200, 1600))
    least = refusal(of(memory=1), backbone, (1200, 1600)).allowed
    for share in (1.0, 0.95, 0.8, 0.6, 0.4, 0.2, 0.0):
        have = plan(*of(memory=round(least + share * (budget - least))), backbone, (1200, 1600))
        assert have.needed <= have.budget
        sides.append(have.tile_size or 1600)
    assert sides == sorted(sides, reverse=True)
    assert sides[0] == 1600
    assert len(set(sides)) > 4
    assert HALO <= sides[-1] < HALO + 16


def test_the_largest_side_that_fits_is_taken(backbone: Backbone) -> None:
    have = plan(
        *of(memory=round(0.9 * needed_whole(backbone, (1200, 1600)))), backbone, (1200, 1600)
    )
    with_more = plan(*of(tile=have.tile_size + 16, memory=10**12), backbone, (1200, 1600))
    assert with_more.tile_size == have.tile_size + 16
    assert with_more.needed > have.budget


def test_a_larger_picture_takes_more(backbone: Backbone, monkeypatch) -> None:
    monkeypatch.setattr(allocator, "has_huge_pages", lambda: False)
    needed = [needed_whole(backbone, (side, side)) for side in (100, 200, 400, 800)]
    assert needed == sorted(needed)
    more = [large - small for small, large in itertools.pairwise(needed)]
    assert more == pytest.approx([more[0], 4 * more[0], 16 * more[0]], rel=0.01)  # bytes a pixel


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_that_are_not_kept_leave_no_gaps(tiny_weights, monkeypatch, dtype) -> None:
    backbone = Backbone(load(str(tiny_weights)), dtype=dtype)
    planned = {}
    for huge in (False, True):
        monkeypatch.setattr(allocator, "has_huge_pages", lambda huge=huge: huge)
        planned[huge] = [needed_whole(backbone, (side, side)) for side in (64, 800)]
    small, large = zip(planned[True], planned[False], strict=True)
    assert small[0] == small[1]
    assert (large[0] < large[1]) is (dtype == torch.float32)


@pytest.mark.parametrize(
    ("dtype", "convolution", "of_a_number"),
    [
        (torch.float32, "direct", 8),
        (torch.bfloat16, "direct", 4),
        (torch.float32, "winograd", 8),  # too few channels for it
    ],
)
def test_kernels_are_counted_in_the_forms_of_both_ways(
    tiny_weights, dtype: torch.dtype, convolution: Way, of_a_number: int
) -> None:
    backbone = Backbone(load(str(tiny_weights)), dtype=dtype, convolution=convolution)
    counts = [kernel.shape.numel() for kernel, _ in backbone.weights.kernels.values()]
    layers, made = [list(backbone.weights.kernels)[-1]], 12 * max(counts)
    assert backbone.layout_bytes(layers) == of_a_number * sum(counts) + made


@pytest.mark.parametrize(
    ("convolution", "stride", "of_a_number"),
    [("int8", 8, 2), ("int8", 1, 1 + 4 + 16), ("winograd", 1, 8 + 16)],
)
def test_a_kernel_in_bytes_or_for_winograd(convolution: Way, stride: int, of_a_number: int) -> None:
    kernel = torch.zeros(256, 128, 3, 3)
    one = Convolution(kernel, torch.zeros(256), CPU, torch.float32, convolution, stride=stride)
    assert one.layout_bytes == of_a_number * kernel.numel()


def test_what_is_kept_takes_memory(backbone: Backbone, tiny_weights, monkeypatch) -> None:
    monkeypatch.setattr(allocator, "has_huge_pages", lambda: False)

    def needed(network: Backbone = backbone, **changes: object) -> int:
        return needed_whole(network, (500, 700), **changes)

    pixels = 500 * 700
    # S and Y of a pair: two pictures of three float32 numbers a pixel
    assert needed(history=13) - needed(history=10) == 3 * 2 * 12 * pixels
    assert needed(optimizer="adam") < needed()
    assert needed(style_layers="relu1_1,relu2_1", content_layers="relu2_2") < needed()
    half = Backbone(load(str(tiny_weights)), dtype=torch.bfloat16)
    assert needed(half) < needed()


def test_an_asked_for_tile_is_taken_unless_it_does_not_fit(backbone: Backbone) -> None:
    asked = plan(*of(tile=300, memory=10**12), backbone, (600, 800))
    assert asked.tile_size == 300
    assert plan(*of(tile=300, memory=asked.needed), backbone, (600, 800)).tile_size == 300
    assert plan(*of(tile=300, memory=asked.needed - 1), backbone, (600, 800)).tile_size < 300


def test_a_tile_as_large_as_the_picture_is_the_whole_picture(backbone: Backbone) -> None:
    assert plan(*of(tile=800, memory=10**12), backbone, (600, 800)).tile_size is None
    assert plan(*of(tile=799, memory=10**12), backbone, (600, 800)).tile_size == 799


def test_the_smallest_tile_is_the_halo(backbone: Backbone) -> None:
    assert reach(["relu5_1"]) == HALO
    assert plan(*of(tile=HALO, memory=10**12), backbone, (600, 800)).tile_size == HALO
    photo = read(np.zeros((600, 800, 3), np.uint8))
    config, machine = of(tile=HALO - 1, size="original")
    problem = prepare_problem(photo, [photo], config)
    with pytest.raises(ConfigError) as caught:  # before a network is loaded
        check_tile(problem, config, machine)
    error = caught.value
    assert str(error).startswith(
        "--tile 84 is less than the 85 pixels that the network sees around it"
    )
    assert error.value == 84
    # the deepest layer counts: a shallow one needs less
    assert (
        plan(
            *of(tile=20, style_layers="relu1_1", content_layers="relu3_1"), backbone, (600, 800)
        ).tile_size
        == 20
    )


def test_too_little_memory_names_what_would_do_and_it_does(backbone: Backbone) -> None:
    error = refusal(of(memory="20MB"), backbone, (600, 800))
    said = re.fullmatch(
        r"--memory 20MB is too little to paint 800 x 600 pixels with .*tiny\.safetensors: it takes "
        r"(\S+) of memory, (\S+) with --history 3, or a smaller --size",
        str(error),
    )
    assert said
    assert plan(*of(memory=said[1]), backbone, (600, 800)).tile_size < HALO + 16
    less = plan(*of(memory=said[2], history=3), backbone, (600, 800))
    assert less.tile_size < HALO + 16
    # without fewer pairs it is too little
    assert refusal(of(memory=said[2]), backbone, (600, 800))
    # neither is a lavish guess: a hundredth less is refused
    assert refusal(of(memory=round(0.98 * error.allowed)), backbone, (600, 800))
    assert refusal(of(memory=round(0.98 * less.needed), history=3), backbone, (600, 800))


@pytest.mark.parametrize("changes", [{"history": 3}, {"history": 1}, {"optimizer": "adam"}])
def test_fewer_pairs_are_named_only_where_they_help(backbone: Backbone, changes: dict) -> None:
    line = str(refusal(of(memory="20MB", **changes), backbone, (600, 800)))
    assert "--history" not in line
    assert line.endswith("of memory, or a smaller --size")


@pytest.mark.parametrize("size", [(601, 801), (97, 3001), (2000, 2000), (4001, 5003)])
def test_the_amount_named_always_does(backbone: Backbone, size: tuple[int, int]) -> None:
    for pooling in ("max", "average"):
        network = Backbone(backbone.weights, pooling=pooling)
        said = re.findall(
            r"([\d.]+[MG]B)",
            str(refusal(of(memory=1), network, size)).partition(": it takes")[2],
        )
        assert plan(*of(memory=said[0]), network, size).needed > 0
        assert plan(*of(memory=said[1], history=3), network, size).needed > 0


def test_a_plan_in_words() -> None:
    assert str(Plan(None, 1_234_000_000, 4 * 10**9)) == "in one piece, about 1.2GB of 4.0GB"
    assert (
        str(Plan(200, 56_700_000, 80 * 10**6))
        == "in tiles of at most 200 pixels, about 57MB of 80MB"
    )


# --- the plan and what is taken
# ------------------------------------------------------------------------------------


class Taken(TorchDispatchMode):
    """Counts the bytes of all tensors made within it that are alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.now = self.most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else [made]:
            # kernels in oneDNN's own order have no storage; they are the network's, not the plan's
            plain = isinstance(tensor, torch.Tensor) and not tensor.is_mkldnn
            storage = tensor.untyped_storage() if plain else None
            if storage is not None and storage._cdata not in self.sizes:
                self.sizes[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self.freed, storage._cdata)
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
        return made

    def freed(self, key: int) -> None:
        self.now -= self.sizes.pop(key)


def taken(
    config: Config,
    backbone: Backbone,
    height: int,
    width: int,
    style: tuple[int, int],
    side: int | None,
) -> int:
    """Bytes at once in a few steps of a painting, from when its pictures are there."""
    layers = [*config.content_layers, *config.style_layers]
    features, tape = backbone.record(torch.rand(1, 3, 64, 64), layers)
    tape.gradient(lambda layer, g: features[layer] if g is None else g)  # lays out its kernels
    with Taken() as count:
        content, pattern = torch.rand(1, 3, height, width), torch.rand(1, 3, *style)
        objective = Objective(config, backbone, content, [pattern], side)
        spectrum = SpectralPreconditioner(height, width, config.precondition)
        solver, guard, x = LBFGS(1.0, config.history, 0.01, spectrum), Safeguard(), content
        for _ in range(config.history + 2):
            value, gradient = objective.evaluate(x)
            guard.check(x, value.total, gradient, value.term_values)
            x = solver.step(x, gradient).clamp(0, 1)
    return count.most


@pytest.mark.parametrize("pooling", ["max", pytest.param("average", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("dtype", "tile"),
    [
        (torch.float32, "auto"),
        (torch.bfloat16, 85),
        pytest.param(torch.float32, 85, marks=pytest.mark.slow),
        pytest.param(torch.bfloat16, "auto", marks=pytest.mark.slow),
    ],
)
def test_a_painting_takes_what_its_plan_says(
    tiny_weights, dtype: torch.dtype, pooling: str, tile: object
) -> None:
    backbone = Backbone(load(str(tiny_weights)), pooling=pooling, dtype=dtype)
    config, machine = of(history=3, tile=tile, memory="1GB")
    have = plan(config, machine, backbone, (240, 190), [(240, 190)])
    most = taken(config, backbone, 240, 190, (240, 190), have.tile_size)
    assert 0.5 * have.needed < most < have.needed


@pytest.mark.parametrize("tile", ["auto", 85])
def test_frames_are_planned_for(tiny_weights, tile: object) -> None:
    backbone = Backbone(load(str(tiny_weights)), padding="replicate")
    config, machine = of(history=3, tile=tile, memory="1GB")
    have = plan(config, machine, backbone, (97, 113), [(97, 81)])
    most = taken(config, backbone, 97, 113, (97, 81), have.tile_size)
    assert 0.5 * have.needed < most < have.needed


def test_with_its_frame_a_picture_takes_what_one_of_that_size_does(tiny_weights) -> None:
    plain, framing = (
        Backbone(load(str(tiny_weights)), padding=padding) for padding in ("zeros", "replicate")
    )
    # 16 pixels above and on the left, at least 8 on the other sides, so that 16 divides both
    assert plan(*of(memory=10**12), framing, (601, 801), [(300, 400)]) == plan(
        *of(memory=10**12), plain, (640, 832), [(336, 432)]
    )


def test_a_style_of_another_shape_does_not_take_more_than_the_plan_says(backbone: Backbone) -> None:
    # as large as `style_at` makes a square style for a panorama
    config, machine = of(history=3, memory="1GB")
    have = plan(config, machine, backbone, (64, 640), [(640, 640)])
    assert taken(config, backbone, 64, 640, (640, 640), have.tile_size) < have.needed


# --- what is free
# --------------------------------------------------------------------------------------------------


def test_auto_plans_with_most_of_what_is_free(backbone: Backbone, monkeypatch) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(memory, "free_memory", lambda device: asked.append(device) or 10**9)
    have = plan(*of(memory="auto"), backbone, (600, 800))
    assert asked == [CPU]
    assert 0.5 * 10**9 < have.budget < 10**9
    assert plan(*of(memory=have.budget), backbone, (600, 800)) == have


def test_auto_with_too_little_free_says_so(backbone: Backbone, monkeypatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda _: 25 * 10**6)
    line = str(refusal(of(), backbone, (600, 800)))
    assert line.startswith("25MB of free memory is too little to paint 800 x 600 pixels")
    assert "--memory" not in line
    named = float(re.search(r"it takes ([\d.]+)MB of memory", line)[1])
    monkeypatch.setattr(memory, "free_memory", lambda _: int(named * 10**6))
    assert plan(*of(), backbone, (600, 800)).needed > 0


def test_asked_for_memory_is_not_held_against_what_is_free(backbone: Backbone, monkeypatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda _: 1)
    assert plan(*of(memory="4GB"), backbone, (600, 800)).tile_size is None


def test_free_memory_keeps_to_the_limit_of_a_container(monkeypatch) -> None:
    available = SimpleNamespace(available=8 * 10**9)
    monkeypatch.setattr("psutil.virtual_memory", lambda: available)
    for limit, free in ((math.inf, 8 * 10**9), (9e9, 8 * 10**9), (2e9, 2 * 10**9), (0, 0)):
        monkeypatch.setattr(memory.cgroups, "free_memory", lambda limit=limit: limit)
        assert free_memory(CPU) == free


def test_free_memory_of_this_machine() -> None:
    assert 10**6 < free_memory(CPU) <= psutil.virtual_memory().total


# --- the option
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ("4GB", 4 * 10**9),
        ("800 MB", 800 * 10**6),
        ("1.5GiB", 3 * 2**29),
        ("4096", 4096),
        (4096, 4096),
        (" 2 g ", 2 * 10**9),
        ("0.5tb", 5 * 10**11),
        ("64KiB", 65536),
        ("7b", 7),
        ("auto", "auto"),
    ],
)
def test_memory_as_it_is_typed(given: object, count: object) -> None:
    machine = Machine(memory=given)
    assert machine.memory == count
    assert Machine(**machine.model_dump(mode="json")) == machine


@pytest.mark.parametrize(
    "given",
    [
        "0",
        "-1",
        "lots",
        "4XB",
        "1.2.3GB",
        "",
        ".",
        "GB",
        "4 5GB",
        "1e400",
        "inf",
        "nan",
        0,
        -1,
        2.5,
        None,
    ],
)
def test_memory_that_is_none_is_refused(given: object) -> None:
    with pytest.raises(ConfigError) as caught:
        Machine(memory=given)
    assert re.fullmatch(
        r"--memory is .*: it takes bytes, as 4GB or 800MB, or auto", str(caught.value)
    )


def test_memory_with_more_digits_than_a_float_holds_is_refused() -> None:
    with pytest.raises(ConfigError, match="--memory is"):
        Machine(memory="9" * 400 + "GB")


@pytest.mark.parametrize("given", ["15", "0", "-1", "70000", "big", "", 3.5])
def test_a_tile_out_of_range_is_refused(given: object) -> None:
    with pytest.raises(
        ConfigError, match=r"--tile is .*: it takes a whole number from 16 to 65,536, or auto"
    ):
        Machine(tile=given)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            "--tile 20",
            "--tile 20 is less than the 85 pixels that the network sees around it: give 85 or more",
        ),
        ("--size 400 --memory 1MB", "--memory 1MB is too little to paint 400 x 333 pixels"),
        (
            "--size 400 --tile 90 --memory 1MB",
            "--memory 1MB is too little to paint 400 x 333 pixels",
        ),
        ("--memory lots", "--memory is 'lots': it takes bytes, as 4GB or 800MB, or auto"),
        ("--memory 0", "--memory is 0: it takes bytes, as 4GB or 800MB, or auto"),
        ("--tile 15", "--tile is '15': it takes a whole number from 16 to 65,536, or auto"),
    ],
)
def test_the_command_line_ends_with_one_line(
    impasto, tiny, photo, style, tmp_path, options: str, said: str
) -> None:
    code, out, err = impasto("paint", photo, style, "-o", "out.png", *tiny, *options.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"impasto: {said}")
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_command_line_paints_in_tiles(impasto, tiny, photo, style, tmp_path) -> None:
    code, _, _ = impasto(
        "paint",
        photo,
        style,
        "-o",
        "out.png",
        *tiny,
        "--size",
        120,
        "--tile",
        85,
        "--memory",
        "1GB",
    )
    assert code == 0
    assert (tmp_path / "out.png").exists()


# --- the allocator
# -------------------------------------------------------------------------------------------------


def test_keeping_big_blocks_can_be_asked_for_again() -> None:
    first, second = keep_big_blocks(), keep_big_blocks()
    assert isinstance(first, bool)
    assert first == second
    assert torch.ones(3_000_000).sum() == 3_000_000  # memory is still to be had


@pytest.mark.parametrize("name", ["darwin", "win32"])
def test_another_system_keeps_its_own_ways(monkeypatch, name: str) -> None:
    monkeypatch.setattr(allocator.sys, "platform", name)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: pytest.fail("a C library was loaded"))
    assert keep_big_blocks() is False


def test_another_c_library_keeps_its_own_ways(monkeypatch) -> None:
    def missing(_: str) -> None:
        raise OSError("libc.so.6: cannot open shared object file")

    monkeypatch.setattr(allocator.sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", missing)
    assert keep_big_blocks() is False


@pytest.mark.parametrize(
    ("kernel", "asked", "huge"),
    [
        ("always [madvise] never", "1", True),
        ("[always] madvise never", "1", True),
        ("always madvise [never]", "1", False),
        ("always [madvise] never", "0", False),
        ("always [madvise] never", "", False),
        (None, "1", False),
    ],
)
def test_huge_pages_are_there_if_asked_for_and_given(
    tmp_path, monkeypatch, kernel: str | None, asked: str, huge: bool
) -> None:
    if kernel is not None:
        (tmp_path / "enabled").write_text(kernel + "\n")
    monkeypatch.setattr(allocator, "LINUX", tmp_path / "enabled")
    monkeypatch.setenv(HUGE_PAGES, asked)
    assert has_huge_pages() is huge


@pytest.mark.parametrize(
    ("dtype", "huge", "tiled", "kept"),
    [
        (torch.float32, True, False, KEPT_IN_FLOAT32),
        (torch.float32, True, True, 5_000_000),
        (torch.float32, False, False, allocator.MOST),
        (torch.bfloat16, True, False, allocator.MOST),
        (torch.bfloat16, True, True, 5_000_000),
    ],
)
def test_large_blocks_come_anew_only_in_float32_and_huge_pages(
    monkeypatch, dtype: torch.dtype, huge: bool, tiled: bool, kept: int
) -> None:
    asked = []
    monkeypatch.setattr(tuning, "keep_big_blocks", asked.append)
    monkeypatch.setattr(allocator, "has_huge_pages", lambda: huge)
    backbone = SimpleNamespace(device=torch.device("cpu"), dtype=dtype)
    tune_allocator(Plan(256 if tiled else None, 0, 0, 5_000_000), backbone)
    assert asked == [kept]
