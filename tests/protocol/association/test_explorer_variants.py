"""The associations with a rule taken out take out a rule that there is."""

from __future__ import annotations

import pytest
from explorer import variants

from trio_mp._protocol.association.association import Association
from trio_mp._protocol.association.outbox import Outbox

CHANGED = [
    kind
    for kind in vars(variants).values()
    if isinstance(kind, type) and issubclass(kind, Association | Outbox) and kind.__module__ == variants.__name__
]
OWN_HELPERS = {"_ended"}


@pytest.mark.parametrize("kind", CHANGED)
def test_a_variant_overrides_what_exists(kind: type[Association | Outbox]) -> None:
    """Else it would be the association as it is, or fail for another reason than the rule."""
    own = {name for name, value in vars(kind).items() if callable(value) or isinstance(value, property)}
    for name in own - OWN_HELPERS:
        assert any(name in vars(base) for base in kind.__mro__[1:]), f"expected {name} to be a method of a base"


def test_there_are_variants() -> None:
    assert len(CHANGED) > 30
