"""Pictures to features: the network, its weights, its passes forward and back."""
