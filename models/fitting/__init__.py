"""What every fit shares: the loop, checkpoints, data sets and cards."""
