"""One number to better pixels: L-BFGS and Adam. It knows nothing of style."""
