"""Variances and covariances: over exact sums, and over moments of doubles that are kept up one by one and merged.

Moments of one variable are (count, mean, sum of squared deviations), of two (count, mean of y, mean of x, sums of
squared deviations of y and of x, sum of products of deviations). They are kept up as by Welford (1962) and merged as by
Chan, Golub and LeVeque (1979), which loses no digits where values lie close to each other.
"""

from __future__ import annotations

import math
from decimal import Decimal

from headrace.sql.runtime.values import EXACT, finite, overflow

Moments = tuple[int, float, float]
JointMoments = tuple[int, float, float, float, float, float]


def add_value(moments: Moments, value: float) -> Moments:
    count, mean, squares = moments
    count += 1
    away = value - mean
    mean += away / count
    return count, mean, squares + away * (value - mean)


def merge_moments(one: Moments, other: Moments) -> Moments:
    if not one[0] or not other[0]:
        return one if one[0] else other
    count = one[0] + other[0]
    apart = other[1] - one[1]
    mean = one[1] + apart * other[0] / count
    return count, mean, one[2] + other[2] + apart * apart * one[0] * other[0] / count


def add_pair(moments: JointMoments, y: float, x: float) -> JointMoments:
    count, mean_y, mean_x, squares_y, squares_x, products = moments
    count += 1
    away_y, away_x = y - mean_y, x - mean_x
    mean_y += away_y / count
    mean_x += away_x / count
    rest_y, rest_x = y - mean_y, x - mean_x
    return count, mean_y, mean_x, squares_y + away_y * rest_y, squares_x + away_x * rest_x, products + away_y * rest_x


def merge_pairs(one: JointMoments, other: JointMoments) -> JointMoments:
    if not one[0] or not other[0]:
        return one if one[0] else other
    count = one[0] + other[0]
    share = one[0] * other[0] / count
    apart_y, apart_x = other[1] - one[1], other[2] - one[2]
    return (
        count,
        one[1] + apart_y * other[0] / count,
        one[2] + apart_x * other[0] / count,
        one[3] + other[3] + apart_y * apart_y * share,
        one[4] + other[4] + apart_x * apart_x * share,
        one[5] + other[5] + apart_y * apart_x * share,
    )


def variance_of_integers(count: int, total: int, squares: int, less: int) -> float | None:
    """Over exact sums, rounded once; `less` is 1 for a sample, 0 for a population."""
    if count <= less:
        return None
    try:
        return (count * squares - total * total) / (count * (count - less))
    except OverflowError:
        overflow("DOUBLE")


def variance_of_decimals(count: int, total: Decimal, squares: Decimal, less: int) -> float | None:
    """Over exact sums; `less` is 1 for a sample, 0 for a population."""
    if count <= less:
        return None
    deviation = EXACT.subtract(EXACT.multiply(Decimal(count), squares), EXACT.multiply(total, total))
    return float(EXACT.divide(deviation, Decimal(count * (count - less))))


def variance(moments: Moments, less: int) -> float | None:
    """`less` is 1 for a sample, 0 for a population."""
    count, _, squares = moments
    return finite(squares / (count - less)) if count > less else None


def root(value: float | None) -> float | None:
    return None if value is None else math.sqrt(value)


def covariance(moments: JointMoments, less: int) -> float | None:
    """`less` is 1 for a sample, 0 for a population."""
    return finite(moments[5] / (moments[0] - less)) if moments[0] > less else None


def correlation(moments: JointMoments) -> float | None:
    """Pearson's; NULL where one variable does not vary."""
    _, _, _, squares_y, squares_x, products = moments
    if squares_y == 0.0 or squares_x == 0.0:
        return None
    spread = math.sqrt(finite(squares_y)) * math.sqrt(finite(squares_x))
    return max(-1.0, min(1.0, finite(products / spread)))


def slope(moments: JointMoments) -> float | None:
    """Of the line of least squares; NULL where x does not vary."""
    return finite(moments[5] / finite(moments[4])) if moments[4] != 0.0 else None


def intercept(moments: JointMoments) -> float | None:
    """Of the line of least squares; NULL where x does not vary."""
    rise = slope(moments)
    return None if rise is None else finite(moments[1] - rise * moments[2])
