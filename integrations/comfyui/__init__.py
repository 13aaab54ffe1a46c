"""impasto's nodes for ComfyUI: Paint, Paint Region, Texture and Film."""

from __future__ import annotations

try:
    import impasto  # noqa: F401
except ImportError:
    line = "pip install 'impasto[video]'"
    raise ImportError(f"impasto is missing: `{line}` with ComfyUI's own Python") from None

from .nodes import NODES, v1, v3

try:
    from comfy_api.latest import ComfyExtension, io
except ImportError:  # ComfyUI before comfy_api
    NODE_CLASS_MAPPINGS = {node.id: v1(node) for node in NODES}
    NODE_DISPLAY_NAME_MAPPINGS = {node.id: f"{node.name} (impasto)" for node in NODES}
else:

    class Extension(ComfyExtension):
        """The nodes, in ComfyUI's V3 form."""

        async def get_node_list(self) -> list[type]:
            """Return the classes of the nodes."""
            return [v3(node, io) for node in NODES]

    async def comfy_entrypoint() -> Extension:
        """Return the extension; ComfyUI calls this."""
        return Extension()
