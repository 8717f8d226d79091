"""CaCLayer in NumPy: Eq. 1, its normalisation and Eq. 2 as the paper writes them, in plain loops and float64."""

import itertools

import numpy as np


def reference_kernels(x, query, key, gamma, beta, mean, variance, epsilon=1e-5):
    """Eq. 1, divided by the number of positions, and inference batch norm."""
    batch, height, width, channels = x.shape
    s = round(query.shape[-1] ** 0.5)
    kernels = np.zeros((batch, s * s, channels))
    for b in range(batch):
        for i, j in itertools.product(range(height), range(width)):
            kernels[b] += np.outer(x[b, i, j] @ query, x[b, i, j] @ key)
    kernels = kernels.reshape(batch, s, s, channels) / (height * width)
    return (kernels - mean) / np.sqrt(variance + epsilon) * gamma + beta


def reference_weighting(x, kernels, rates):
    """Eq. 2, position by position and tap by tap, zeros beyond the border."""
    _, height, width, _ = x.shape
    s = kernels.shape[1]
    weights = np.zeros_like(x)
    for rate in rates:
        response = np.zeros_like(x)
        for i, j, di, dj in itertools.product(range(height), range(width), range(s), range(s)):
            y, z = i + (di - s // 2) * rate, j + (dj - s // 2) * rate
            if 0 <= y < height and 0 <= z < width:
                response[:, i, j] += x[:, y, z] * kernels[:, di, dj]
        weights += 1 / (1 + np.exp(-response))
    return weights


def parameters_of(values, prefix=""):
    """Query and key as matrices, then gamma, beta, mean and variance of the batch norm."""
    norm = (values[f"{prefix}norm/{name}"] for name in ("gamma", "beta", "moving_mean", "moving_variance"))
    return values[f"{prefix}query/kernel"][0, 0], values[f"{prefix}key/kernel"][0, 0], *norm


def cac_oracle(values, x, training, rates=(1, 2, 3), prefix=""):
    """X * W; `training` takes the statistics of the batch."""
    query, key, gamma, beta, mean, variance = parameters_of(values, prefix)
    if training:
        raw = reference_kernels(x, query, key, 1.0, 0.0, 0.0, 1.0, epsilon=0.0)
        mean, variance = raw.mean(axis=(0, 1, 2)), raw.var(axis=(0, 1, 2))
    return x * reference_weighting(x, reference_kernels(x, query, key, gamma, beta, mean, variance), rates)
