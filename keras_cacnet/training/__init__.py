"""Losses, metrics, optimizers and the training run."""
