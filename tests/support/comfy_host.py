"""A stand-in for ComfyUI: as much of its API as impasto's nodes use.

ComfyUI is not on the package index. Names, arguments and behavior are those of its documentation
(docs.comfy.org: custom-nodes/v3_migration, backend/server_overview, backend/lifecycle) and of its
files comfy_api/latest/_io.py, latent_preview.py (previews) and nodes.py (how a node package is
loaded), read in November 2026. What is not there fails here.
"""

import asyncio
import importlib.util
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch


class InterruptProcessingException(Exception):  # noqa: N818
    """What ComfyUI raises in a node that the user cancels."""


class ComfyHost:
    """What the nodes told ComfyUI, and what its user does."""

    def __init__(self) -> None:
        self.progress: list[tuple[float, float, Any]] = []
        self.cancel_at: float | None = None  # a value of the progress
        self.unloaded = 0

    def modules(self, v3: bool) -> dict[str, ModuleType]:
        """ComfyUI's modules by name; without `comfy_api` unless v3."""
        host = self

        class ProgressBar:
            def __init__(self, total: float, node_id: str | None = None):
                self.total = total

            def update_absolute(
                self, value: float, total: float | None = None, preview: Any = None
            ) -> None:
                host.progress.append((value, total or self.total, preview))

        def check() -> None:
            if host.cancel_at is not None and host.progress[-1:] >= [(host.cancel_at,)]:
                raise InterruptProcessingException

        def unload() -> None:
            host.unloaded += 1

        comfy, utils = ModuleType("comfy"), ModuleType("comfy.utils")
        management = ModuleType("comfy.model_management")
        utils.ProgressBar = ProgressBar
        management.throw_exception_if_processing_interrupted = check
        management.unload_all_models = unload
        comfy.utils, comfy.model_management = utils, management
        found = {"comfy": comfy, "comfy.utils": utils, "comfy.model_management": management}
        if v3:
            api, latest = ModuleType("comfy_api"), ModuleType("comfy_api.latest")
            latest.io, latest.ComfyExtension, api.latest = io, ComfyExtension, latest
            found |= {"comfy_api": api, "comfy_api.latest": latest}
        return found


# comfy_api.latest
# --------------------------------------------------------------------------------------------------


class ComfyExtension(ABC):
    """What a node package gives to ComfyUI."""

    async def on_load(self) -> None:  # noqa: B027
        """Called when it is loaded."""

    @abstractmethod
    async def get_node_list(self) -> list[type]:
        """The classes of the nodes."""


BASE = ("display_name", "optional", "tooltip", "lazy", "extra_dict", "raw_link")
WIDGET = (*BASE, "default", "socketless")
NUMBER = (*WIDGET, "force_input", "min", "max", "step", "display_mode")


def _kind(io_type: str, allowed: tuple[str, ...]) -> Any:
    class Input:
        def __init__(self, id: str, **options: Any):
            unknown = options.keys() - set(allowed)
            assert not unknown, f"{io_type} has no {unknown}"
            self.id, self.io_type, self.options = id, io_type, options
            self.optional = options.pop("optional", False)

    return SimpleNamespace(Input=Input, Output=lambda: SimpleNamespace(io_type=io_type))


@dataclass
class Schema:
    node_id: str
    display_name: str = ""
    category: str = "sd"
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    description: str = ""


class NodeOutput:
    def __init__(self, *args: Any):
        self.args = args


class ComfyNode:
    """The base class of V3 nodes."""


io = SimpleNamespace(
    Image=_kind("IMAGE", BASE),
    Mask=_kind("MASK", BASE),
    Int=_kind("INT", (*NUMBER, "control_after_generate")),
    Float=_kind("FLOAT", (*NUMBER, "round")),
    Combo=_kind("COMBO", (*WIDGET, "options", "control_after_generate")),
    String=_kind("STRING", (*WIDGET, "force_input", "multiline", "placeholder", "dynamic_prompts")),
    Schema=Schema,
    NodeOutput=NodeOutput,
    ComfyNode=ComfyNode,
)


# What ComfyUI does with a node package
# --------------------------------------------------------------------------------------------------


@dataclass
class Loaded:
    """A node as ComfyUI sees it. inputs: type, options and whether it must be given, by name."""

    name: str
    inputs: dict[str, tuple[Any, dict[str, Any], bool]]
    run: Any

    def __call__(self, **given: Any) -> torch.Tensor:
        """Run the node as ComfyUI does: with widgets at their defaults, in inference mode."""
        values = {
            name: options["default"]
            for name, (_, options, _) in self.inputs.items()
            if "default" in options
        }
        assert given.keys() <= self.inputs.keys()
        with torch.inference_mode():
            return self.run(**{**values, **given})


def load_nodes(folder: Path, monkeypatch: Any, modules: dict[str, ModuleType]) -> dict[str, Loaded]:
    """Load a node package as ComfyUI's `load_custom_node` does; its nodes by id."""
    for name in ("comfy_api", "comfy_api.latest"):
        monkeypatch.setitem(sys.modules, name, None)  # not installed
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    package = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, package)
    spec.loader.exec_module(package)
    for part in [each for each in sys.modules if each.startswith(f"{name}.")]:
        monkeypatch.setitem(sys.modules, part, sys.modules.pop(part))  # gone after the test
    if getattr(package, "NODE_CLASS_MAPPINGS", None) is not None:  # V1 comes first
        names = package.NODE_DISPLAY_NAME_MAPPINGS
        return {id: _v1(names[id], node) for id, node in package.NODE_CLASS_MAPPINGS.items()}
    return asyncio.run(_v3_nodes(package))


async def _v3_nodes(package: ModuleType) -> dict[str, Loaded]:
    extension = await package.comfy_entrypoint()
    assert isinstance(extension, ComfyExtension)
    await extension.on_load()
    nodes = await extension.get_node_list()
    return {node.define_schema().node_id: _v3(node) for node in nodes}


def _v3(node: Any) -> Loaded:
    schema = node.define_schema()
    assert [each.io_type for each in schema.outputs] == ["IMAGE"]
    inputs = {
        each.id: (each.options.pop("options", each.io_type), each.options, not each.optional)
        for each in schema.inputs
    }
    return Loaded(schema.display_name, inputs, lambda **values: node.execute(**values).args[0])


def _v1(name: str, node: Any) -> Loaded:
    types = node.INPUT_TYPES()
    assert node.RETURN_TYPES == ("IMAGE",)
    inputs = {
        id: (kind, options, part == "required")
        for part in ("required", "optional")
        for id, (kind, options) in types[part].items()
    }
    return Loaded(name, inputs, lambda **values: getattr(node(), node.FUNCTION)(**values)[0])
