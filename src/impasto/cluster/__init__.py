"""Painting on a Ray cluster: the only room that imports Ray."""

import warnings

from impasto.errors import ClusterError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about later versions of Ray
    try:
        import ray  # noqa: F401
    except ImportError:
        raise ClusterError("--engine ray needs an extra: pip install 'impasto[cluster]'") from None
