"""What several tests share: a tiny network of VGG-19's shape, and two small pictures."""

from pathlib import Path

from impasto.process import prepare_process

prepare_process()  # before torch is imported here, and for all processes that tests start

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from impasto.backbone.architecture import VGG19
from impasto.cli.main import main
from impasto.errors import use_option_names
from impasto.figures import contact_sheet as figures
from impasto.figures.contact_sheet import contact_sheet
from impasto.objective.objective import Objective

torch.set_num_threads(1)  # the networks here are tiny: threads would only wait for one another


LONGEST_FILES = ("web/test_page.py", "batch/test_batch.py", "painting/test_checkpoint.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker is left alone with one of them at the end."""

    def place(item: pytest.Item) -> int:
        name = item.nodeid.partition("::")[0]
        return next((k for k, end in enumerate(LONGEST_FILES) if name.endswith(end)), 99)

    items.sort(key=place)
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="torch finds no GPU here"))


@pytest.fixture(scope="session", autouse=True)
def _folders_of_the_tests(tmp_path_factory: pytest.TempPathFactory):
    """The key that job files are signed with, and what is remembered of this machine, lie in
    folders of the tests, also for processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMPASTO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True)
def _one_thread():
    """What a test paints with other numbers of threads leaves none of them to the next."""
    yield
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _words_of_the_command_line():
    """Messages name options, as on the command line; tests of Python's words have their own."""
    use_option_names()


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = torch.Generator().manual_seed(0)
    tensors, inward = {}, 3
    for stage, (depth, outward) in enumerate(zip(VGG19.depths, (4, 4, 8, 8, 8), strict=True), 1):
        for k in range(1, depth + 1):
            kernel = torch.randn(outward, inward, 3, 3, generator=generator)
            # He et al. 2015
            tensors[f"conv{stage}_{k}.weight"] = kernel * (2 / (inward * 9)) ** 0.5
            tensors[f"conv{stage}_{k}.bias"] = torch.zeros(outward)
            inward = outward
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(tensors, path, {"input": "(RGB in [0, 1] - 0.45) / 0.226"})
    return path


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    across, down = np.meshgrid(np.linspace(0, 255, 48), np.linspace(0, 255, 40))
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(np.stack([across, down, 255 - across], 2).round().astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def style(tmp_path_factory: pytest.TempPathFactory) -> Path:
    blocks = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("style") / "style.png"
    Image.fromarray(blocks.repeat(4, 0).repeat(4, 1)).save(path)
    return path


@pytest.fixture
def impasto(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the command line in `tmp_path` and gives its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return stop.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def tiny(tiny_weights: Path) -> list[str]:
    """Options that make a painting take a tenth of a second."""
    return (
        f"--backbone {tiny_weights} --size 32 --steps 2 --levels 1 --device cpu --precision float32"
    ).split()


@pytest.fixture
def painted(impasto, photo, style, tiny):
    """A painting of `photo` in `style`, out.png."""

    def paint(*options: object, out: str = "out.png") -> tuple[object, str, str]:
        return impasto("paint", photo, style, "-o", out, *tiny, *options)

    return paint


@pytest.fixture
def refused(impasto, tmp_path, monkeypatch):
    """Runs a command that must fail with one line, before anything is painted or written; gives
    that line."""
    evaluate = "impasto.objective.objective.Objective.evaluate"

    def run(*arguments: object) -> str:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with monkeypatch.context() as patch:
            patch.setattr(evaluate, lambda *_: pytest.fail("the painting began"))
            code, out, err = impasto(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("impasto: ")
        assert err.count("\n") == 1
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        return err

    return run


@pytest.fixture
def sheets(monkeypatch):
    """The rows of the figures that are made from here on."""
    found = []

    def sheet(rows, **more):
        found.append([list(row) for row in rows])
        return contact_sheet(rows, **more)

    monkeypatch.setattr(figures, "contact_sheet", sheet)
    return found


@pytest.fixture
def ctrl_c(monkeypatch):
    """Presses Ctrl-C during the n-th evaluation, counted over all paintings."""

    def press(at: int, patch: pytest.MonkeyPatch = monkeypatch) -> None:
        evaluate, made = Objective.evaluate, []

        def interrupted(self: Objective, x: torch.Tensor):
            made.append(x.shape)
            if len(made) == at:
                raise KeyboardInterrupt
            return evaluate(self, x)

        patch.setattr(Objective, "evaluate", interrupted)

    return press
