"""What the comparisons of `mart_insights` say, in plain words."""

from __future__ import annotations

import re
from typing import Any, Literal

from flask_babel import gettext as _
from flask_babel import lazy_gettext

State = Literal["found", "none", "little", "hidden"]
"""An effect; none; too little data; too few people to be shown."""

_FACTORS = {
    "health_status": lazy_gettext("health"),
    "disorder": lazy_gettext("a disorder"),
    "boarding": lazy_gettext("boarding"),
    "activities": lazy_gettext("activities"),
    "stream": lazy_gettext("stream"),
    "guardian_engagement": lazy_gettext("guardians' part in school life"),
    "guardian_education": lazy_gettext("guardians' schooling"),
    "guardian_financial_status": lazy_gettext("guardians' income"),
    "teacher_experience": lazy_gettext("years of experience of the teachers"),
    "study_habits": lazy_gettext("study habits"),
    "weekly_reading_hours": lazy_gettext("hours of reading a week"),
    "attendance": lazy_gettext("attendance"),
    "private_tutors": lazy_gettext("private tutors"),
    "mentor": lazy_gettext("a mentor"),
    "school_library": lazy_gettext("a school library"),
    "library_visits": lazy_gettext("visits to the library"),
    "digital_methods": lazy_gettext("digital methods at school"),
    "online_platform": lazy_gettext("an online platform"),
    "supportive_home": lazy_gettext("a supportive home"),
    "parental_engagement": lazy_gettext("parents' part in school life"),
    "qualified_teachers": lazy_gettext("qualified teachers"),
    "exam_anxiety": lazy_gettext("anxiety before exams"),
    "understands_english": lazy_gettext("understanding English"),
    "practice_exams": lazy_gettext("practice exams"),
    "learning_environment": lazy_gettext("learning environment"),
    "financial_status": lazy_gettext("financial status"),
}
_OUTCOMES = {
    "average_score": lazy_gettext("average score"),
    "attendance_pct": lazy_gettext("attendance"),
    "past_jamb_score": lazy_gettext("past JAMB score"),
    "credit_pass": lazy_gettext("share with five core credits"),
}
_STRENGTHS = {
    "negligible": lazy_gettext("a negligible effect"),
    "small": lazy_gettext("a small effect"),
    "medium": lazy_gettext("a medium effect"),
    "large": lazy_gettext("a large effect"),
}
_MEAN = re.compile(r"(.+?) (-?\d+\.\d+)(?:, |$)")


def factor_words(factor: str) -> str:
    """What may have to do with an outcome."""
    return str(_FACTORS.get(factor, factor.replace("_", " ")))


def outcome_words(outcome: str) -> str:
    """What it may have to do with."""
    return str(_OUTCOMES.get(outcome, outcome.replace("_", " ")))


def state_of(row: dict[str, Any]) -> State:
    """How a comparison came out."""
    if row["is_effect_found"] is None:
        return "hidden"
    if row["effect"] is None:
        return "little"
    return "found" if row["is_effect_found"] else "none"


def means_of(row: dict[str, Any]) -> dict[str, float]:
    """The outcome's mean by group, as the mart lists them; empty where the factor is a number."""
    return {level: float(mean) for level, mean in _MEAN.findall(row["group_means"] or "")}


def sentence(row: dict[str, Any]) -> str:
    """A comparison in one sentence or two."""
    words = {"factor": factor_words(row["factor"]), "outcome": outcome_words(row["outcome"])}
    state = state_of(row)
    if state == "hidden":
        return str(_("Not shown, because a group is too small: %(outcome)s and %(factor)s.", **words))
    if state == "little":
        return str(_("Not enough data to compare %(outcome)s by %(factor)s.", **words))
    if state == "none":
        return str(_("No effect found of %(factor)s on %(outcome)s.", **words)) + _maybe(row)
    return f"{_found(row, words)} {_('That is %(strength)s.', strength=_STRENGTHS[row['strength']])}"


def _maybe(row: dict[str, Any]) -> str:
    """Where only the count of comparisons keeps an effect from being called one."""
    if row["low"] < row["negligible_below"] and row["high"] > -row["negligible_below"]:
        return ""
    return " " + str(
        _(
            "There may be one: taken alone it would be. Among %(count)s comparisons it is not sure enough.",
            count=row["comparison_count"],
        )
    )


def _found(row: dict[str, Any], words: dict[str, str]) -> str:
    means = means_of(row)
    if row["measure"] == "r":
        if row["effect"] > 0:
            return str(_("With more of %(factor)s goes a higher %(outcome)s.", **words))
        return str(_("With more of %(factor)s goes a lower %(outcome)s.", **words))
    if row["measure"] == "d" and set(means) == {"true", "false"}:
        more = means["true"] - means["false"]
        words = words | {"more": f"{abs(more):.2f}", "mean": f"{means['true']:.2f}"}
        if more > 0:
            return str(_("With %(factor)s, %(outcome)s is %(mean)s: %(more)s more than without.", **words))
        return str(_("With %(factor)s, %(outcome)s is %(mean)s: %(more)s less than without.", **words))
    listed = ", ".join(
        f"{level} {mean:.2f}" for level, mean in sorted(means.items(), key=lambda each: -each[1])
    )
    return str(_("The %(outcome)s by %(factor)s: %(listed)s.", **words, listed=listed))
