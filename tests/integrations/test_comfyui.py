"""The nodes for ComfyUI in a stand-in for ComfyUI, in both forms of nodes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from comfy_host import ComfyHost, InterruptProcessingException, load_nodes

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

FOLDER = Path(__file__).parents[2] / "integrations" / "comfyui"


@pytest.fixture
def host():
    return ComfyHost()


@pytest.fixture(params=["V1", "V3"])
def nodes(request, host, monkeypatch):
    return load_nodes(FOLDER, monkeypatch, host.modules(v3=request.param == "V3"))


def images(*paths: Path) -> torch.Tensor:
    """A batch as ComfyUI's Load Image gives it: (B, H, W, 3) in [0, 1]."""
    arrays = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return torch.from_numpy(np.stack(arrays).astype(np.float32) / 255)


@pytest.fixture
def content(photo):
    return images(photo)


@pytest.fixture
def brush(style):
    return images(style)


@pytest.fixture
def quick(tiny_weights):
    """Widgets for a painting of a tenth of a second."""
    settings = {"backbone": str(tiny_weights), "device": "cpu", "precision": "float32", "levels": 1}
    return {"size": 32, "steps": 3, "settings": json.dumps(settings)}


def test_both_forms_offer_the_same(host, monkeypatch):
    forms = [load_nodes(FOLDER, monkeypatch, host.modules(v3=v3)) for v3 in (False, True)]
    for one, other in zip(*(form.items() for form in forms), strict=True):
        assert (one[0], one[1].name, one[1].inputs) == (other[0], other[1].name, other[1].inputs)
    names = [node.name for node in forms[0].values()]
    assert names == [f"{name} (impasto)" for name in ("Paint", "Paint Region", "Texture", "Film")]
    inputs = forms[0]["ImpastoPaint"].inputs
    assert inputs["look"][0] == ["subtle", "painted", "bold"]
    assert inputs["size"][1]["default"] == 512
    assert all(options["tooltip"] for _, options, _ in inputs.values())


def test_every_picture_of_a_batch_is_painted(nodes, host, content, brush, quick):
    both = torch.cat([content, 1 - content])
    painted = nodes["ImpastoPaint"](content=both, style=brush, **quick)
    assert (painted.shape, painted.dtype) == ((2, 27, 32, 3), torch.float32)
    assert painted.min() >= 0
    assert painted.max() <= 1
    assert not painted.is_inference()
    alone = nodes["ImpastoPaint"](content=both[1:], style=brush, **quick)
    assert torch.equal(painted[1:], alone)
    assert not torch.equal(painted[0], painted[1])
    assert host.unloaded == 2


def test_size_0_keeps_the_size_and_a_batch_of_styles_is_blended(nodes, content, brush, quick):
    one = nodes["ImpastoPaint"](content=content, style=brush, **{**quick, "size": 0})
    two = nodes["ImpastoPaint"](
        content=content, style=torch.cat([brush, 1 - brush]), **{**quick, "size": 0}
    )
    assert one.shape == two.shape == content.shape
    assert not torch.equal(one, two)


def test_the_progress_is_shown_with_previews(nodes, host, content, brush, quick):
    nodes["ImpastoPaint"](content=torch.cat([content, content]), style=brush, **quick)
    values = [value for value, _, _ in host.progress]
    assert values == sorted(values)
    assert (len(values), values[2], values[-1], host.progress[0][1]) == (6, 1000, 2000, 2000)
    form, picture, largest = host.progress[0][2]
    assert (form, picture.mode, picture.size, largest) == ("JPEG", "RGB", (32, 27), 512)


def test_cancel_ends_the_run(nodes, host, content, brush, quick):
    host.cancel_at = 20
    with pytest.raises(InterruptProcessingException):
        nodes["ImpastoPaint"](content=content, style=brush, **{**quick, "steps": 500})
    assert len(host.progress) < 30


def test_only_the_region_is_painted(nodes, content, brush, quick):
    mask = torch.zeros(1, 40, 48)
    mask[:, :, 24:] = 1
    region, given = nodes["ImpastoPaintRegion"], {**quick, "size": 0}
    contents = torch.cat([content, 1 - content])
    painted = region(content=contents, mask=mask, style=brush, **given)
    assert torch.allclose(painted[:, :, :24], contents[:, :, :24], atol=1e-6)
    assert not torch.allclose(painted[:, :, 24:], contents[:, :, 24:], atol=0.05)
    everything = region(content=content, mask=torch.ones(1, 40, 48), style=brush, **given)
    assert torch.equal(everything, nodes["ImpastoPaint"](content=content, style=brush, **given))


def test_a_region_and_the_rest_have_a_style_each(nodes, content, brush, quick):
    mask = torch.zeros(1, 64, 64)  # of another size
    mask[:, :, 32:] = 1
    given = {**quick, "size": 0, "content": content, "mask": mask, "style": brush}
    painted = nodes["ImpastoPaintRegion"](outside=1 - brush, **given)
    assert not torch.allclose(painted[:, :, :24], content[:, :, :24], atol=0.05)
    assert not torch.equal(painted, nodes["ImpastoPaintRegion"](outside=brush, **given))


def test_a_texture_has_the_size_that_is_asked_for(nodes, brush, quick):
    del quick["size"]
    painted = nodes["ImpastoTexture"](style=brush, width=40, height=24, seed=3, **quick)
    assert painted.shape == (1, 24, 40, 3)


def test_a_film_is_steady(nodes, host, content, brush, quick):
    pytest.importorskip("cv2")
    frames = torch.cat([content, content, content.roll(1, 2)])
    painted = nodes["ImpastoFilm"](frames=frames, style=brush, later_steps=2, **quick)
    assert painted.shape == (3, 26, 32, 3)
    assert torch.equal(painted[0], painted[1])  # the same picture again
    assert host.progress[-1][:2] == (3000, 3000)
    values = [value for value, _, _ in host.progress]
    assert values == sorted(values)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"settings": "levels=2"}, "settings is 'levels=2': give a JSON object"),
        ({"settings": '{"levles": 2}'}, "levles"),
        ({"strength": 2000.0}, "strength=2000"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    nodes, content, brush, quick, changes, line, monkeypatch
):
    monkeypatch.setattr("impasto.errors._option_names", False)
    with pytest.raises(Exception, match=line) as error:
        nodes["ImpastoPaint"](content=content, style=brush, **{**quick, **changes})
    assert "\n" not in str(error.value)


def test_an_empty_mask_is_refused(nodes, content, brush, quick):
    with pytest.raises(Exception, match="covers next to nothing"):
        nodes["ImpastoPaintRegion"](
            content=content, mask=torch.zeros(1, 64, 64), style=brush, **quick
        )


def test_without_impasto_the_line_that_installs_it_is_named(host, monkeypatch):
    monkeypatch.setitem(sys.modules, "impasto", None)
    with pytest.raises(ImportError, match=r"pip install 'impasto\[video\]'"):
        load_nodes(FOLDER, monkeypatch, host.modules(v3=True))


def test_the_package_is_described_for_comfy_s_registry_and_never_calls_pip():
    described = tomllib.loads((FOLDER / "pyproject.toml").read_text())
    assert described["tool"]["comfy"].keys() >= {"PublisherId", "DisplayName"}
    wanted = (FOLDER / "requirements.txt").read_text().split()
    assert described["project"]["dependencies"] == wanted
    for path in FOLDER.glob("*.py"):
        assert "subprocess" not in path.read_text()
