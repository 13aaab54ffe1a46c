"""The libraries that a plain installation leaves out, and the line that installs them."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["EXTRAS", "has_extra", "needs_extra"]

EXTRAS = {  # the modules of each extra of pyproject.toml
    "cli": ("click", "rich"),
    "plots": ("matplotlib",),
    "keras": ("h5py",),
    "heif": ("pillow_heif",),
    "jxl": ("pillow_jxl",),
    "video": ("av", "cv2"),
    "web": ("fastapi", "gradio", "prometheus_client", "uvicorn"),
    "cluster": ("ray",),
}


def has_extra(extra: str) -> bool:
    """Return whether the libraries of an extra are installed."""
    return all(find_spec(name) is not None for name in EXTRAS[extra])


def needs_extra(what: str, extra: str) -> str:
    """Return an error message: `what` is missing its libraries, which one line installs.

    Args:
        what: begins the sentence, as "HEIC".
        extra: one of EXTRAS.
    """
    return (
        f"{what} needs an extra: pip install 'impasto[{extra}]' "
        f"(in a checkout: pip install -e '.[{extra}]')"
    )
