"""How personal a column of a mart is."""

from __future__ import annotations

from elt.contracts import load_contracts
from elt.privacy.column_classes import MartClasses


def test_what_a_mart_declares_is_not_undone_by_a_contract_with_a_column_of_that_name() -> None:
    harmless = next(
        field.name
        for field in load_contracts()["academic_history"].fields
        if MartClasses().of(field.name) == "none"
    )
    assert MartClasses(declared={harmless: "direct"}).of(harmless) == "direct"


def test_what_a_contract_declares_is_not_undone_by_a_mart() -> None:
    assert MartClasses(declared={"home_address": "none"}).of("home_address") == "direct"


def test_what_nobody_declares_is_of_no_class() -> None:
    assert MartClasses().of("nobody_has_declared_this") is None
