"""Krita: paint the document, or what is selected, with a running `impasto serve`.

What is seen of the document is sent to the studio. The painting comes back as a new layer,
transparent outside of the selection.
"""

import base64
import contextlib
import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor

from krita import Extension, Krita

try:  # Krita 6
    from PyQt6 import QtCore, QtGui, QtWidgets
except ImportError:
    from PyQt5 import QtCore, QtGui, QtWidgets

LOOKS, COLORS = ("painted", "subtle", "bold"), ("style", "content", "luminance")
SRGB = "RGBA", "U8", "sRGB-elle-V2-srgbtrc.icc"  # Krita's own profile


class StudioError(Exception):
    """What went wrong, as the user is told."""


class Studio:
    """A running `impasto serve`: paintings over its HTTP API."""

    def __init__(self, address: str):
        """address: as http://127.0.0.1:7860, or with a password, http://ann:secret@host:7860."""
        parts = urllib.parse.urlsplit(address if "//" in address else f"http://{address}")
        host = parts.netloc.rpartition("@")[2]
        self.url = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        self._headers = {}
        if parts.username:
            both = urllib.parse.unquote(f"{parts.username}:{parts.password or ''}").encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(both).decode()}"
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def paint(self, content, style, style_name, outside, settings, show):
        """Have a picture painted.

        Args:
            content, style: the bytes of picture files. style_name: of the style's file.
            outside: a picture file that is opaque where nothing is to be painted, or None.
            settings: fields of impasto.Config.
            show: called with a fraction and a text again and again; returns whether to go on.

        Returns:
            The bytes of a PNG; None if `show` did not want to go on.

        Raises:
            StudioError: in one line.
        """
        files = [("content", "picture.png", content), ("style", style_name, style)]
        if outside is not None:
            files.append(("pictures", "not selected.png", outside))
            settings = {**settings, "protect": "not selected.png"}
        body, kind = multipart({"settings": json.dumps(settings)}, files)
        job = json.loads(self._call("POST", "/api/paintings", body, kind))
        path = f"/api/paintings/{job['id']}"
        try:
            while job["state"] not in ("done", "stopped", "failed", "cancelled"):
                if not show(job["fraction"], doing(job)):
                    return None
                time.sleep(0.2)
                job = json.loads(self._call("GET", path))
            if job["state"] in ("failed", "cancelled"):
                raise StudioError(job["error"] or "the studio has canceled the painting")
            return self._call("GET", f"{path}/picture")
        finally:
            with contextlib.suppress(StudioError):
                self._call("DELETE", path)

    def _call(self, method, path, body=None, kind=""):
        headers = {**self._headers, **({"Content-Type": kind} if kind else {})}
        try:
            request = urllib.request.Request(self.url + path, body, headers, method=method)
            with self._open(request, timeout=120) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                raise StudioError(json.loads(text)["detail"]) from None
            except (ValueError, KeyError, TypeError):
                raise StudioError(f"{self.url} says {error.code} {error.reason}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            reason = getattr(reason, "strerror", None) or reason
            raise StudioError(
                f"no studio answers at {self.url} ({reason}): start one with `impasto serve`"
            ) from None


def multipart(fields, files):
    """Return the body of a form and its content type. files: field, file name and bytes of each."""
    boundary = uuid.uuid4().hex
    parts = [(f'name="{name}"', text.encode()) for name, text in fields.items()]
    for field, name, data in files:
        plain = "".join("_" if c in '"\\' or ord(c) < 32 else c for c in name)
        parts.append((f'name="{field}"; filename="{plain}"', data))
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"
        for head, data in parts
    )
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def contents(path):
    """Return a file's bytes. Raises StudioError."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise StudioError(f"{path} cannot be read: {error.strerror}") from None


def doing(job):
    """Return what a studio is doing for a painting, in words."""
    if job["state"] == "waiting":
        return f"waiting: {job['before']} before this painting"
    return f"{job['state']}: step {job['step']} of {job['steps']}"


def png(image):
    """Return a QImage as the bytes of a PNG."""
    buffer = QtCore.QBuffer()
    buffer.open(QtCore.QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")
    return bytes(buffer.data())


def gray(data, width, height):
    """Return a QImage of bytes, one a pixel."""
    return QtGui.QImage(data, width, height, width, QtGui.QImage.Format.Format_Grayscale8).copy()


def add_layer(document, painting, selected, name):
    """Put a painting above all layers, transparent where nothing is selected: one step to undo."""
    size = document.width(), document.height()
    argb, smooth = QtGui.QImage.Format.Format_ARGB32, QtCore.Qt.TransformationMode
    image = QtGui.QImage.fromData(painting)
    image = image.scaled(*size, transformMode=smooth.SmoothTransformation).convertToFormat(argb)
    if selected is not None:
        mask = QtGui.QImage(*size, argb)
        mask.fill(QtCore.Qt.GlobalColor.white)
        mask.setAlphaChannel(gray(selected, *size))
        painter = QtGui.QPainter(image)
        painter.setCompositionMode(QtGui.QPainter.CompositionMode.CompositionMode_DestinationIn)
        painter.drawImage(0, 0, mask)
        painter.end()
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    layer = document.createNode(name, "paintlayer")
    if (layer.colorModel(), layer.colorDepth()) != SRGB[:2] and not layer.setColorSpace(*SRGB):
        raise StudioError("the painting cannot be put into a document of these colors")
    layer.setPixelData(QtCore.QByteArray(bytes(bits)), 0, 0, *size)
    layers = document.rootNode().childNodes()  # from the bottom
    document.rootNode().addChildNode(layer, layers[-1] if layers else None)
    document.refreshProjection()


def wait_for(work):
    """Return what `work` returns, called in a thread with a `show`; meanwhile show a dialog."""
    window = Krita.instance().activeWindow()
    dialog = QtWidgets.QProgressDialog("", "Cancel", 0, 1001, window.qwindow() if window else None)
    dialog.setWindowModality(QtCore.Qt.WindowModality.WindowModal)
    dialog.setMinimumDuration(0)
    told = [(0.0, "sending the picture")]

    def show(fraction, text):
        told.append((fraction, text))
        return not canceled

    canceled = False
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(work, show)
        while not result.done():
            dialog.setLabelText(told[-1][1])
            dialog.setValue(int(told[-1][0] * 1000))
            canceled = canceled or dialog.wasCanceled()
            QtWidgets.QApplication.processEvents()
            time.sleep(0.02)
    dialog.close()
    return result.result()


def paint(document, style, settings, studio):
    """Paint a document; style: a file's path. Raises StudioError."""
    size = document.width(), document.height()
    selection = document.selection()
    selected = None if selection is None else bytes(selection.pixelData(0, 0, *size))
    outside = None if selected is None else selected.translate(bytes(range(255, -1, -1)))
    mask = png(gray(outside, *size)) if outside and any(outside) else None
    content, name = png(document.projection(0, 0, *size)), os.path.basename(style)
    files = content, contents(style), name, mask
    painting = wait_for(lambda show: Studio(studio).paint(*files, settings, show))
    if painting is not None:
        add_layer(document, painting, selected, f"painted like {name}")


class Dialog(QtWidgets.QDialog):
    """What is asked before a document is painted."""

    def __init__(self):
        super().__init__()
        self.setWindowTitle("Paint with impasto")
        self.style, self.look = QtWidgets.QPushButton("Choose..."), QtWidgets.QComboBox()
        self.path, self.color = "", QtWidgets.QComboBox()
        self.size = QtWidgets.QSpinBox(minimum=16, maximum=8192, value=1024)
        self.strength = QtWidgets.QDoubleSpinBox(minimum=0, maximum=1000, value=1)
        self.more = QtWidgets.QLineEdit("{}")
        self.studio = QtWidgets.QLineEdit("http://127.0.0.1:7860")
        self.look.addItems(LOOKS)
        self.color.addItems(COLORS)
        form = QtWidgets.QFormLayout(self)
        for label, widget in (
            ("Style", self.style), ("Size, pixels of the longest side", self.size),
            ("Look", self.look), ("Strength", self.strength), ("Color", self.color),
            ("Other settings, as JSON", self.more), ("Studio", self.studio),
        ):  # fmt: skip
            form.addRow(label, widget)
        kinds = QtWidgets.QDialogButtonBox.StandardButton
        buttons = QtWidgets.QDialogButtonBox(kinds.Ok | kinds.Cancel)
        form.addRow(buttons)
        self.style.clicked.connect(self.choose)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)

    def choose(self):
        """Ask for the file of the style."""
        chosen, _ = QtWidgets.QFileDialog.getOpenFileName(self, "Style")
        if chosen:
            self.path = chosen
            self.style.setText(os.path.basename(chosen))

    def values(self):
        """Return style, settings and studio, as `paint` takes them. Raises StudioError."""
        try:
            settings = {
                "size": self.size.value(), "look": self.look.currentText(),
                "strength": self.strength.value(), "color": self.color.currentText(),
                **json.loads(self.more.text() or "{}"),
            }  # fmt: skip
        except (ValueError, TypeError):
            raise StudioError('settings are not a JSON object, as {"levels": 2}') from None
        if not self.path:
            raise StudioError("no style: choose the file of a painting")
        return self.path, settings, self.studio.text()


class Impasto(Extension):
    """The entry in the menu Tools, Scripts."""

    dialog = None  # keeps what was chosen last

    def setup(self):
        """Do nothing; Krita calls this when it starts."""

    def createActions(self, window):  # noqa: N802
        """Add the entry; Krita calls this for every window."""
        action = window.createAction("impasto_paint", "Paint with impasto...", "tools/scripts")
        action.triggered.connect(self.run)

    def run(self):
        """Ask, and paint the document."""
        document = Krita.instance().activeDocument()
        self.dialog = self.dialog or Dialog()
        try:
            if document is None:
                raise StudioError("no document is open")
            if self.dialog.exec():
                paint(document, *self.dialog.values())
        except (StudioError, ValueError) as error:
            QtWidgets.QMessageBox.warning(None, "impasto", str(error))


Krita.instance().addExtension(Impasto(Krita.instance()))
