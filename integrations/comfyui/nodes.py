"""The nodes: what each takes, in both forms that ComfyUI has, V3 (`comfy_api`) and the older V1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import torch
from comfy import model_management

from impasto import PRESETS, Config
from impasto.errors import as_arguments

from .painting import Images, paint_frames, paint_images, paint_region, paint_texture


class Input(NamedTuple):
    """An input of a node. kind: the name of a type of `comfy_api`. options: of its widget."""

    name: str
    kind: str
    options: dict[str, Any]


class Node(NamedTuple):
    """A node: `run` is called with the inputs by name, and returns pictures."""

    id: str
    name: str
    description: str
    inputs: list[Input]
    run: Callable[..., Images]

    def __call__(self, values: dict[str, Any]) -> Images:
        """Run the node. ComfyUI runs nodes in inference mode, where there are no gradients."""
        model_management.unload_all_models()  # the plan counts the memory that is free
        with torch.inference_mode(False), torch.enable_grad():
            return self.run(**values)


def setting(name: str, kind: str, **options: Any) -> Input:
    """Return an input for a setting, with the default and the help that impasto has for it."""
    field = Config.model_fields[name]
    if kind == "Combo":
        options["options"] = list(get_args(field.annotation))
    return Input(
        name,
        kind,
        {"default": field.default, "tooltip": as_arguments(field.description), **options},
    )


def number(name: str, kind: str, default: float, least: float, tooltip: str) -> Input:
    """Return an input for a number that is not a setting."""
    return Input(name, kind, {"default": default, "min": least, "max": 65536, "tooltip": tooltip})


CONTENT = Input("content", "Image", {"tooltip": "the picture to paint"})
STYLE = Input("style", "Image", {"tooltip": "the style; a batch is blended"})
MASK = Input("mask", "Mask", {"tooltip": "white is painted"})
OUTSIDE = Input("outside", "Image", {"tooltip": "a style for the rest", "optional": True})
FRAMES = Input("frames", "Image", {"tooltip": "the frames, in order"})
LATER = number("later_steps", "Int", 0, 0, "steps of a shot's later frames; 0: as usual")
STEADY = number("temporal", "Float", 1.0, 0.0, "how much a frame is held to the one before it")
SIDES = [number(name, "Int", 512, 16, "pixels") for name in ("width", "height")]
SIZE = setting("size", "Int", min=0, max=65536, tooltip="longest side in pixels; 0: as it is")
STEPS = setting("steps", "Int", min=1, max=10000)
SEED = setting("seed", "Int", min=0, max=2**32 - 1, control_after_generate=True)
STRENGTH = setting("strength", "Float", min=0.0, max=1000.0, step=0.1)
LOOK = [setting("look", "Combo"), STRENGTH, setting("color", "Combo")]
PRESET = {"options": list(PRESETS), "default": "default", "tooltip": "a preset, by name"}
JSON = {"default": "", "multiline": True, "tooltip": "other settings, as JSON"}
MORE = [Input("preset", "Combo", PRESET), Input("settings", "String", JSON)]

NODES = [
    Node("ImpastoPaint", "Paint", "Paints a picture in the style of another.",
         [CONTENT, STYLE, SIZE, STEPS, *LOOK, *MORE], paint_images),
    Node("ImpastoPaintRegion", "Paint Region", "Paints a part of a picture.",
         [CONTENT, MASK, STYLE, SIZE, STEPS, *LOOK, *MORE, OUTSIDE], paint_region),
    Node("ImpastoTexture", "Texture", "Synthesizes a texture of any size.",
         [STYLE, *SIDES, STEPS, SEED, *MORE], paint_texture),
    Node("ImpastoFilm", "Film", "Paints frames of a video as one film, without flicker.",
         [FRAMES, STYLE, SIZE, STEPS, LATER, STEADY, *LOOK, *MORE], paint_frames),
]  # fmt: skip


def v1(node: Node) -> type:
    """Make a node in the form of ComfyUI before `comfy_api`."""
    types: dict[str, dict[str, Any]] = {"required": {}, "optional": {}}
    for name, kind, given in node.inputs:
        options = dict(given)
        part = "optional" if options.pop("optional", False) else "required"
        types[part][name] = (options.pop("options", kind.upper()), options)
    members = {"RETURN_TYPES": ("IMAGE",), "FUNCTION": "execute", "CATEGORY": "impasto"}
    members |= {"DESCRIPTION": node.description, "INPUT_TYPES": classmethod(lambda cls: types)}
    return type(node.id, (), {**members, "execute": lambda self, **values: (node(values),)})


def v3(node: Node, io: Any) -> type:
    """Make a node in the form of `comfy_api`, of which `io` is a part."""

    def define_schema(cls: type) -> Any:
        inputs = [getattr(io, kind).Input(name, **given) for name, kind, given in node.inputs]
        texts = {"display_name": f"{node.name} (impasto)", "description": node.description}
        ends = {"inputs": inputs, "outputs": [io.Image.Output()]}
        return io.Schema(node_id=node.id, category="impasto", **texts, **ends)

    def execute(cls: type, **values: Any) -> Any:
        return io.NodeOutput(node(values))

    members = {"define_schema": classmethod(define_schema), "execute": classmethod(execute)}
    return type(node.id, (io.ComfyNode,), members)
