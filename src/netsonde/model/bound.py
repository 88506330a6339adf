"""Bound: a number with proof of how wrong it can be."""

from __future__ import annotations

import msgspec

from netsonde.model.number import Difference


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """`lower <= truth <= upper`, always; `estimate` is the best single number between them."""

    lower: Difference
    estimate: Difference
    upper: Difference

    @classmethod
    def exactly(cls, value: int) -> Bound:
        """A number known without error."""
        return cls(lower=value, estimate=value, upper=value)

    @property
    def exact(self) -> bool:
        """Whether nothing is left to doubt."""
        return self.lower == self.upper

    def __add__(self, other: Bound) -> Bound:
        """Add two bounds on disjoint traffic."""
        return Bound(
            lower=self.lower + other.lower,
            estimate=self.estimate + other.estimate,
            upper=self.upper + other.upper,
        )
