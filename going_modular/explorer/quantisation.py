"""Weights as bytes: each row in 255 steps of its own maximum."""

import numpy as np

__all__ = ["quantise", "restore", "rounding_errors"]

STEPS = 255


def quantise(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round each row of (n, ..., T) weights to 255 steps of its maximum.

    Returns:
        (n, ..., T) uint8 steps and (n, ...) float32 scales, the worth of one step. No
        weight is off by more than its row's maximum / 510.
    """
    steps = np.empty(weights.shape, np.uint8)
    scales = (weights.max(-1).astype(np.float64) / STEPS).astype(np.float32)
    for i, layer in enumerate(weights):  # one at a time, for memory's sake
        worth = scales[i].astype(np.float64)[..., None]
        steps[i] = np.rint(layer / np.where(worth > 0, worth, 1))
    return steps, scales


def restore(steps: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The weights that (..., T) steps and (...) scales stand for, as float64."""
    return steps * scales[..., None].astype(np.float64)


def rounding_errors(
    *stored: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> dict[str, float]:
    """How far steps and scales are from the weights that they were made of.

    Args:
        stored: Steps, scales and float weights, of one kind after the other.

    Returns:
        The "greatest" error and the "mean" over all weights of all kinds.
    """
    greatest, total, count = 0.0, 0.0, 0
    for steps, scales, weights in stored:
        for i, layer in enumerate(weights):
            errors = np.abs(restore(steps[i], scales[i]) - layer)
            greatest = max(greatest, float(errors.max()))
            total += float(errors.sum())
            count += errors.size
    return {"greatest": greatest, "mean": total / count}
