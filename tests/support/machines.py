"""A machine for tests that compare pixels."""

from impasto.config import Machine

__all__ = ["EXACT"]

EXACT = Machine(device="cpu", precision="float32")
