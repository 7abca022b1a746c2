"""What a model is to foretell, read from `ml/targets/<name>.yaml`.

Everything that can be decided without code stands in that file: where the label and the features are, how
missing values are dealt with, what the gate demands, what the plain rule is, and the words of the reasons.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from elt.errors import NotFound
from ml.errors import TargetError

FOLDER = Path(__file__).parent
TARGETS = FOLDER / "targets"
RECOMMENDATIONS = FOLDER / "recommendations.yaml"

Share = Annotated[float, Field(gt=0, lt=1)]
Unit = Literal["points", "pct", "rate", "years", "count", "word"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Saying(_Part):
    """One way to word a feature's value; used where the value lies within its bounds (null: any)."""

    say: str
    below: float | None = None
    above: float | None = None


class Feature(_Part):
    """One column of the mart that the model may look at.

    `order` lists an ordinal's words from lowest to highest. `risk` says which end of the feature raises the
    risk in the eyes of a teacher: a contribution that points the other way is an artefact of correlated
    features and is not worded. `reason` is false where a feature must never be named as a reason. `change_of`
    names the feature whose change since the term before this one is.
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

    @model_validator(mode="after")
    def _check(self) -> Feature:
        if (self.type == "ordinal") != bool(self.order):
            raise ValueError(f"{self.name}: exactly ordinals list their order")
        if self.reason and not self.words:
            raise ValueError(f"{self.name}: a feature that may be a reason needs words")
        return self


class Threshold(_Part):
    """A number that lives in one dbt seed: its table, column and the row that holds it."""

    relation: str = Field(pattern=r"^[a-z_]+\.[a-z_]+$")
    column: str
    where: dict[str, str] = Field(default_factory=dict)


class Label(_Part):
    """True where `column` lies below the threshold `below`; null where the term has not come yet.

    `known_at` is the column with the day on which the label became known. Columns of the mart whose name
    begins with `future_prefix` look ahead; no feature may be one of them.
    """

    column: str
    below: str
    known_at: str
    future_prefix: str


class Candidate(_Part):
    """One model in the race. Candidates are listed from simple to complex."""

    name: str
    algorithm: Literal["logistic", "boosting"]
    settings: dict[str, float | int] = Field(default_factory=dict)
    recalibrate: bool = False


class Validation(_Part):
    """How time and students are split."""

    wave_days: int = Field(ge=0)
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


class Rule(_Part):
    """The plain rule: a feature below its threshold is a warning; the first one orders the list."""

    class Warning(_Part):
        """One comparison of the rule; `below` names the threshold, `scale` is the feature's highest value.

        Who has a warning with `always` is put on the list whatever the school's capacity.
        """

        feature: str
        below: str
        scale: float = Field(gt=0)
        always: bool
        say: str

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
    """One declared target. `digest` changes with the file and with the recommendations."""

    name: str
    title: str
    description: str
    relation: str = Field(pattern=r"^[a-z_]+\.[a-z_]+$")
    label: Label
    thresholds: dict[str, Threshold]
    features: list[Feature] = Field(min_length=1)
    audit: list[str] = Field(default_factory=list)
    known_at: str
    leavers: dict[str, str] = Field(default_factory=dict)
    candidates: list[Candidate] = Field(min_length=1)
    validation: Validation
    gate: Gate
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
            *((self.label.below, self.thresholds),),
            *((warning.below, self.thresholds) for warning in self.rule.warnings),
            *((warning.feature, names) for warning in self.rule.warnings),
            *((feature.change_of, names) for feature in self.features if feature.change_of),
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
        return self

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
        parts = {"label", "thresholds", "candidates", "validation", "gate", "leakage", "rule"}
        facts = {**self.model_dump(mode="json", include=parts), "features": self.feature_facts()}
        return _digest(facts)

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
def load_target(name: str) -> Target:
    """Read and check one target.

    Raises:
        NotFound: no such target.
        TargetError: the file is wrong; names file and key.
    """
    if name not in list_targets():
        raise NotFound(f"There is no target {name!r}; declared are: {', '.join(list_targets())}.")
    path = TARGETS / f"{name}.yaml"
    body, steps = path.read_bytes(), RECOMMENDATIONS.read_bytes()
    try:
        content = {**yaml.safe_load(body), "recommendations": yaml.safe_load(steps)[name]}
        content["digest"] = hashlib.sha256(body + steps).hexdigest()[:12]
        return Target.model_validate(content)
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise TargetError(f"{path.name} or {RECOMMENDATIONS.name}: {error}") from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'file'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise TargetError(f"{path.name}: {faults}") from None
