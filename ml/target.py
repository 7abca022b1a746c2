"""What a model is to foretell, read from `ml/targets/<name>.yaml`.

Everything that can be decided without code stands in three places: the target's own file (label, cohort,
features, floors, capacity, plain rule), `ml/catalogue.yaml` (what each feature means and how it is worded,
which steps a school can take) and `ml/method.yaml` (how every target is judged).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from elt.errors import NotFound
from ml.errors import TargetError

FOLDER = Path(__file__).parent
TARGETS = FOLDER / "targets"
CATALOGUE = FOLDER / "catalogue.yaml"
METHOD = FOLDER / "method.yaml"

Share = Annotated[float, Field(gt=0, lt=1)]
SCORE_ALGORITHMS = {"ridge", "boosted_score", "forest_score"}
"""Those that foretell the number behind the label, and from it the label."""

Unit = Literal["points", "pct", "rate", "years", "count", "word"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Saying(_Part):
    """One way to word a feature's value; used where the value lies within its bounds (null: any)."""

    say: str
    below: float | None = None
    above: float | None = None


class Lever(_Part):
    """A level that a school can bring a feature to: a number, the name of a threshold, or an ordinal's word.

    `say` words the level: "{to}" is the level. `along` holds features that follow from the level, and what
    they then are.
    """

    to: float | str
    say: str
    along: dict[str, float] = Field(default_factory=dict)


class Feature(_Part):
    """One column of the mart that the model may look at.

    `order` lists an ordinal's words from lowest to highest. `risk` says which end of the feature raises the
    risk in the eyes of a teacher: a contribution that points the other way is an artefact of correlated
    features and is not worded. `reason` is false where a feature must never be named as a reason. `change_of`
    names the feature whose change since the term before this one is. `lever` is set where a school can change
    the feature.
    """

    name: str
    type: Literal["number", "boolean", "ordinal", "category"]
    order: list[str] = Field(default_factory=list)
    missing: Literal["typical", "zero"] = "typical"
    unit: Unit = "word"
    change_of: str | None = None
    risk: Literal["low", "high", "either"] = "either"
    reason: bool = True
    words: list[Saying] = Field(default_factory=list)
    missing_words: str = ""
    lever: Lever | None = None

    @model_validator(mode="after")
    def _check(self) -> Feature:
        if (self.type == "ordinal") != bool(self.order):
            raise ValueError(f"{self.name}: exactly ordinals list their order")
        if self.reason and not self.words:
            raise ValueError(f"{self.name}: a feature that may be a reason needs words")
        if self.lever and (self.risk == "either" or self.type == "category"):
            raise ValueError(f"{self.name}: a lever needs a feature with an order and a `risk`, low or high")
        return self


class Threshold(_Part):
    """A number that lives in one dbt seed: its table, column and the row that holds it."""

    relation: str = Field(pattern=r"^[a-z_]+\.[a-z_]+$")
    column: str
    where: dict[str, str] = Field(default_factory=dict)


class Outcome(_Part):
    """One way for the risk to come true: a number below a threshold, or a yes or no."""

    column: str
    below: str | None = None
    equals: bool | None = Field(default=None, alias="is")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="after")
    def _check(self) -> Outcome:
        if (self.below is None) == (self.equals is None):
            raise ValueError(f"{self.column}: exactly one of `below` and `is` is needed")
        return self


class Value(_Part):
    """The number behind a label, where it is foretold too: a score between `minimum` and `maximum`.

    `interval` is the share of the results that are to lie between the stated bounds.
    """

    column: str
    minimum: float
    maximum: float
    interval: Share


class Label(_Part):
    """What is to be foretold: true where any of the outcomes is, unknown where none of them is known yet.

    `known_at` is the column with the day on which the label became known. Columns of the mart whose name
    begins with `future_prefix` look ahead; no feature may be one of them. `came` and `stayed_away` say in
    words what the label is about, of several students: "fell below", "did not".
    """

    any_of: list[Outcome] = Field(min_length=1)
    known_at: str
    future_prefix: str
    value: Value | None = None
    came: str
    stayed_away: str

    @property
    def columns(self) -> list[str]:
        """The columns that the label is made of."""
        return [outcome.column for outcome in self.any_of]


class Cohort(_Part):
    """Which rows of the relation the target is about, and which of them are judged together.

    `where` lists the allowed words of columns (empty: all rows), `leave_out` rows that are left out although
    they are allowed: those in which every column has the word. A cohort is a wave of as-of dates, or with
    `by: outcome` of days on which results came (an exam year). Rows whose label came to be known more than
    `horizon_days` after the as-of date are left out: that is another question.
    """

    by: Literal["as_of", "outcome"]
    wave_days: int = Field(ge=0)
    where: dict[str, list[str]] = Field(default_factory=dict)
    leave_out: list[dict[str, str]] = Field(default_factory=list)
    horizon_days: int = Field(ge=1)


class Candidate(_Part):
    """One model in the race. Candidates are listed from simple to complex."""

    name: str
    algorithm: Literal["logistic", "boosting", "forest", "ridge", "boosted_score", "forest_score"]
    settings: dict[str, float | int] = Field(default_factory=dict)
    recalibrate: bool = False


class Validation(_Part):
    """How time and students are split. Scheme `folds` is for tables without time."""

    scheme: Literal["time", "folds"] = "time"
    student_folds: int = Field(ge=2)
    held_out_cohorts_most: int = Field(ge=1)
    train_cohorts_least: int = Field(ge=1)
    backtest_cohorts: int = Field(ge=0)
    seed: int


class Gate(_Part):
    """What a model must show on the held-out cohort before anyone sees its predictions."""

    rows: int = Field(ge=1)
    each_class: int = Field(ge=1)
    accuracy: Share
    auc_low: Share
    brier_skill_low: float
    permutation_p: Share
    calibration_level: Share
    calibration_allowance: float = Field(ge=0)
    confidence: Share
    draws: int = Field(ge=20)
    school_rows: int = Field(ge=1)
    school_each_class: int = Field(ge=1)


class Fairness(_Part):
    """Which columns groups of students are compared by, and how far apart they may be.

    Groups of fewer than `minimum_group` students or `minimum_positives` of either class are only counted. A
    gap stops the gate where it surely (lower end of its interval) is larger than the bound.
    """

    columns: list[str] = Field(default_factory=list)
    minimum_group: int = Field(ge=1)
    minimum_positives: int = Field(ge=1)
    recall_gap: Share
    calibration_gap: Share


class Drift(_Part):
    """When people are told that the students of now are not those that the model learnt from."""

    bound: float = Field(gt=0)
    bins: int = Field(ge=2)


class Leakage(_Part):
    """When a feature counts as giving the target away."""

    auc: Share
    r_squared: Share
    distinct_share: Share
    identity_columns: list[str]


class Flag(_Part):
    """Which students a model's probability puts on the list."""

    capacity: Share
    minimum: Share
    always_from: Share


class Warning(_Part):
    """One comparison of the plain rule: a feature below or above a threshold.

    `lowest` and `highest` are the ends of the feature's scale. Who has a warning with `always` is put on the
    list whatever the school's capacity.
    """

    feature: str
    below: str | None = None
    above: str | None = None
    lowest: float = 0
    highest: float
    always: bool
    say: str

    @model_validator(mode="after")
    def _check(self) -> Warning:
        if (self.below is None) == (self.above is None):
            raise ValueError(f"{self.feature}: exactly one of `below` and `above` is needed")
        if self.lowest >= self.highest:
            raise ValueError(f"{self.feature}: `lowest` must be less than `highest`")
        return self

    @property
    def threshold(self) -> str:
        """The name of the threshold that it compares with."""
        return self.below or self.above or ""


class Rule(_Part):
    """The plain rule: warnings; the first one's feature orders the list."""

    warnings: list[Warning] = Field(min_length=1)


class Recommendation(_Part):
    """A step a school can take, and the value of a feature that calls for it.

    `below` and `above` are numbers or names of thresholds; `equals` is a word. A step without a feature is
    for whoever gets no other.
    """

    code: str
    text: str
    feature: str | None = None
    below: float | str | None = None
    above: float | str | None = None
    equals: str | None = None


class Target(_Part):
    """One declared target. `digest` changes with its file, the catalogue and the method.

    `entity` names the columns that a row is about beside the student (a subject), if any.
    """

    name: str
    title: str
    description: str
    relation: str = Field(pattern=r"^[a-z_]+\.[a-z_]+$")
    entity: list[Literal["subject"]] = Field(default_factory=list, max_length=1)
    cohort: Cohort
    label: Label
    thresholds: dict[str, Threshold]
    features: list[Feature] = Field(min_length=1)
    known_at: str
    candidates: list[Candidate] = Field(min_length=1)
    validation: Validation
    gate: Gate
    fairness: Fairness
    drift: Drift
    leakage: Leakage
    flag: Flag
    rule: Rule
    recommendations: list[Recommendation] = Field(default_factory=list)
    digest: str = ""

    @model_validator(mode="after")
    def _check(self) -> Target:
        names = [feature.name for feature in self.features]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"declared twice: {', '.join(doubled)}")
        wanted = [
            *((outcome.below, self.thresholds) for outcome in self.label.any_of if outcome.below),
            *((warning.threshold, self.thresholds) for warning in self.rule.warnings),
            *((warning.feature, names) for warning in self.rule.warnings),
            *((feature.change_of, names) for feature in self.features if feature.change_of),
            *(
                (feature.lever.to, self.thresholds if feature.type != "ordinal" else feature.order)
                for feature in self.features
                if feature.lever and isinstance(feature.lever.to, str)
            ),
            *((step.feature, names) for step in self.recommendations if step.feature),
            *(
                (bound, self.thresholds)
                for step in self.recommendations
                for bound in (step.below, step.above)
                if isinstance(bound, str)
            ),
        ]
        unknown = sorted({name for name, known in wanted if name not in known})
        if unknown:
            raise ValueError(f"named but not declared: {', '.join(unknown)}")
        scores = [each.name for each in self.candidates if each.algorithm in SCORE_ALGORITHMS]
        if scores and not (self.label.value and self.label.any_of[0].below):
            raise ValueError(f"{', '.join(scores)}: foretells a number, but the label has no `value`")
        return self

    @property
    def key(self) -> list[str]:
        """What a row is about: school, student and `entity`, without the as-of date."""
        return ["school_id", "student_id", *self.entity]

    @property
    def schema_name(self) -> str:
        """The schema of the feature mart."""
        return self.relation.split(".")[0]

    @property
    def table_name(self) -> str:
        """The name of the feature mart."""
        return self.relation.split(".")[1]

    @property
    def learning_digest(self) -> str:
        """Changes with whatever a model learns from or is judged by, not with the words of the reasons."""
        parts = {
            "entity", "cohort", "label", "thresholds", "candidates", "validation", "gate", "fairness",
            "leakage", "rule",
        }  # fmt: skip
        facts = {**self.model_dump(mode="json", include=parts), "features": self.feature_facts()}
        return _digest(facts)

    def question_digest(self, thresholds: Mapping[str, float]) -> str:
        """Changes with what is foretold; a model answers only the question that it was trained on."""
        asked = {outcome.below: thresholds[outcome.below] for outcome in self.label.any_of if outcome.below}
        facts = self.model_dump(mode="json", include={"entity", "cohort", "label"})
        return _digest({**facts, "thresholds": asked})

    @property
    def features_digest(self) -> str:
        """Changes with the features as a fitted model takes them; a model fits only the same ones."""
        return _digest(self.feature_facts())

    def feature_facts(self) -> list[dict[str, Any]]:
        """Name, type, order and missing-value policy of each feature, as plain JSON values."""
        wanted = {"name", "type", "order", "missing"}
        return [feature.model_dump(mode="json", include=wanted) for feature in self.features]

    def feature(self, name: str) -> Feature:
        """The declared feature of this name."""
        return next(feature for feature in self.features if feature.name == name)


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def list_targets() -> list[str]:
    """The names of all declared targets."""
    return sorted(path.stem for path in TARGETS.glob("*.yaml"))


@lru_cache
def load_method() -> dict[str, dict[str, Any]]:
    """How every target is judged, unless its file says otherwise; plain values by section."""
    return dict(yaml.safe_load(METHOD.read_bytes()))


@lru_cache
def load_target(name: str) -> Target:
    """Read and check one target.

    Raises:
        NotFound: no such target.
        TargetError: the file is wrong; names file and key.
    """
    if name not in list_targets():
        raise NotFound(f"There is no target {name!r}; declared are: {', '.join(list_targets())}.")
    path = TARGETS / f"{name}.yaml"
    files = [path.read_bytes(), CATALOGUE.read_bytes(), METHOD.read_bytes()]
    try:
        content = _complete(yaml.safe_load(files[0]), yaml.safe_load(files[1]), load_method())
        content["digest"] = hashlib.sha256(b"".join(files)).hexdigest()[:12]
        return Target.model_validate(content)
    except KeyError as error:
        raise TargetError(f"{path.name} names {error}, which {CATALOGUE.name} does not have") from None
    except (yaml.YAMLError, TypeError, AttributeError) as error:
        raise TargetError(f"{path.name}, {CATALOGUE.name} or {METHOD.name}: {error}") from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'file'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise TargetError(f"{path.name}: {faults}") from None


def _complete(
    declared: dict[str, Any], catalogue: dict[str, dict[str, Any]], method: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """A target's file with what it names from the catalogue, and the method where it says nothing itself."""
    judged = {section: {**values, **declared.get(section, {})} for section, values in method.items()}
    features = [{"name": name, **catalogue["features"][name]} for name in declared["features"]]
    steps = [{"code": code, **catalogue["steps"][code]} for code in declared.get("recommendations", [])]
    used = {
        *(outcome.get("below") for outcome in declared["label"]["any_of"]),
        *(warning.get(side) for warning in declared["rule"]["warnings"] for side in ("below", "above")),
        *(feature.get("lever", {}).get("to") for feature in features),
        *(step.get(side) for step in steps for side in ("below", "above")),
    }
    thresholds = {name: seed for name, seed in catalogue["thresholds"].items() if name in used}
    return {**declared, **judged, "thresholds": thresholds, "features": features, "recommendations": steps}
