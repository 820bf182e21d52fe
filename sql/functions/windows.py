"""The window functions: what can stand before OVER beside the aggregate functions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WindowFunction:
    """A function over the rows of a partition. `framed`: it looks at the rows of its frame alone."""

    name: str
    parameters: tuple[str, ...]
    """As the docs write them; those in brackets may be left out."""
    doc: str
    framed: bool = False

    @property
    def operands(self) -> range:
        """How many operands it takes."""
        return range(sum("[" not in name for name in self.parameters), len(self.parameters) + 1)


FUNCTIONS: tuple[WindowFunction, ...] = (
    WindowFunction("ROW_NUMBER", (), "The number of the row in its partition, from 1."),
    WindowFunction("RANK", (), "1 plus the number of rows of an earlier time: rows of one time have one rank."),
    WindowFunction("DENSE_RANK", (), "As RANK, without gaps: 1 plus the number of earlier times."),
    WindowFunction(
        "LAG", ("x", "[n]", "[default]"), "`x` of the n-th row before (n is 1 if left out); else `default`, or NULL."
    ),
    WindowFunction(
        "LEAD", ("x", "[n]", "[default]"), "`x` of the n-th row that follows; the row comes out when that one has come."
    ),
    WindowFunction("FIRST_VALUE", ("x",), "`x` of the first row of the frame.", framed=True),
    WindowFunction("LAST_VALUE", ("x",), "`x` of the last row of the frame.", framed=True),
    WindowFunction("NTH_VALUE", ("x", "n"), "`x` of the n-th row of the frame; NULL where it has fewer.", framed=True),
)
OF_WHOLE_PARTITIONS = ("NTILE", "PERCENT_RANK", "CUME_DIST")
"""Functions that every new row would change for all rows before it."""
BY_NAME: dict[str, WindowFunction] = {function.name: function for function in FUNCTIONS}
