"""What a model card says, section by section; how it looks is decided in `ml/card.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ml.gate import FAIRNESS, TEST_FILE
from ml.plots import plot_calibration, plot_intervals, plot_list
from ml.target import Target

Facts = Mapping[str, Any]

_MISSING = {"typical": "median", "zero": "zero"}
_CATEGORY_MISSING = "a group of its own"
_FIGURES = (
    ("auc", "Ranks a student at risk above one who is not (AUC)"),
    ("average_precision", "Precision over the whole list (average precision)"),
    ("precision_at_k", "Of those at the top of the list, {came}"),
    ("recall_at_k", "Of those who {came}, at the top of the list"),
)
_UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    words: str


@dataclass(frozen=True, slots=True)
class Points:
    """A list of short statements."""

    kind: ClassVar[str] = "points"
    items: list[str]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of words; the first cell of each names the row."""

    kind: ClassVar[str] = "table"
    title: str
    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing (SVG) and what it shows."""

    kind: ClassVar[str] = "picture"
    svg: str
    words: str


Block = Text | Points | Table | Picture


@dataclass(frozen=True, slots=True)
class Section:
    """One heading and what stands below it."""

    title: str
    blocks: list[Block]


@dataclass(frozen=True, slots=True)
class Card:
    """A whole card. `status` is the gate's answer in a word or two, `answer` in a sentence."""

    title: str
    subtitle: str
    status: str
    answer: str
    sections: list[Section]


def write_card(facts: Facts, target: Target) -> Card:
    """What there is to say about one version, published or refused.

    Args:
        facts: as `RegisteredModel.to_dict` gives them; what a refused attempt never measured is absent.
    """
    held_out = facts["metrics"].get("held_out", {})
    sections = [
        _purpose(target),
        _data(facts["data_window"], target),
        _gate(facts["gate"]),
        _judging(facts, target),
        _results(held_out, target),
        _earlier(facts["metrics"].get("backtest", []), target.label.came),
        _groups(facts["metrics"], target),
        _schools(facts["gate"]),
        _features(facts["features"], target),
        _drift(facts["metrics"], target),
        _limits(held_out, target),
        _contesting(),
        _versions(facts),
    ]
    status, answer = _answer(facts)
    subtitle = f"Model card of {facts['target']}, version {facts['version']}, {_day(facts['created_at'])}"
    return Card(target.title, subtitle, status, answer, [each for each in sections if each.blocks])


def _answer(facts: Facts) -> tuple[str, str]:
    gate = facts["gate"]
    if facts["accepted_at"]:
        answer = (
            f"Gaps between groups of students stood against it. An administrator let it pass on "
            f"{_day(facts['accepted_at'])}: {facts['accepted_reason']}"
        )
        return "Published, by acceptance", answer
    if facts["is_published"]:
        return "Published", "It met every condition of the gate, for the schools named below."
    if gate.get("awaits_acceptance"):
        answer = "Only gaps between groups of students stand against it, which an administrator may accept."
        return "Not published, awaits a decision", answer
    reasons = " ".join(f"{reason}." for reason in gate.get("reasons", []))
    after = "Its predictions are not shown; the plain rule speaks, or a version published before it."
    return "Refused", f"{reasons} {after}".strip()


def _purpose(target: Target) -> Section:
    return Section(
        "What it is for, and what not",
        [
            Text(target.description),
            Text(
                "It is for teachers and heads who know the students: a list of whom to look at first, with "
                "what the school itself recorded as reasons. Each line is advice, never a decision."
            ),
            Points(
                [
                    "Never decide on admission, promotion, fees, discipline or exclusion by it.",
                    "Never judge a teacher, a class or a school by it.",
                    f"Never tell a student or a guardian that the student will be one of those who "
                    f"{target.label.came}: it says how often that came to similar students.",
                    "Never use it for schools on which it was not checked; they are shown the plain rule.",
                ]
            ),
        ],
    )


def _data(window: Facts, target: Target) -> Section:
    rows = [
        ["As-of dates", f"{window.get('first_as_of') or _UNKNOWN} to {window.get('last_as_of') or _UNKNOWN}"],
        ["Cohorts", _number(window.get("cohorts"))],
        ["Students", _number(window.get("students"))],
        ["Rows whose outcome is known", _number(window.get("rows", window.get("labelled_rows")))],
        [f"Of these, {target.label.came}", _number(window.get("positives"))],
        ["Held out to judge by, from", str(window.get("held_out_from") or _UNKNOWN)],
        ["Rows held out", _number(window.get("held_out_rows"))],
        ["Rows to learn from before", _number(window.get("trained_before_rows"))],
    ]
    words = [
        f"{column.replace('_', ' ')} {', '.join(allowed)}" for column, allowed in target.cohort.where.items()
    ]
    only = f", only {'; '.join(words)}" if words else ""
    source = f"Rows of {target.relation}{only}. The data are about minors; this card shows no single student."
    return Section("Data", [Text(source), Table("What it learnt from", ["", ""], rows)])


def _gate(gate: Facts) -> Section:
    conditions = gate.get("conditions", [])
    others = [each for each in conditions if not each["name"].startswith(FAIRNESS)]
    gaps = [each for each in conditions if each["name"].startswith(FAIRNESS)]
    shown = [*others, *(gap for gap in gaps if not gap["passed"])]
    items = [f"{'✓ Passed' if each['passed'] else '✗ Failed'}. {each['text']}." for each in shown]
    if gaps:
        within = sum(gap["passed"] for gap in gaps)
        items.append(f"{within} of {len(gaps)} gaps between groups of students are within bounds; see there.")
    words = "All of these must hold on students and cohorts that the model had not seen."
    return Section("The gate", [Text(words), Points(items)])


def _judging(facts: Facts, target: Target) -> Section:
    validation, candidates = target.validation, facts["metrics"].get("candidates", [])
    if facts["data_window"].get("judged_by") == TEST_FILE:
        how = (
            "It was judged by a file of its own, which it learnt nothing from; nor from other rows of the "
            "students who are judged."
        )
    elif validation.scheme == "time":
        waves = "years of results" if target.cohort.by == "outcome" else "as-of dates"
        how = (
            f"Rows whose {waves} lie within {target.cohort.wave_days} days are one cohort. The latest cohort "
            f"was held out. Students were dealt into {validation.student_folds} parts, and each was judged "
            "by a model that had seen only earlier cohorts of other students, and of those only rows whose "
            "outcome was known by then."
        )
    else:
        how = (
            f"The table has no time. Students were dealt into {validation.student_folds} parts, and each was "
            "judged by a model that had seen only the others. How well it does in a later year is not known."
        )
    blocks: list[Block] = [Text(how)]
    if candidates:
        rows = [
            [each["name"], f"{each['loss']:.4f}", "yes" if each["as_good_as_best"] else "no"]
            for each in candidates
        ]
        head = ["Candidate, simplest first", "Loss", "Within a standard error of the best"]
        blocks += [Text(f"Chosen: {facts['algorithm']}."), Table("The race", head, rows)]
    return Section("How it was judged", blocks)


def _results(held_out: Facts, target: Target) -> Section:
    if not held_out:
        return Section("Results", [])
    model, rule, chance = (held_out[name] for name in ("model", "rule", "chance"))
    intervals, k = held_out.get("intervals", {}), held_out["k"]
    rows = [
        [
            words.format(came=target.label.came),
            _with_interval(_expected(model[name]), intervals.get(name)),
            _share(_expected(rule[name])),
            _share(chance[name]) if name in chance else _UNKNOWN,
        ]
        for name, words in _FIGURES
    ]
    rows += [
        [words, _with_interval(held_out[name], intervals.get(name)), _UNKNOWN, base]
        for name, words, base in (
            ("brier_skill", "Error of the base rate that is removed (Brier skill)", _share(0)),
            ("calibration_error", "Claimed and observed shares differ by (ECE)", _UNKNOWN),
            ("accuracy", "Right where one in two is the border", _UNKNOWN),
        )
    ]
    introduction = (
        f"{_number(held_out['students'])} students in the held-out part; of {_number(held_out['rows'])} "
        f"rows, {_number(held_out['positives'])} {target.label.came}. The top of the list is {k} long. "
        f"Intervals show what luck in who was there allows ({target.gate.confidence:.0%})."
    )
    blocks: list[Block] = [
        Text(introduction),
        Table("Held-out results", ["", "Model", "Plain rule", "Chance"], rows),
        Picture(
            plot_calibration(held_out["calibration_curve"], "claimed probability", "share that came"),
            "Claims against what came: on the dashed line they agree. Larger points are more students.",
        ),
    ]
    if "list" in held_out:
        blocks.append(_list_picture(held_out["list"], target.flag.capacity))
    if "values" in held_out:
        blocks.append(_values_table(held_out["values"], target))
    return Section("Results", blocks)


def _list_picture(along: Facts, capacity: float) -> Picture:
    lines = [
        (f"{figure} of the {who}", f"{who}{dashed}", [(each["listed"], each[figure]) for each in along[who]])
        for who in ("model", "rule")
        for figure, dashed in (("precision", ""), ("recall", " dashed"))
    ]
    return Picture(
        plot_list(lines, capacity, "share of the students who are looked at"),
        "Along the list from its top: precision is the share to whom it came of those looked at, recall the "
        "share looked at of those to whom it came.",
    )


def _values_table(values: Facts, target: Target) -> Table:
    wanted = target.label.value.interval if target.label.value else 0.0
    rows = [
        ["Typical error (root mean square)", f"{values['rmse']:.1f}"],
        ["Spread of the results (standard deviation)", f"{values['deviation']:.1f}"],
        ["Forecast less result, on average", f"{values['mean_error']:+.1f}"],
        [f"Results inside the {wanted:.0%} interval", _share(values["inside_interval"])],
        ["Mean width of the interval", f"{values['interval_width']:.1f}"],
    ]
    return Table("The score itself", ["", ""], rows)


def _earlier(backtest: Sequence[Facts], came: str) -> Section:
    rows = [
        [
            str(each["as_of_date"] or _UNKNOWN),
            _number(each["students"]),
            _number(each["positives"]),
            *(_share(_expected(each[who]["auc"])) for who in ("model", "rule")),
            *(_share(_expected(each[who]["precision_at_k"])) for who in ("model", "rule")),
        ]
        for each in backtest
    ]
    if not rows:
        return Section("Earlier cohorts", [])
    head = ["From", "Students", came.capitalize(), "AUC", "of the rule", "Top of the list", "of the rule"]
    words = "The same method on earlier cohorts, each judged by what came before it: is it good every time?"
    return Section("Earlier cohorts", [Text(words), Table("Backtest", head, rows)])


def _groups(metrics: Facts, target: Target) -> Section:
    groups, gaps, settings = metrics.get("groups", []), metrics.get("gaps", []), target.fairness
    if not groups:
        return Section("Groups of students", [])
    words = (
        f"Groups of fewer than {settings.minimum_group} students, or of fewer than "
        f"{settings.minimum_positives} to whom it came or did not come, are only counted; where all of them "
        "together are few, the largest group holds them too, so that nobody can be told by subtraction."
    )
    blocks: list[Block] = [Text(words)]
    head = ["", "Students", "On the list", "Found of those it came to", "Right of those listed"]
    head += ["Listed of those it did not come to", "Claimed less observed"]
    for column in dict.fromkeys(group["column"] for group in groups):
        mine = [group for group in groups if group["column"] == column]
        title = f"By {column.removesuffix('_id').replace('_', ' ')}"
        rows = [_group_row(group) for group in mine if not group["is_small"]]
        small = [group for group in mine if group["is_small"]]
        if small:
            rows.append(_small_row(small, settings.minimum_group))
        blocks.append(Table(title, head, rows))
        found = [(g["group"], g["figures"]["recall"]) for g in mine if "recall" in g["figures"]]
        if len(found) > 1:
            picture = plot_intervals(found, f"{title}: found of those it came to")
            blocks.append(Picture(picture, f"{title}: share found of those it came to, with intervals."))
    if gaps:
        marks = [
            f"{'✗ Too far apart' if gap['is_over'] else '✓ Within bounds'}. {gap['text']}." for gap in gaps
        ]
        blocks.append(Points(marks))
    return Section("Groups of students", blocks)


def _small_row(groups: Sequence[Facts], minimum: int) -> list[str]:
    """One row for all small groups of a column: their names and single sizes might point at somebody."""
    together = sum(group["students"] for group in groups)
    name = groups[0]["group"] if len(groups) == 1 else f"{len(groups)} small groups"
    count = f"fewer than {minimum}" if together < minimum else _number(together)
    return [name, count, "too few to compare", *[_UNKNOWN] * 4]


def _group_row(group: Facts) -> list[str]:
    figures = group["figures"]
    names = ("selection_rate", "recall", "precision", "false_positive_rate")
    shares = [
        _with_interval(figures[name]["value"], figures[name]) if name in figures else _UNKNOWN
        for name in names
    ]
    claim = figures["calibration"]
    difference = f"{_points(claim['value'])} ({_points(claim['low'])} to {_points(claim['high'])})"
    return [group["group"], _number(group["students"]), *shares, difference]


def _schools(gate: Facts) -> Section:
    rows = [
        [each["school_id"], "✓ yes" if each["covered"] else "✗ no", each["reason"] or ""]
        for each in gate.get("schools", [])
    ]
    if not rows:
        return Section("Schools", [])
    words = "It was checked school by school. The others are shown the plain rule."
    return Section("Schools", [Text(words), Table("Schools", ["School", "May speak", "Why not"], rows)])


def _features(features: Facts, target: Target) -> Section:
    declared = {feature.name: feature for feature in target.features}
    rows = []
    for column in features.get("columns", []):
        known = declared.get(column["name"])
        missing = _CATEGORY_MISSING if column["type"] == "category" else _MISSING[column["missing"]]
        order = f" ({' < '.join(column['order'])})" if column["order"] else ""
        named = "yes" if known and known.reason else "never"
        rows.append([column["name"].replace("_", " "), f"{column['type']}{order}", missing, named])
    unseen = [name.replace("_", " ") for name in target.fairness.columns if name not in declared]
    words = (
        "Where a value is missing, the median of the rows learnt from or zero stands in for it, and the gap "
        "itself is looked at. What is never named as a reason counts in the probability all the same."
    )
    blocks: list[Block] = [
        Text(words),
        Table("Features", ["What it looks at", "Kind", "Where it is missing", "Named as a reason"], rows),
    ]
    if unseen:
        blocks.append(Text(f"Not looked at, used for comparing groups only: {', '.join(unseen)}."))
    return Section("What it looks at", blocks)


def _drift(metrics: Facts, target: Target) -> Section:
    reference = metrics.get("reference")
    if not reference:
        return Section("When the students change", [])
    words = (
        f"At each new as-of date the students are compared with the {_number(reference['rows'])} rows that "
        "it learnt from: each feature and the scores, by the population stability index less what luck alone "
        f"gives. Above {target.drift.bound} people are told, and it should be trained again."
    )
    return Section("When the students change", [Text(words)])


def _limits(held_out: Facts, target: Target) -> Section:
    items = []
    if held_out:
        precision, recall = _expected(held_out["model"]["precision_at_k"]), held_out["model"]["recall_at_k"]
        items.append(
            f"It errs. Of 100 students at the top of the list, {_of_100(precision)} {target.label.came} and "
            f"{_of_100(1 - precision)} {target.label.stayed_away}; of 100 who {target.label.came}, "
            f"{_of_100(1 - recall)} were not there."
        )
    items += [
        "What it found are associations in past records. That students with better attendance fared better "
        "does not say that attendance alone was why.",
        "It knows only what schools recorded, and takes their records for right.",
        "A probability is right on average over many students, not for one.",
        "Intervals allow for luck in which students were there, not for a school, an exam or a year that is "
        "different.",
        "Groups are compared one column at a time; who is in two of them may fare differently.",
    ]
    return Section("Limits", [Points(items)])


def _contesting() -> Section:
    words = (
        "A student, a guardian or a teacher may contest a value or a place on the list: tell the school's "
        "administrator which value is wrong, or why the place is not deserved. A value that is corrected in "
        "the school's records counts from the next run on, and the student is scored anew. Earlier "
        "predictions stay as they were, with what was known on their day, so that they can be examined."
    )
    return Section("How to contest it", [Text(words)])


def _versions(facts: Facts) -> Section:
    stored = facts["metrics"].get("object", {})
    rows = [
        ["Model", str(facts["model_id"])],
        ["Trained at", str(facts["created_at"])],
        ["Algorithm", str(facts["algorithm"])],
        ["Code", str(facts["code_version"])],
        ["Features, digest", str(facts["features"].get("digest", _UNKNOWN))],
        ["Configuration, digest", str(facts["data_window"].get("digest", _UNKNOWN))],
        ["File", str(facts["object_key"] or "none: nothing was published")],
        ["File, SHA-256", str(stored.get("sha256", _UNKNOWN))],
        ["File, bytes", _number(stored.get("bytes"))],
    ]
    return Section("Versions", [Table("Versions", ["", ""], rows)])


def _expected(figure: Any) -> float:
    """A figure, or of one with ties at the edge of the list what a random order gives."""
    return float(figure["expected"] if isinstance(figure, Mapping) else figure)


def _share(value: float) -> str:
    return f"{value:.1%}"


def _with_interval(value: float, interval: Facts | None) -> str:
    if not interval:
        return _share(value)
    return f"{_share(value)} ({100 * interval['low']:.1f} to {100 * interval['high']:.1f})"


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"


def _of_100(share: float) -> str:
    return str(round(100 * share))


def _number(count: float | None) -> str:
    return _UNKNOWN if count is None else f"{count:,}".replace(",", " ")


def _day(moment: str) -> str:
    return str(moment)[:10]
