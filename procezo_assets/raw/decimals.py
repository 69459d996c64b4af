"""Which sign parts whole numbers from their fractions: decided by values, or not at all."""

from __future__ import annotations

from typing import Literal

import polars as pl

from procezo_assets.errors import DialectError

_POINT = r"^[-+]?[0-9]*\.[0-9]+(?:[eE][-+]?[0-9]+)?$"
_COMMA = r"^[-+]?[0-9]*,[0-9]+(?:[eE][-+]?[0-9]+)?$"
_WHOLE = r"^[-+]?[0-9]+(?:[eE][-+]?[0-9]+)?$"
_GROUPED = r"^[-+]?[1-9][0-9]{0,2}(?:,[0-9]{3})+$"
_THOUSANDS = r"^[-+]?[0-9]{1,3}(?:(?:,[0-9]{3})+\.[0-9]+|(?:\.[0-9]{3})+,[0-9]+|(?:,[0-9]{3}){2,})$"
_HALF = 0.5


class DecimalEvidence:
    """What the values met so far say.

    Args:
        delimiter: Between fields; behind a comma, `1,234` may be a thousand as well.
    """

    def __init__(self, delimiter: str) -> None:
        self.delimiter = delimiter
        self.examples: dict[str, str] = {}
        self.only_grouped = True

    def add(self, fields: pl.DataFrame) -> None:
        """Take in the columns of values of more lines; columns of words say nothing."""
        for column in fields:
            texts = column.drop_nulls()
            texts = texts.filter(texts != "")
            point, comma, whole, thousands = (
                texts.str.contains(shape) for shape in (_POINT, _COMMA, _WHOLE, _THOUSANDS)
            )
            numbers = int((point | comma | whole | thousands).sum())
            if not numbers or numbers < _HALF * len(texts):
                continue
            for sign, met in ((".", point), (",", comma), ("thousands", thousands)):
                if met.any():
                    self.examples.setdefault(sign, texts.filter(met)[0])
            if self.only_grouped and comma.any():
                self.only_grouped = bool(texts.filter(comma).str.contains(_GROUPED).all())

    @property
    def decided(self) -> bool:
        """Whether any value has a decimal sign."""
        return bool(self.examples)

    def verdict(self) -> Literal[".", ","] | None:
        """The decimal sign; None where no value has one.

        Raises:
            DialectError: Where values have both, or separators of thousands.
        """
        hint = "set decimal; values with the other sign then become null"
        if "thousands" in self.examples:
            raise DialectError(
                "decimal",
                f"'{self.examples['thousands']}' has separators of thousands, which are not read",
                hint,
            )
        if len(self.examples) > 1:
            raise DialectError(
                "decimal",
                f"values have decimal points and commas: '{self.examples['.']}' and "
                f"'{self.examples[',']}'",
                hint,
            )
        if "," in self.examples and self.delimiter == "," and self.only_grouped:
            raise DialectError(
                "decimal",
                f"'{self.examples[',']}' could have a decimal comma or a separator of thousands",
                hint,
            )
        return "." if "." in self.examples else "," if "," in self.examples else None
