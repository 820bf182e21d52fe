"""How cost grows with partitions, and what that says of more cores: the Universal Scalability Law, fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Scalability:
    """Gunther's law: n cores do the work of n / (1 + contention (n - 1) + coherency n (n - 1)) of them."""

    contention: float
    """What is done one after the other, as a part of all (sigma)."""
    coherency: float
    """What each pair of cores costs to agree (kappa)."""

    def speed_up(self, cores: int) -> float:
        """Throughput of so many cores over that of one."""
        return cores / (1 + self.contention * (cores - 1) + self.coherency * cores * (cores - 1))

    def efficiency(self, cores: int) -> float:
        """Speed-up for each core."""
        return self.speed_up(cores) / cores


def fitted(costs: Mapping[int, float]) -> Scalability:
    """The law that comes nearest to the cost of a record by number of partitions (that of one partition among them).

    By least squares; neither coefficient is less than nothing.
    """
    base = costs[1]
    numbers = np.array(sorted(costs), dtype=float)
    growth = np.array([costs[int(n)] / base for n in numbers]) - 1
    contention, coherency = numbers - 1, numbers * (numbers - 1)
    both = np.linalg.lstsq(np.column_stack([contention, coherency]), growth, rcond=None)[0]
    if both.min() >= 0:
        return Scalability(float(both[0]), float(both[1]))
    alone = [Scalability(_slope(contention, growth), 0.0), Scalability(0.0, _slope(coherency, growth))]
    return min(alone, key=lambda law: _distance(law, contention, coherency, growth))


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    squares = float(x @ x)
    return max(float(x @ y) / squares, 0.0) if squares else 0.0


def _distance(law: Scalability, contention: np.ndarray, coherency: np.ndarray, growth: np.ndarray) -> float:
    rest = law.contention * contention + law.coherency * coherency - growth
    return float(rest @ rest)
