"""Painting on a Ray cluster: the only room that imports Ray."""

import warnings

from impasto.errors import ClusterError
from impasto.extras import needs_extra

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about later versions of Ray
    try:
        import ray  # noqa: F401
    except ImportError:
        raise ClusterError(needs_extra("--engine ray", "cluster")) from None
