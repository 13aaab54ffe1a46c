"""A stand-in for GIMP 3: as much of its Python API (gi.repository) as impasto's plug-in uses.

Names and arguments are those of GIMP's 3.0 API reference and of its own Python plug-ins. Debian
12 has GIMP 2.10. Images are Pillow's here; what is not there fails.
"""

import io
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, ImageChops

Enums = {
    "RunMode": ("INTERACTIVE", "NONINTERACTIVE"),
    "ImageBaseType": ("RGB", "GRAY", "INDEXED"),
    "ImageType": ("RGB_IMAGE", "RGBA_IMAGE"),
    "LayerMode": ("NORMAL",),
    "FillType": ("WHITE", "TRANSPARENT"),
    "AddMaskType": ("SELECTION", "WHITE"),
    "PDBStatusType": ("SUCCESS", "CANCEL", "EXECUTION_ERROR"),
    "PDBProcType": ("PLUGIN",),
    "FileChooserAction": ("OPEN", "SAVE"),
}
Gimp = SimpleNamespace(**{name: Enum(name, values) for name, values in Enums.items()})


class GimpLayer:
    """A layer: pixels (RGBA), offsets and a mask."""

    def __init__(self, image: "GimpImage", name: str, pixels: Image.Image):
        self.image, self.name, self.pixels = image, name, pixels.convert("RGBA")
        self.mask: Image.Image | None = None
        self.offsets: tuple[int, int] | None = None

    @classmethod
    def new(cls, image, name, width, height, kind, opacity, mode) -> "GimpLayer":
        assert image.base is Gimp.ImageBaseType.RGB
        assert (kind, mode) == (Gimp.ImageType.RGBA_IMAGE, Gimp.LayerMode.NORMAL)
        return cls(image, name, Image.new("RGBA", (width, height), "red"))

    def set_name(self, name: str) -> None:
        self.name = name

    def fill(self, kind: Any) -> None:
        assert kind is Gimp.FillType.TRANSPARENT
        self.pixels = Image.new("RGBA", self.pixels.size, (0, 0, 0, 0))

    def edit_fill(self, kind: Any) -> None:
        """Fill what is selected, or everything."""
        assert kind is Gimp.FillType.WHITE
        self.pixels.paste("white", (0, 0), self.image.selected())

    def scale(self, width: int, height: int, local_origin: bool) -> None:
        assert self in self.image.layers
        self.pixels = self.pixels.resize((width, height))

    def set_offsets(self, x: int, y: int) -> None:
        self.offsets = (x, y)

    def create_mask(self, kind: Any) -> Image.Image:
        assert kind is Gimp.AddMaskType.SELECTION
        return self.image.selected()

    def add_mask(self, mask: Image.Image) -> None:
        self.mask = mask


class GimpImage:
    """An image: layers from the top, a selection (L), groups of steps to undo."""

    def __init__(self, picture: Image.Image, selection: Image.Image | None = None):
        self.size, self.selection = picture.size, selection
        self.base = Gimp.ImageBaseType.RGB if picture.mode == "RGB" else Gimp.ImageBaseType.GRAY
        self.layers = [GimpLayer(self, "Background", picture)]
        self.groups: list[list[str]] = []
        self.open = self.deleted = False

    def selected(self) -> Image.Image:
        return self.selection.copy() if self.selection else Image.new("L", self.size, 255)

    def duplicate(self) -> "GimpImage":
        copy = GimpImage(self.layers[0].pixels.convert("RGB"), self.selection)
        copy.base = self.base
        copies.append(copy)
        return copy

    def flatten(self) -> None:
        pass

    def convert_rgb(self) -> None:
        assert self.base is not Gimp.ImageBaseType.RGB, "GIMP refuses to convert RGB to RGB"
        self.base = Gimp.ImageBaseType.RGB

    def delete(self) -> None:
        self.deleted = True

    def get_base_type(self) -> Any:
        return self.base

    def get_width(self) -> int:
        return self.size[0]

    def get_height(self) -> int:
        return self.size[1]

    def get_layers(self) -> list[GimpLayer]:
        return list(self.layers)

    def remove_layer(self, layer: GimpLayer) -> None:
        self.layers.remove(layer)

    def insert_layer(self, layer: GimpLayer, parent: None, position: int) -> None:
        self.layers.insert(position, layer)
        if self.open:
            self.groups[-1].append("insert_layer")

    def undo_group_start(self) -> None:
        assert not self.open
        self.groups.append([])
        self.open = True

    def undo_group_end(self) -> None:
        assert self.open
        self.open = False


class Selection:
    """Gimp.Selection."""

    @staticmethod
    def is_empty(image: GimpImage) -> bool:
        return image.selection is None or not image.selection.getbbox()

    @staticmethod
    def invert(image: GimpImage) -> None:
        image.selection = ImageChops.invert(image.selection or Image.new("L", image.size, 0))


class Procedure:
    """A procedure: what it asks for, by name, with the default."""

    def __init__(self, plug_in, name, kind, run, data):
        self.name, self.run, self.arguments = name, run, {}

    @classmethod
    def new(cls, *given: Any) -> "Procedure":
        return cls(*given)

    def describe(self, *given: Any) -> None:
        """Stands for what only describes a procedure."""

    set_image_types = set_menu_label = add_menu_path = set_documentation = describe
    set_attribution = describe

    def add_file_argument(self, name, label, blurb, action, none_ok, default, flags):
        assert isinstance(action, Gimp.FileChooserAction)
        self.arguments[name] = default

    def add_int_argument(self, name, label, blurb, least, most, value, flags):
        assert least <= value <= most
        self.arguments[name] = value

    add_double_argument = add_int_argument

    def add_choice_argument(self, name, label, blurb, choice, value, flags):
        assert value in choice.names
        self.arguments[name] = value

    def add_string_argument(self, name, label, blurb, value, flags):
        self.arguments[name] = value

    def new_return_values(self, status, error):
        return status, error.message


class Choice:
    """Gimp.Choice."""

    def __init__(self) -> None:
        self.names: list[str] = []

    new = classmethod(lambda cls: cls())

    def add(self, nick: str, number: int, label: str, help: str) -> None:
        assert number == len(self.names)
        self.names.append(nick)


class GLibError(Exception):
    """GLib.Error."""

    def __init__(self, message: str = ""):
        self.message = message


class GioFile:
    """Gio.File."""

    def __init__(self, path: str):
        self.path = path

    new_for_path = classmethod(lambda cls, path: cls(path))

    def get_path(self) -> str:
        return self.path


class Config:
    """Gimp.ProcedureConfig: what the dialog was answered."""

    def __init__(self, values: dict[str, Any]):
        self.values = values

    def get_property(self, name: str) -> Any:
        return self.values[name]


copies: list[GimpImage] = []  # all that were made of images
progress: list[float] = []
texts: list[str] = []


def file_save(mode: Any, image: GimpImage, file: GioFile, options: None) -> bool:
    assert mode is Gimp.RunMode.NONINTERACTIVE
    assert len(image.layers) == 1
    pixels = image.layers[0].pixels
    pixels = pixels if image.layers[0].name != "Background" else pixels.convert("RGB")
    pixels.save(file.get_path())
    return True


def file_load_layer(mode: Any, image: GimpImage, file: GioFile) -> GimpLayer:
    assert mode is Gimp.RunMode.NONINTERACTIVE
    return GimpLayer(image, "painting.png", Image.open(io.BytesIO(Path(file.path).read_bytes())))


def install(monkeypatch: Any) -> None:
    """Have `gi` imported as this."""
    Gimp.PlugIn = type("PlugIn", (), {"__gtype__": None})
    Gimp.Layer, Gimp.Selection, Gimp.Choice, Gimp.ImageProcedure = (
        GimpLayer, Selection, Choice, Procedure,
    )  # fmt: skip
    Gimp.file_save, Gimp.file_load_layer = file_save, file_load_layer
    Gimp.progress_init, Gimp.progress_set_text = texts.append, texts.append
    Gimp.progress_update, Gimp.displays_flush = progress.append, lambda: None
    Gimp.main = lambda kind, arguments: None
    gi, repository = ModuleType("gi"), ModuleType("gi.repository")
    gi.require_version = lambda name, version: None
    repository.Gimp, repository.GimpUi = Gimp, SimpleNamespace()
    repository.GLib, repository.Gio = (
        SimpleNamespace(Error=GLibError),
        SimpleNamespace(File=GioFile),
    )
    repository.GObject = SimpleNamespace(ParamFlags=SimpleNamespace(READWRITE=3))
    monkeypatch.setitem(sys.modules, "gi", gi)
    monkeypatch.setitem(sys.modules, "gi.repository", repository)
    for told in (copies, progress, texts):
        told.clear()


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)
