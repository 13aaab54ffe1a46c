"""Krita's plug-in with a stand-in for Krita's API, real Qt, and a real studio."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from studios import running

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
QtWidgets = pytest.importorskip("PyQt5.QtWidgets")
from PyQt5 import QtCore, QtGui  # noqa: E402

FILE = Path(__file__).parents[2] / "integrations" / "krita" / "impasto_studio" / "__init__.py"
QUICK = {"size": 32, "steps": 3, "levels": 1}


class Selection:
    """Krita's Selection: one byte a pixel."""

    def __init__(self, mask: Image.Image):
        self.mask = mask

    def pixelData(self, x, y, width, height):  # noqa: N802
        return QtCore.QByteArray(self.mask.crop((x, y, x + width, y + height)).tobytes())


class Node:
    """Krita's Node: a layer, with its children from the bottom."""

    def __init__(self, name: str, model: str = "RGBA", depth: str = "U8"):
        self.name, self.model, self.depth, self.children = name, model, depth, []
        self.data = b""

    def colorModel(self):  # noqa: N802
        return self.model

    def colorDepth(self):  # noqa: N802
        return self.depth

    def setColorSpace(self, model, depth, profile):  # noqa: N802
        self.model, self.depth = model, depth
        return profile == "sRGB-elle-V2-srgbtrc.icc"

    def setPixelData(self, data, x, y, width, height):  # noqa: N802
        assert (self.model, self.depth, len(data)) == ("RGBA", "U8", 4 * width * height)
        self.data = bytes(data)

    def childNodes(self):  # noqa: N802
        return list(self.children)

    def addChildNode(self, child, above):  # noqa: N802
        self.children.insert(self.children.index(above) + 1, child)


class Document:
    """Krita's Document."""

    def __init__(self, picture: Image.Image, mask: Image.Image | None = None, model: str = "RGBA"):
        self.picture, self.mask, self.model = picture, mask, model
        self.root = Node("root")
        self.root.children = [Node("Background"), Node("Above")]

    def width(self):
        return self.picture.width

    def height(self):
        return self.picture.height

    def selection(self):
        return self.mask and Selection(self.mask)

    def projection(self, x, y, width, height):
        data = self.picture.convert("RGBA").tobytes("raw", "BGRA")
        kind = QtGui.QImage.Format.Format_ARGB32
        return QtGui.QImage(data, width, height, 4 * width, kind).copy()

    def createNode(self, name, kind):  # noqa: N802
        assert kind == "paintlayer"
        return Node(name, self.model)

    def rootNode(self):  # noqa: N802
        return self.root

    def refreshProjection(self):  # noqa: N802
        pass


@pytest.fixture(scope="module")
def application():
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


@pytest.fixture(scope="module")
def place(tiny_weights):
    with running(tiny_weights, steps=20_000) as place:
        yield place


@pytest.fixture
def plug_in(application, monkeypatch):
    krita, extensions = ModuleType("krita"), []

    class Extension:
        def __init__(self, parent):
            pass

    class Krita:
        document = None
        activeWindow = activeDocument = lambda self: Krita.document  # noqa: N815
        addExtension = staticmethod(extensions.append)  # noqa: N815
        instance = classmethod(lambda cls: cls())

    krita.Extension, krita.Krita = Extension, Krita
    monkeypatch.setitem(sys.modules, "krita", krita)
    spec = importlib.util.spec_from_file_location("in_krita", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert [type(each) for each in extensions] == [module.Impasto]
    return module


@pytest.fixture
def picture(photo):
    return Image.open(photo).convert("RGB")


def pixels(node: Node, document: Document) -> np.ndarray:
    """(H, W, 4) RGBA of a layer."""
    shape = document.height(), document.width(), 4
    return np.frombuffer(node.data, np.uint8).reshape(shape)[..., [2, 1, 0, 3]].astype(int)


@pytest.mark.parametrize("model", ["RGBA", "CMYKA"])
def test_the_painting_is_the_new_layer_on_top(plug_in, place, picture, style, model):
    document = Document(picture, model=model)
    plug_in.paint(document, str(style), QUICK, place.url)
    names = [node.name for node in document.root.children]
    assert names == ["Background", "Above", "painted like style.png"]
    painted = pixels(document.root.children[-1], document)
    assert (painted[..., 3] == 255).all()
    assert 2 < abs(painted[..., :3] - np.asarray(picture)).mean() < 80  # the channels are in order
    assert not place.studio.jobs


def test_the_painting_is_transparent_outside_of_the_selection(plug_in, place, picture, style):
    mask = Image.new("L", picture.size)
    mask.paste(255, (0, 0, 24, 40))
    mask.paste(128, (24, 0, 28, 40))
    document = Document(picture, mask)
    plug_in.paint(document, str(style), QUICK, place.url)
    painted = pixels(document.root.children[-1], document)
    assert (painted[..., 3] == np.asarray(mask)).all()


def test_all_may_be_selected(plug_in, place, picture, style):
    document = Document(picture, Image.new("L", picture.size, 255))
    plug_in.paint(document, str(style), QUICK, place.url)
    assert (pixels(document.root.children[-1], document)[..., 3] == 255).all()


def test_cancel_ends_the_painting_and_adds_nothing(plug_in, place, picture, style, monkeypatch):
    document = Document(picture)
    canceled = QtWidgets.QProgressDialog.wasCanceled
    monkeypatch.setattr(
        QtWidgets.QProgressDialog,
        "wasCanceled",
        lambda dialog: "step" in dialog.labelText() or canceled(dialog),
    )
    plug_in.paint(document, str(style), {**QUICK, "steps": 20_000}, place.url)
    assert len(document.root.children) == 2
    assert not place.studio.jobs


def test_the_dialog_asks_what_paint_takes(plug_in, place, picture, style, monkeypatch):
    dialog = plug_in.Dialog()
    with pytest.raises(plug_in.StudioError, match="no style: choose the file"):
        dialog.values()
    chosen = (str(style), "")
    monkeypatch.setattr(QtWidgets.QFileDialog, "getOpenFileName", lambda *given: chosen)
    dialog.style.click()
    dialog.more.setText('{"steps": 3, "size": 32}')
    dialog.studio.setText(place.url)
    document = Document(picture)
    plug_in.paint(document, *dialog.values())
    assert len(document.root.children) == 3
    dialog.more.setText("steps=3")
    with pytest.raises(plug_in.StudioError, match="not a JSON object"):
        dialog.values()


def test_what_is_wrong_is_shown_in_one_line(plug_in, place, picture, style, monkeypatch):
    shown = []
    monkeypatch.setattr(QtWidgets.QMessageBox, "warning", lambda *given: shown.append(given[-1]))
    monkeypatch.setattr(plug_in.Dialog, "exec", lambda dialog: True)
    plug_in.Impasto(None).run()
    krita = sys.modules["krita"].Krita
    monkeypatch.setattr(krita, "activeWindow", lambda self: None)
    monkeypatch.setattr(krita, "document", Document(picture))
    entry = plug_in.Impasto(None)
    entry.dialog = plug_in.Dialog()
    for path, more, studio in (
        (str(style), '{"strength": 2000}', place.url),
        (str(style), "{}", "http://127.0.0.1:9"),
        ("/nowhere/a.png", "{}", place.url),
    ):
        entry.dialog.path = path
        entry.dialog.more.setText(more)
        entry.dialog.studio.setText(studio)
        entry.run()
    assert shown[0] == "no document is open"
    assert shown[1].startswith("strength=2000")
    assert shown[2].endswith("start one with `impasto serve`")
    assert "/nowhere/a.png" in shown[3]
    assert len(krita.document.root.children) == 2
