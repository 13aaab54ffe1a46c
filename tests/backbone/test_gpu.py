"""A GPU: what is said where torch cannot use it; and, where there is one, the CPU's pictures.

`make test-gpu` runs the tests that need one; elsewhere they are skipped.
"""

import pytest
import torch

from impasto import Config, Machine
from impasto.backbone.load import load_backbone, unused_gpu
from impasto.images.read import read
from impasto.objective.objective import Objective
from impasto.painting.batched import paint_batched
from impasto.painting.cuda_graph import GraphedObjective
from impasto.painting.run import Run


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """The driver's file, of a machine whose torch finds no GPU."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    file = tmp_path / "version"
    file.write_text("NVRM version: NVIDIA UNIX\n")
    return file


def test_without_a_gpu_nothing_is_said(driver) -> None:
    driver.unlink()
    assert unused_gpu(driver) == ""


def test_a_torch_for_processors_is_named_with_the_line_that_mends_it(driver, monkeypatch) -> None:
    monkeypatch.setattr("torch.version.cuda", None)
    said = unused_gpu(driver)
    assert f"torch {torch.__version__} is built for processors only" in said
    assert "pip install --force-reinstall torch --index-url https://" in said


def test_an_old_driver_is_suspected(driver, monkeypatch) -> None:
    monkeypatch.setattr("torch.version.cuda", "12.8")
    assert "CUDA 12.8 may need a newer driver" in unused_gpu(driver)


def test_a_gpu_that_torch_uses_needs_no_words(driver, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert unused_gpu(driver) == ""


def test_info_and_a_painting_say_it(impasto, photo, style, tiny, monkeypatch) -> None:
    said = "an NVIDIA GPU is here, but"
    for module in ("impasto.backbone.load", "impasto.cli.terminal"):
        monkeypatch.setattr(f"{module}.unused_gpu", lambda: said)
    assert said in impasto("info")[1]
    on = [word for word in tiny if word not in ("--device", "cpu")]
    assert said in impasto("paint", photo, style, *on)[2]


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("settings", "precision"),
    [
        ({}, "auto"),
        ({"style_term": "gram"}, "auto"),
        ({"color": "luminance"}, "auto"),
        # with long steps, which do not follow the gradient, rounding leads far
        ({"optimizer": "adam", "learning_rate": 0.005}, "float32"),
    ],
    ids=str,
)
def test_a_gpu_ends_where_the_cpu_does(photo, style, settings, precision) -> None:
    config = Config(size=192, steps=40, finish=10, **settings)
    ends = []
    on_gpu = Machine(device="cuda", precision=precision)
    for machine in (on_gpu, Machine(device="cpu", precision="float32")):
        *_, last = Run.prepare(read(photo), [read(style)], config, machine).steps()
        ends.append(float(last.value))
    assert ends[0] == pytest.approx(ends[1], rel=0.01)


@pytest.mark.gpu
def test_on_a_gpu_tiles_make_the_picture_of_one_piece(photo, style) -> None:
    config = Config(size=256, steps=12, levels=1, finish=0)
    pictures = []
    for machine in (Machine(device="cuda"), Machine(device="cuda", tile=128)):
        run = Run.prepare(read(photo), [read(style)], config, machine)
        pictures.append(run.paint().pixels)
    assert (pictures[0] - pictures[1]).abs().mean() < 0.01


@pytest.mark.gpu
@pytest.mark.parametrize("style_term", ["wasserstein", "gram", "moments"])
def test_a_graph_computes_what_its_kernels_do_one_by_one(photo, style, style_term, caplog) -> None:
    config = Config(size=128, style_term=style_term, grain_weight=1)
    backbone = load_backbone("vgg19", device="cuda")
    content, picture = (read(path).pixels.to("cuda") for path in (photo, style))
    objective = Objective(config, backbone, content, [picture])
    graphed = GraphedObjective(objective)
    for _ in range(5):
        pixels = torch.lerp(content, torch.rand_like(content), 0.2)
        (one, by_one), (many, by_many) = graphed.evaluate(pixels), objective.evaluate(pixels)
        assert one.total.item() == pytest.approx(many.total.item(), rel=1e-3)
        assert (by_one - by_many).norm() < 0.02 * by_many.norm()
    assert not caplog.records


@pytest.mark.gpu
def test_a_batch_paints_what_each_paints_alone(photo, style) -> None:
    config = Config(size=128, steps=12, levels=1, finish=0)
    runs = [Run.prepare(read(photo), [read(style)], config, Machine(device="cuda")) for _ in "abc"]
    alone = runs[0].paint().pixels
    *_, last = paint_batched(runs)
    for run, step in zip(runs, last, strict=True):
        assert (run.painting(step).pixels - alone).abs().mean() < 0.01


@pytest.mark.gpu
@pytest.mark.parametrize(
    "settings",
    [{}, {"optimizer": "adam", "learning_rate": 0.005}, {"edge_weight": 0.1}, {"history": 3}],
    ids=str,
)
def test_steps_as_a_graph_paint_the_same(photo, style, settings, monkeypatch, caplog) -> None:
    config = Config(size=128, steps=16, levels=1, finish=0, style_term="gram", **settings)
    ends, pictures = [], []
    for refused in ([], ["not asked for"]):
        monkeypatch.setattr("impasto.painting.cuda_graph._refused_steps", refused)
        run = Run.prepare(read(photo), [read(style)], config, Machine(device="cuda"))
        painting = run.paint()
        ends.append(painting.value)
        pictures.append(painting.pixels)
    assert ends[0] == pytest.approx(ends[1], rel=0.005)
    assert (pictures[0] - pictures[1]).abs().mean() < 0.01
    assert not caplog.records
