"""An upload whose load failed, for a reason of ours, is tried again without being sent again."""

from __future__ import annotations

import pytest

from elt.errors import Conflict, NotFound
from elt.people.principals import Principal
from elt.uploads.discover import discover
from elt.uploads.lifecycle import retry_upload

PERFORMANCE = (
    "gender,race/ethnicity,parental level of education,lunch,test preparation course,"
    "math score,reading score,writing score\nfemale,group B,high school,standard,none,50,70,70\n"
)


def _rename(sender, dataset, old, new):
    sender.connection.execute(f"alter table raw.{dataset} rename column {old} to {new}")


@pytest.fixture
def failed(sender, history):
    """An upload that failed because raw lacked a column; the column is there again."""
    _rename(sender, "academic_history", "term", "elsewhere")
    upload_id = sender.hand_in(history([1, 2]))
    _rename(sender, "academic_history", "elsewhere", "term")
    assert sender.upload(upload_id).status == "failed"
    return upload_id


def test_a_failed_upload_is_not_tried_again_by_itself(sender, failed):
    assert discover(sender.settings, sender.store) == []


def test_it_loads_when_it_is_retried_and_keeps_its_rank(sender, failed):
    before = sender.upload(failed)
    retry_upload(sender.connection, failed, sender.researcher)

    assert [item.upload_id for item in discover(sender.settings, sender.store)] == [failed]
    assert (sender.upload(failed).status, sender.upload(failed).reason) == ("stored", None)
    assert sender.load(failed).status == "loaded"
    assert len(sender.raw()) == 2
    assert sender.upload(failed).current.ranked_at == before.current.ranked_at


def test_what_has_not_failed_cannot_be_retried(sender, history):
    loaded = sender.hand_in(history([1]))
    with pytest.raises(Conflict, match="loaded"):
        retry_upload(sender.connection, loaded, sender.researcher)


def test_anothers_upload_is_not_found(sender, failed):
    with pytest.raises(NotFound):
        retry_upload(sender.connection, failed, Principal("key:other", "researcher"))


def test_a_file_that_was_sent_again_since_is_not_loaded_twice(sender):
    _rename(sender, "student_performance", "lunch", "elsewhere")
    first = sender.hand_in(PERFORMANCE, "student_performance")
    _rename(sender, "student_performance", "elsewhere", "lunch")
    again = sender.hand_in(PERFORMANCE, "student_performance")

    with pytest.raises(Conflict, match=str(again)):
        retry_upload(sender.connection, first, sender.researcher)
    assert len(sender.raw("student_performance")) == 1
