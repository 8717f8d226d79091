"""The losses in NumPy, float64, written from the formulas of their papers: image by image and pixel by pixel."""

import math

import numpy as np


def log_softmax(logits):
    logits = np.asarray(logits, "float64")
    logits = logits - logits.max()
    return logits - math.log(np.exp(logits).sum())


def pixels_of(masks, logits, weights, void):
    """Per image: labels (N,), log-probabilities (N, C) and weights (N,) of its valid pixels."""
    for image, label in enumerate(np.asarray(masks)):
        valid = label != void
        logs = np.array([log_softmax(row) for row in np.asarray(logits)[image][valid]])
        yield label[valid], logs, np.broadcast_to(weights, np.shape(masks))[image][valid]


def over_pixels(loss):
    def mean(masks, logits, weights=1.0, class_weights=None, void=255, **settings):
        total = divisor = 0.0
        for labels, logs, by_pixel in pixels_of(masks, logits, weights, void):
            for label, row, weight in zip(labels, logs, by_pixel, strict=True):
                weight = weight * (1.0 if class_weights is None else class_weights[label])
                total += weight * loss(row, label, **settings)
                divisor += weight
        return total / divisor if divisor else 0.0

    return mean


def over_images(loss):
    def mean(masks, logits, weights=1.0, class_weights=None, void=255, **settings):
        total = divisor = 0.0
        class_weights = np.ones(np.shape(logits)[-1]) if class_weights is None else np.asarray(class_weights)
        for labels, logs, by_pixel in pixels_of(masks, logits, weights, void):
            if len(labels) and by_pixel.any():
                total += by_pixel.mean() * loss(labels, logs, by_pixel, class_weights, **settings)
                divisor += by_pixel.mean()
        return total / divisor if divisor else 0.0

    return mean


@over_pixels
def crossentropy(row, label, label_smoothing=0.0):
    target = np.full(len(row), label_smoothing / len(row))
    target[label] += 1 - label_smoothing
    return -(target * row).sum()


@over_pixels
def focal(row, label, gamma=2.0):
    return -((1 - math.exp(row[label])) ** gamma) * row[label]


@over_images
def ohem(labels, logs, weights, class_weights, threshold=0.7, min_share=0.1):
    hardness = -logs[np.arange(len(labels)), labels]
    least = math.ceil(min_share * (weights > 0).sum())
    hardest = sorted(hardness[weights > 0], reverse=True)[least - 1]
    kept = (weights > 0) & ((hardness >= hardest) | (np.exp(-hardness) <= threshold))
    by = weights[kept] * class_weights[labels[kept]]
    return (by * hardness[kept]).sum() / by.sum()


@over_images
def tversky(labels, logs, weights, class_weights, alpha=0.3, beta=0.7):
    total = divisor = 0.0
    for c in set(labels[weights > 0].tolist()):
        p, t = np.exp(logs[:, c]), labels == c
        tp, fp, fn = (weights * p * t).sum(), (weights * p * ~t).sum(), (weights * (1 - p) * t).sum()
        total += class_weights[c] * (1 - tp / (tp + alpha * fp + beta * fn))
        divisor += class_weights[c]
    return total / divisor


def dice(*arguments, **settings):
    return tversky(*arguments, **settings, alpha=0.5, beta=0.5)


@over_images
def lovasz(labels, logs, weights, class_weights):
    """Definition 1 of the paper: the sum of the errors, sorted, by what each pixel adds to the Jaccard loss."""

    def jaccard(wrong, t):
        return (weights * wrong).sum() / (weights * (t | wrong)).sum()

    total = divisor = 0.0
    for c in set(labels[weights > 0].tolist()):
        t = labels == c
        errors = np.abs(t - np.exp(logs[:, c]))
        wrong, before, loss = np.zeros(len(labels), bool), 0.0, 0.0
        for pixel in np.argsort(-errors):
            wrong[pixel] = True
            now = jaccard(wrong, t)
            loss += errors[pixel] * (now - before)
            before = now
        total += class_weights[c] * loss
        divisor += class_weights[c]
    return total / divisor
