"""Places on a line where springs are at rest: quadratic programming in a few lines of numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

UNIT = 50.0  # pixels; brings the numbers near one, where the method converges fast


def rest(
    count: int,
    springs: Sequence[tuple[int, int, float]],
    rods: Sequence[tuple[int, int, float]],
    rounds: int = 1500,
) -> np.ndarray:
    """Minimise Σ w (x_a - x_b)² over springs (a, b, w), with x_b - x_a ≥ d for each rod (a, b, d).

    By ADMM (Boyd et al. 2011, section 5.2): in turn solve the springs, clip the rods, remember the rest.
    """
    pull = 1e-4 * np.eye(count)  # a hint of a spring to 0, so that loose parts stay together
    for a, b, weight in springs:
        pull[[a, b], [a, b]] += weight
        pull[[a, b], [b, a]] -= weight
    apart, least = np.zeros((len(rods), count)), np.array([d for *_, d in rods]) / UNIT
    for i, (a, b, _) in enumerate(rods):
        apart[i, a], apart[i, b] = -1, 1
    solve = np.linalg.inv(pull + apart.T @ apart) @ apart.T
    memory, clipped = np.zeros(len(rods)), least.copy()
    for _ in range(rounds):
        places = solve @ (clipped - memory)
        clipped = np.maximum(least, apart @ places + memory)
        memory += apart @ places - clipped
    return _settle(solve @ (clipped - memory) * UNIT, rods)


def _settle(places: np.ndarray, rods: Sequence[tuple[int, int, float]]) -> np.ndarray:
    """Push what is left of a violation, a hair's breadth, forward along the rods."""
    for _ in range(len(places)):
        for a, b, distance in rods:
            places[b] = max(places[b], places[a] + distance)
    return places
