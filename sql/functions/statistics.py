"""Aggregate functions of statistics: variances, covariances, percentiles, and the sketches that estimate."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from headrace.sql.functions.accumulators import (
    FRACTION,
    Accumulator,
    AggregateFunction,
    AggregateSignature,
    Aggregation,
    Example,
    Given,
    OrderBy,
    StateSize,
)
from headrace.sql.functions.totals import COUNT, total
from headrace.sql.runtime import aggregates, moments, values
from headrace.sql.runtime.sketches import DifferentValues, Percentiles
from headrace.sql.types import BIGINT, DOUBLE, Kind, Type, python_type

# Accumulators


def _squares(type_: Type) -> Accumulator:
    """The exact sum of the squares."""
    if type_.kind is Kind.DECIMAL:
        square = "{decimal_multiply}({v}, {v})"
        names = {
            "decimal_add": values.decimal_add,
            "decimal_subtract": values.decimal_subtract,
            "decimal_multiply": values.decimal_multiply,
        }
        return Accumulator(
            "decimal_squares",
            (f"{{f}} = {{decimal_add}}({{f}}, {square})",),
            ("{f} = {decimal_add}({f}, {g})",),
            Decimal,
            Decimal(0),
            (f"{{f}} = {{decimal_subtract}}({{f}}, {square})",),
            names,
        )
    return Accumulator("squares", ("{f} += {v} * {v}",), ("{f} += {g}",), int, 0, ("{f} -= {v} * {v}",), wide=True)


_MOMENTS = Accumulator(
    "moments",
    ("{f} = {add_value}({f}, {v})",),
    ("{f} = {merge_moments}({f}, {g})",),
    moments.Moments,
    (0, 0.0, 0.0),
    names={"add_value": moments.add_value, "merge_moments": moments.merge_moments},
)
_JOINT = Accumulator(
    "joint",
    ("{f} = {add_pair}({f}, {v}, {w})",),
    ("{f} = {merge_pairs}({f}, {g})",),
    moments.JointMoments,
    (0, 0.0, 0.0, 0.0, 0.0, 0.0),
    names={"add_pair": moments.add_pair, "merge_pairs": moments.merge_pairs},
)


def _sketch(kind: str, class_: type[DifferentValues] | type[Percentiles]) -> Accumulator:
    return Accumulator(kind, ("{f}.add({v})",), ("{f}.merge({g})",), class_, class_)


def counts(type_: Type) -> Accumulator:
    """How often each value came."""
    row: Any = dict
    storage = row[python_type(type_), int]
    update = (f"if {{v}} in {{f}} or len({{f}}) <= {aggregates.ELEMENTS_MAX}:", "    {f}[{v}] = {f}.get({v}, 0) + 1")
    return Accumulator(
        "counts",
        update,
        ("{merge_counts}({f}, {g})",),
        storage,
        dict,
        names={"merge_counts": aggregates.merge_counts},
    )


# Functions


def _variance(less: int, *, rooted: bool) -> Callable[[Given], Aggregation | None]:
    """`less` is 1 for a sample, 0 for a population."""

    def keep(given: Given) -> Aggregation | None:
        sums = (COUNT, total(given.type), _squares(given.type))
        kept: tuple[Accumulator, ...] = sums if given.type.kind is not Kind.DOUBLE else (_MOMENTS,)
        functions: dict[Kind, Callable[..., float | None]] = {
            Kind.DOUBLE: moments.variance,
            Kind.DECIMAL: moments.variance_of_decimals,
        }
        parts = ", ".join(f"{{{accumulator.kind}}}" for accumulator in kept)
        code = f"{{variance}}({parts}, {less})"
        names = {"variance": functions.get(given.type.kind, moments.variance_of_integers), "root": moments.root}
        return Aggregation(DOUBLE, kept, f"{{root}}({code})" if rooted else code, names, fails=True)

    return keep


def _joint(function: Callable[..., float | None], *less: int) -> Callable[[Given], Aggregation | None]:
    def keep(given: Given) -> Aggregation | None:
        del given
        code = f"{{result}}({', '.join(('{joint}', *map(str, less)))})"
        return Aggregation(DOUBLE, (_JOINT,), code, {"result": function}, fails=True)

    return keep


def _fraction(given: Given) -> Decimal:
    """The fraction of a percentile as it was written; over values in descending order, from the other end."""
    return Decimal(repr(given.constants[0])) if given.constants else Decimal("0.5")


def _continuous(given: Given) -> Aggregation | None:
    descending = any(direction.descending for direction in given.order)
    fraction = 1 - _fraction(given) if descending else _fraction(given)
    names = {"percentile": aggregates.continuous_percentile, "fraction": fraction}
    return Aggregation(DOUBLE, (counts(given.type),), "{percentile}({counts}, {fraction})", names, fails=True)


def _discrete(given: Given) -> Aggregation | None:
    if not given.type.is_ordered:
        return None
    descending = any(direction.descending for direction in given.order)
    function = aggregates.discrete_percentile_descending if descending else aggregates.discrete_percentile
    names = {"percentile": function, "fraction": _fraction(given)}
    return Aggregation(given.type, (counts(given.type),), "{percentile}({counts}, {fraction})", names, fails=True)


def _different(given: Given) -> Aggregation | None:
    if not given.type.has_keys:
        return None
    return Aggregation(BIGINT, (_sketch("different", DifferentValues),), "{different}.value()", nullable=False)


def _estimated(given: Given) -> Aggregation | None:
    kept = (_sketch("digest", Percentiles),)
    return Aggregation(DOUBLE, kept, "{digest}.value({fraction})", {"fraction": given.constants[0]}, fails=True)


def _spread(
    name: str, aliases: tuple[str, ...], what: str, less: int, result: float, *, rooted: bool
) -> AggregateFunction:
    return AggregateFunction(
        name,
        aliases,
        (AggregateSignature(("number",), _variance(less, rooted=rooted)),),
        f"{what}, of exact sums for integers and DECIMAL{'; NULL for fewer than two values' if less else ''}.",
        examples=(Example(f"{name}(x)", (2, 4, None, 6), result),),
    )


def _regression(
    name: str, aliases: tuple[str, ...], doc: str, result: float, function: Callable[..., float | None], *less: int
) -> AggregateFunction:
    rows = ((1, 1), (3, 2), (None, 2), (5, 3), (9, None))
    return AggregateFunction(
        name,
        aliases,
        (AggregateSignature((DOUBLE, DOUBLE), _joint(function, *less)),),
        doc,
        examples=(Example(f"{name}(y, x)", rows, result, "y DOUBLE, x INT"),),
    )


_DIFFERENT = (AggregateSignature(("any",), _different),)
FUNCTIONS: tuple[AggregateFunction, ...] = (
    _spread("VAR_SAMP", ("VARIANCE",), "The variance of a sample", 1, 4.0, rooted=False),
    _spread("VAR_POP", (), "The variance of a population", 0, 8 / 3, rooted=False),
    _spread("STDDEV_SAMP", ("STDDEV", "STDDEV_SAMPLE"), "The standard deviation of a sample", 1, 2.0, rooted=True),
    _spread("STDDEV_POP", (), "The standard deviation of a population", 0, (8 / 3) ** 0.5, rooted=True),
    _regression(
        "CORR",
        ("CORRELATION",),
        "Pearson's correlation of pairs without NULL; NULL where one of both does not vary.",
        1.0,
        moments.correlation,
    ),
    _regression(
        "COVAR_SAMP",
        (),
        "The covariance of a sample; NULL for fewer than two pairs.",
        2.0,
        moments.covariance,
        1,
    ),
    _regression("COVAR_POP", (), "The covariance of a population.", 4 / 3, moments.covariance, 0),
    _regression(
        "REGR_SLOPE", (), "The slope of the line of least squares: of y (the first operand) by x.", 2.0, moments.slope
    ),
    _regression("REGR_INTERCEPT", (), "What the line of least squares has for x = 0.", -1.0, moments.intercept),
    AggregateFunction(
        "MEDIAN",
        (),
        (AggregateSignature(("number",), _continuous),),
        "The middle value, or the mean of both.",
        StateSize.DISTINCT,
        examples=(Example("MEDIAN(x)", (5, 1, None, 2, 9), 3.5),),
    ),
    AggregateFunction(
        "PERCENTILE_CONT",
        ("PERCENTILE",),
        (AggregateSignature(("number",), _continuous, (FRACTION,)),),
        "The value below which a fraction of the values lies, interpolated. "
        "Also PERCENTILE_CONT(p) WITHIN GROUP (ORDER BY x).",
        StateSize.DISTINCT,
        order_by=OrderBy.OPERAND,
        examples=(
            Example("PERCENTILE_CONT(x, 0.25)", (1, 2, None, 4, 9), 1.75),
            Example("PERCENTILE_CONT(0.25) WITHIN GROUP (ORDER BY x DESC)", (1, 2, None, 4, 9), 5.25),
        ),
    ),
    AggregateFunction(
        "PERCENTILE_DISC",
        (),
        (AggregateSignature(("any",), _discrete, (FRACTION,)),),
        "The first of the values, in order, at or before which a fraction of them lies. "
        "Also PERCENTILE_DISC(p) WITHIN GROUP (ORDER BY x).",
        StateSize.DISTINCT,
        order_by=OrderBy.OPERAND,
        examples=(
            Example("PERCENTILE_DISC(x, 0.5)", ("a", "d", None, "b", "c"), "b", "x VARCHAR"),
            Example("PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY x DESC)", (1, 2, 4, 9), 4),
        ),
    ),
    AggregateFunction(
        "APPROX_COUNT_DISTINCT",
        (),
        _DIFFERENT,
        "About the number of different values (a theta sketch): exact up to 4,096, then with an error of some 1.6 %.",
        StateSize.SKETCH,
        _DIFFERENT,
        examples=(
            Example("APPROX_COUNT_DISTINCT(x)", (1, 2, None, 1), 2),
            Example("APPROX_COUNT_DISTINCT(x)", ("a", "", None, "a"), 2, "x VARCHAR"),
        ),
    ),
    AggregateFunction(
        "APPROX_PERCENTILE",
        (),
        (AggregateSignature((DOUBLE,), _estimated, (FRACTION,)),),
        "About the value below which a fraction of the values lies (a t-digest).",
        StateSize.SKETCH,
        examples=(Example("APPROX_PERCENTILE(x, 0.5)", (3.0, None, 1.0, 2.0), 2.0, "x DOUBLE"),),
    ),
)
