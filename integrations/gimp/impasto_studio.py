#!/usr/bin/env python3
"""GIMP 3: paint the picture, or what is selected, with a running `impasto serve`.

The visible picture is sent to the studio. The painting comes back as a new layer; a selection
becomes its layer mask.
"""

import base64
import contextlib
import http.client
import json
import os
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

import gi

gi.require_version("Gimp", "3.0")
gi.require_version("GimpUi", "3.0")
from gi.repository import Gimp, GimpUi, Gio, GLib, GObject  # noqa: E402

NAME = "impasto-paint"
SETTINGS = ("size", "look", "strength", "color")
LOOKS, COLORS = ("painted", "subtle", "bold"), ("style", "content", "luminance")


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


def exported(image):
    """Return an image as the bytes of a PNG, and delete it."""
    with tempfile.TemporaryDirectory(prefix="impasto-") as folder:
        path = os.path.join(folder, "picture.png")
        Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(path), None)
        image.delete()
        with open(path, "rb") as file:
            return file.read()


def visible(image):
    """Return what is seen of an image as a PNG."""
    copy = image.duplicate()
    copy.flatten()
    return exported(copy)


def not_selected(image):
    """Return a PNG, opaque outside of the selection; None if all is selected, or nothing."""
    copy = image.duplicate()
    Gimp.Selection.invert(copy)
    if Gimp.Selection.is_empty(image) or Gimp.Selection.is_empty(copy):
        copy.delete()
        return None
    if copy.get_base_type() != Gimp.ImageBaseType.RGB:
        copy.convert_rgb()
    for layer in copy.get_layers():
        copy.remove_layer(layer)
    size = copy.get_width(), copy.get_height()
    kind, mode = Gimp.ImageType.RGBA_IMAGE, Gimp.LayerMode.NORMAL
    mask = Gimp.Layer.new(copy, "not selected", *size, kind, 100, mode)
    copy.insert_layer(mask, None, 0)
    mask.fill(Gimp.FillType.TRANSPARENT)
    mask.edit_fill(Gimp.FillType.WHITE)  # where it is selected, which is outside now
    return exported(copy)


def add_layer(image, painting, name):
    """Put a painting above all layers, behind the selection as its mask: one step to undo."""
    with tempfile.TemporaryDirectory(prefix="impasto-") as folder:
        path = os.path.join(folder, "painting.png")
        with open(path, "wb") as file:
            file.write(painting)
        image.undo_group_start()
        try:
            where = Gio.File.new_for_path(path)
            layer = Gimp.file_load_layer(Gimp.RunMode.NONINTERACTIVE, image, where)
            layer.set_name(name)
            image.insert_layer(layer, None, 0)
            layer.scale(image.get_width(), image.get_height(), False)
            layer.set_offsets(0, 0)
            if not Gimp.Selection.is_empty(image):
                layer.add_mask(layer.create_mask(Gimp.AddMaskType.SELECTION))
        finally:
            image.undo_group_end()
    Gimp.displays_flush()


def show(fraction, text):
    """Show the progress. GIMP ends the plug-in by itself when the user cancels."""
    Gimp.progress_set_text(f"impasto: {text}")
    Gimp.progress_update(fraction)
    return True


def paint(image, config):
    """Paint an image as the dialog says. Raises StudioError and OSError."""
    style = config.get_property("style")
    if style is None or not style.get_path():
        raise StudioError("no style: choose the file of a painting")
    try:
        settings = json.loads(config.get_property("settings") or "{}")
        settings = {**{name: config.get_property(name) for name in SETTINGS}, **settings}
    except (ValueError, TypeError):
        raise StudioError('settings are not a JSON object, as {"levels": 2}') from None
    name = os.path.basename(style.get_path())
    brush = contents(style.get_path())
    Gimp.progress_init("impasto")
    studio = Studio(config.get_property("studio"))
    painting = studio.paint(visible(image), brush, name, not_selected(image), settings, show)
    add_layer(image, painting, f"painted like {name}")


def run(procedure, run_mode, image, drawables, config, data):
    """Run the procedure; GIMP calls this."""
    if run_mode == Gimp.RunMode.INTERACTIVE:
        GimpUi.init(NAME)
        dialog = GimpUi.ProcedureDialog.new(procedure, config, "Paint with impasto")
        dialog.fill(None)
        agreed = dialog.run()
        dialog.destroy()
        if not agreed:
            return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, GLib.Error())
    try:
        paint(image, config)
    except (StudioError, OSError, ValueError) as error:
        failed = Gimp.PDBStatusType.EXECUTION_ERROR
        return procedure.new_return_values(failed, GLib.Error(str(error)))
    return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, GLib.Error())


def choice(names):
    """Return a choice of names, the first of which is the default."""
    options = Gimp.Choice.new()
    for number, name in enumerate(names):
        options.add(name, number, name, "")
    return options, names[0], GObject.ParamFlags.READWRITE


class Impasto(Gimp.PlugIn):
    """The plug-in."""

    def do_set_i18n(self, name):
        """Say that there are no translations."""
        return False

    def do_query_procedures(self):
        """Return the names of the procedures."""
        return [NAME]

    def do_create_procedure(self, name):
        """Describe the procedure: its place in the menu, and what it asks for."""
        made = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, run, None)
        made.set_image_types("*")
        made.set_menu_label("_Paint with impasto...")
        made.add_menu_path("<Image>/Filters/Artistic")
        made.set_documentation("Paint in the style of a picture", __doc__, name)
        made.set_attribution("The impasto authors", "MIT license", "2026")
        flags, at = GObject.ParamFlags.READWRITE, "http://127.0.0.1:7860"
        open_file = Gimp.FileChooserAction.OPEN
        made.add_file_argument("style", "_Style", "a painting", open_file, False, None, flags)
        made.add_int_argument("size", "Si_ze", "pixels of the longest side", 16, 8192, 1024, flags)
        made.add_choice_argument("look", "_Look", "how much is painted", *choice(LOOKS))
        made.add_double_argument("strength", "S_trength", "of the style", 0, 1000, 1, flags)
        made.add_choice_argument("color", "_Color", "whose colors it has", *choice(COLORS))
        made.add_string_argument("settings", "S_ettings", "others, as JSON", "{}", flags)
        made.add_string_argument("studio", "St_udio", "where `impasto serve` runs", at, flags)
        return made


Gimp.main(Impasto.__gtype__, sys.argv)
