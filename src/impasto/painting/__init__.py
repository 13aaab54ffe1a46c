"""Run the optimization: problem, levels, loop, memory plan, checkpoints, callbacks."""
