"""Features to one number: the terms, their targets, their sum and its gradient."""
