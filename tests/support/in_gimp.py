"""Inside GIMP 3: the plug-in on real images, with the studio that IMPASTO_STUDIO names.

tests/hosts.sh runs this. It writes to IMPASTO_REPORT what it saw; the last line is "gimp: all is as
it should be", or that of a traceback.
"""

import os
import sys
import time
import traceback
from pathlib import Path

import gi

gi.require_version("Gimp", "3.0")
from gi.repository import Gimp, Gio  # noqa: E402

STUDIO = os.environ["IMPASTO_STUDIO"]
SAMPLES = Path(os.environ["IMPASTO_SAMPLES"])
PHOTO, STYLE = (Gio.File.new_for_path(str(SAMPLES / f"{name}.jpg")) for name in ("lake", "strokes"))
QUICK = '{"steps": 3, "levels": 1, "finish": 0}'


def say(text):
    with open(os.environ["IMPASTO_REPORT"], "a") as file:
        print(text, file=file)


def opened(kind=Gimp.ImageBaseType.RGB):
    """The photograph, scaled down."""
    image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, PHOTO)
    image.scale(120, 80)
    if kind == Gimp.ImageBaseType.GRAY:
        image.convert_grayscale()
    elif kind == Gimp.ImageBaseType.INDEXED:
        none, palette = Gimp.ConvertDitherType.NONE, Gimp.ConvertPaletteType.GENERATE
        image.convert_indexed(none, palette, 32, False, False, "")
    return image


def call(image, **given):
    """Run the procedure; its status and its message."""
    procedure = Gimp.get_pdb().lookup_procedure("impasto-paint")
    config = procedure.create_config()
    config.set_property("run-mode", Gimp.RunMode.NONINTERACTIVE)
    config.set_property("image", image)
    config.set_core_object_array("drawables", image.get_selected_drawables())
    given = {"style": STYLE, "studio": STUDIO, "size": 64, "settings": QUICK, **given}
    for name, value in given.items():
        config.set_property(name, value)
    result = procedure.run(config)
    status = result.index(0)
    return status, "" if status == Gimp.PDBStatusType.SUCCESS else Gimp.get_pdb().get_last_error()


def white(mask, x, y):
    """How white a pixel of a mask is, in [0, 1]."""
    return mask.get_pixel(x, y).get_rgba().red


def registered():
    """The procedure is there, with its place in the menu."""
    procedure = Gimp.get_pdb().lookup_procedure("impasto-paint")
    assert procedure is not None, "the plug-in is not registered"
    assert procedure.get_menu_paths() == ["<Image>/Filters/Artistic"], procedure.get_menu_paths()


def whole(kind=Gimp.ImageBaseType.RGB):
    """The painting is one new layer above the others, as large as the image."""
    image = opened(kind)
    below = image.get_layers()
    assert call(image) == (Gimp.PDBStatusType.SUCCESS, "")
    layers = image.get_layers()
    assert layers[1:] == below
    layer = layers[0]
    assert layer.get_name() == "painted like strokes.jpg", layer.get_name()
    assert (layer.get_width(), layer.get_height()) == (120, 80)
    assert tuple(layer.get_offsets())[-2:] == (0, 0)
    assert layer.get_mask() is None
    assert image.get_base_type() == kind
    assert len(Gimp.get_images()) == 1, "a copy was left open"
    image.delete()


def selected():
    """A selection becomes the layer's mask, and stays selected."""
    image = opened()
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 0, 0, 60, 80)
    assert call(image) == (Gimp.PDBStatusType.SUCCESS, "")
    mask = image.get_layers()[0].get_mask()
    assert mask is not None, "no mask"
    assert [white(mask, x, 10) for x in (10, 100)] == [1, 0]
    assert not Gimp.Selection.is_empty(image)
    image.delete()


def wrong():
    """What is wrong is said in one line, and nothing changes."""
    for given, line in (
        ({"strength": 900.0, "settings": '{"strength": 2000}'}, "strength=2000"),
        ({"settings": "steps=3"}, "not a JSON object"),
        ({"settings": '{"stepps": 3}'}, "stepps"),
        ({"style": None}, "no style"),
        ({"style": Gio.File.new_for_path("/etc/passwd")}, "passwd is not a picture"),
        ({"studio": "http://127.0.0.1:9"}, "start one with `impasto serve`"),
    ):
        image = opened()
        status, message = call(image, **given)
        say(repr(message))
        assert status == Gimp.PDBStatusType.EXECUTION_ERROR
        assert line in message, message
        assert "\n" not in message, message
        assert len(image.get_layers()) == 1
        assert len(Gimp.get_images()) == 1, "a copy was left open"
        image.delete()


def check():
    begun = time.monotonic()
    try:
        say(f"GIMP {Gimp.version()}, Python {sys.version.split()[0]}")
        registered()
        for kind in (Gimp.ImageBaseType.RGB, Gimp.ImageBaseType.GRAY, Gimp.ImageBaseType.INDEXED):
            whole(kind)
            say(f"{kind.value_nick}: painted")
        selected()
        wrong()
        say(f"gimp: all is as it should be ({time.monotonic() - begun:.0f} s)")
    except Exception:
        say(traceback.format_exc())


check()
