"""One number to better pixels; knows nothing of style."""

from impasto.solver.adam import Adam
from impasto.solver.descent import Descent
from impasto.solver.guard import Best, Guard
from impasto.solver.lbfgs import LBFGS
from impasto.solver.pyramid import Level, pyramid
from impasto.solver.spectrum import Spectrum

__all__ = ["LBFGS", "Adam", "Best", "Descent", "Guard", "Level", "Spectrum", "pyramid"]
