"""Inside Krita: the plug-in on real documents, with the studio that IMPASTO_STUDIO names.

tests/hosts.sh installs this as a plug-in of Krita and starts Krita. It writes to IMPASTO_REPORT
what it saw; the last line is "krita: all is as it should be", or that of a traceback.
"""

import os
import sys
import time
import traceback
from pathlib import Path

from krita import Extension, Krita, Selection

try:  # Krita 6
    from PyQt6 import QtCore, QtWidgets
except ImportError:
    from PyQt5 import QtCore, QtWidgets

STUDIO = os.environ["IMPASTO_STUDIO"]
SAMPLES = Path(os.environ["IMPASTO_SAMPLES"])
PHOTO, STYLE = (str(SAMPLES / f"{name}.jpg") for name in ("lake", "strokes"))
QUICK = {"size": 64, "steps": 3, "levels": 1, "finish": 0}
SIZE = 120, 80


def say(text):
    with open(os.environ["IMPASTO_REPORT"], "a") as file:
        print(text, file=file, flush=True)


def settle(document):
    document.refreshProjection()
    document.waitForDone()
    QtWidgets.QApplication.processEvents()


def opened(model="RGBA", depth="U8"):
    """A document with a window, its photograph scaled down."""
    krita = Krita.instance()
    document = krita.openDocument(PHOTO)
    document.scaleImage(*SIZE, 72, 72, "Bilinear")
    document.waitForDone()
    if (model, depth) != ("RGBA", "U8"):
        document.setColorSpace(model, depth, krita.profiles(model, depth)[0])
        document.waitForDone()
    krita.activeWindow().addView(document)
    krita.setActiveDocument(document)
    settle(document)
    return document


def closed(document):
    document.setModified(False)
    document.close()
    QtWidgets.QApplication.processEvents()


def names(document):
    return [node.name() for node in document.rootNode().childNodes()]


def alpha(document):
    """Opacity of the topmost layer at two points, of 255, left and right."""
    layer = document.rootNode().childNodes()[-1]
    return [bytes(layer.projectionPixelData(x, 40, 1, 1))[-1] for x in (10, 110)]


def undone(document):
    Krita.instance().action("edit_undo").trigger()
    settle(document)


def whole(plug_in, model="RGBA", depth="U8"):
    """The painting is the topmost layer, and one undo removes it."""
    document = opened(model, depth)
    before = names(document)
    plug_in.paint(document, STYLE, QUICK, STUDIO)
    settle(document)
    assert names(document) == [*before, "painted like strokes.jpg"], names(document)
    seen = document.projection(0, 0, *SIZE)
    seen.save(os.environ["IMPASTO_REPORT"] + f".{model}{depth}.png")
    layer = document.rootNode().childNodes()[-1]
    say(f"{model} {depth}: {layer.colorModel()} {layer.colorDepth()} {layer.bounds()}")
    undone(document)
    say(f"after undo: {names(document)}")
    assert names(document) == before, names(document)
    closed(document)


def selected(plug_in):
    """The painting is transparent outside of the selection."""
    document = opened()
    selection = Selection()
    selection.select(0, 0, 60, 80, 255)
    document.setSelection(selection)
    plug_in.paint(document, STYLE, QUICK, STUDIO)
    settle(document)
    assert alpha(document) == [255, 0], alpha(document)
    assert document.selection() is not None
    closed(document)


def wrong(plug_in):
    """What is wrong is shown in one line, and nothing changes."""
    document, shown = opened(), []
    warning, plug_in.Dialog.exec = QtWidgets.QMessageBox.warning, lambda dialog: True
    QtWidgets.QMessageBox.warning = lambda *given: shown.append(given[-1])
    entry = plug_in.Impasto(Krita.instance())
    entry.dialog = plug_in.Dialog()
    for path, more, studio, line in (
        (STYLE, '{"strength": 2000}', STUDIO, "strength=2000"),
        (STYLE, "steps=3", STUDIO, "not a JSON object"),
        (STYLE, "{}", "http://127.0.0.1:9", "start one with `impasto serve`"),
        ("/nowhere/a.png", "{}", STUDIO, "/nowhere/a.png cannot be read: No such file"),
        ("", "{}", STUDIO, "no style"),
    ):
        entry.dialog.path = path
        entry.dialog.more.setText(more)
        entry.dialog.studio.setText(studio)
        entry.run()
        say(repr(shown[-1]))
        assert line in shown[-1], shown
        assert "\n" not in shown[-1], shown
    assert len(shown) == 5
    assert len(names(document)) == 1
    QtWidgets.QMessageBox.warning = warning
    closed(document)


def canceled(plug_in):
    """Cancel ends the painting, and adds nothing."""
    document = opened()
    of_qt = QtWidgets.QProgressDialog.wasCanceled
    QtWidgets.QProgressDialog.wasCanceled = lambda dialog: "step" in dialog.labelText()
    plug_in.paint(document, STYLE, {**QUICK, "steps": 1000}, STUDIO)
    QtWidgets.QProgressDialog.wasCanceled = of_qt
    assert len(names(document)) == 1
    closed(document)


def check():
    try:
        begun = time.monotonic()
        say(f"Krita {Krita.instance().version()}, Python {sys.version.split()[0]}")
        action = Krita.instance().action("impasto_paint")
        assert action is not None, "the plug-in is not in the menu"
        say(action.text())
        plug_in = sys.modules["impasto_studio"]
        for model, depth in (("RGBA", "U8"), ("RGBA", "F32"), ("CMYKA", "U16"), ("GRAYA", "U8")):
            whole(plug_in, model, depth)
        selected(plug_in)
        wrong(plug_in)
        canceled(plug_in)
        say(f"krita: all is as it should be ({time.monotonic() - begun:.0f} s)")
    except BaseException:
        say(traceback.format_exc())
    finally:
        QtCore.QTimer.singleShot(0, lambda: os._exit(0))


class Check(Extension):
    def setup(self):
        pass

    def createActions(self, window):  # noqa: N802
        QtCore.QTimer.singleShot(3000, check)


Krita.instance().addExtension(Check(Krita.instance()))
