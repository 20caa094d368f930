"""Numbers as a table: text that every reader, screen or paper, can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real


@dataclass(frozen=True)
class Table:
    """Cells as text, and which columns hold numbers; a notebook shows Markdown, a terminal lines."""

    header: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]

    def _repr_markdown_(self) -> str:
        rule = ["---:" if numeric else ":---" for numeric in self.numeric]
        rows = [[_escape(cell) for cell in row] for row in (self.header, *self.cells)]
        return "\n".join("| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:]))

    def __repr__(self) -> str:
        rows = (self.header, *self.cells)
        widths = [max(len(row[c]) for row in rows) for c in range(len(self.header))]
        return "\n".join(self._line(row, widths) for row in rows)

    def _line(self, row: Sequence[str], widths: Sequence[int]) -> str:
        columns = zip(row, widths, self.numeric, strict=True)
        return "  ".join(cell.rjust(w) if numeric else cell.ljust(w) for cell, w, numeric in columns).rstrip()


def show_table(rows: Sequence[Sequence] | Sequence[Mapping], columns: Sequence[str] | None = None) -> Table:
    """Rows of values, or dictionaries, as a table; numbers have 4 digits and stand on the right."""
    if not len(rows):
        raise ValueError("a table needs at least one row")
    if isinstance(rows[0], Mapping):
        columns = columns or list(rows[0])
        rows = [[row.get(column, "") for column in columns] for row in rows]
    if columns is None:
        raise ValueError("name the columns, or give the rows as dictionaries")
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"the row {list(row)} has {len(row)} values for {len(columns)} columns")
    numeric = tuple(all(_is_number(row[c]) for row in rows) for c in range(len(columns)))
    return Table(tuple(map(str, columns)), tuple(tuple(map(_text, row)) for row in rows), numeric)


def _is_number(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _text(value) -> str:
    if not _is_number(value):
        return str(value)
    return f"{value:,}" if isinstance(value, Integral) else f"{value:.4g}"


def _escape(cell: str) -> str:
    return cell.replace("|", r"\|").replace("\n", " ")
