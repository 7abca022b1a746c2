"""A target's file is checked before anything runs on it, and the stored model before it is used."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.naive_bayes import GaussianNB

from elt.errors import NotFound
from ml.errors import ModelRefused
from ml.features import shape_features
from ml.learning import learn
from ml.pipeline import Lesson, fit_pipeline, predict_probability
from ml.registry import dump_pipeline, parse_pipeline
from ml.target import Candidate, Target, list_targets, load_target


def test_every_declared_target_loads():
    assert [load_target(name).name for name in list_targets()] == list_targets()


def test_an_unknown_target_names_the_known_ones():
    with pytest.raises(NotFound, match=r"no target 'luck'.*at_risk"):
        load_target("luck")


def test_a_target_that_names_what_it_does_not_declare_is_refused():
    content = load_target("at_risk").model_dump()
    content["rule"]["warnings"][0]["feature"] = "shoe_size"
    with pytest.raises(ValidationError, match="named but not declared: shoe_size"):
        Target.model_validate(content)


def test_words_change_the_digest_of_the_predictions_but_need_no_new_model():
    target = load_target("at_risk")
    other = [*target.features]
    other[0] = other[0].model_copy(update={"words": other[1].words})
    assert target.model_copy(update={"features": other}).learning_digest == target.learning_digest
    fewer = target.model_copy(update={"features": target.features[1:]})
    assert fewer.features_digest != target.features_digest


@pytest.fixture(scope="module")
def pipeline(make_rows, at_risk, thresholds):
    return learn(make_rows(), at_risk, thresholds).pipeline


def test_a_stored_pipeline_comes_back_and_says_the_same(pipeline, make_rows, at_risk):
    features = shape_features(make_rows(students=40), at_risk.features)
    content = dump_pipeline(pipeline)
    assert len(content) < 1_000_000
    again = parse_pipeline(content, "m.skops")
    assert (predict_probability(again, features) == predict_probability(pipeline, features)).all()


@pytest.mark.parametrize("algorithm", ["logistic", "boosting"])
def test_the_same_fit_gives_the_same_bytes(make_rows, at_risk, algorithm):
    rows = make_rows()
    features = shape_features(rows, at_risk.features)
    y = (rows["label_value"] < 50).to_numpy(dtype=int)
    settings = {"max_iter": 10} if algorithm == "boosting" else {"C": 0.1}
    candidate = Candidate(name="c", algorithm=algorithm, settings=settings)

    lesson = Lesson(features, y, y * 0, np.arange(len(y)), rows["label_value"].to_numpy(), 50.0)

    def fit() -> bytes:
        return dump_pipeline(fit_pipeline(at_risk.features, candidate, 1, lesson))

    content = fit()
    assert content == fit()
    parse_pipeline(content, "m.skops")


def test_a_file_with_foreign_types_is_refused_by_name():
    import skops.io

    class Foreign(GaussianNB):
        pass

    with pytest.raises(ModelRefused, match=r"m\.skops holds types .*Foreign"):
        parse_pipeline(skops.io.dumps(Foreign()), "m.skops")


def test_a_broken_file_is_refused(pipeline):
    content = dump_pipeline(pipeline)
    with pytest.raises(ModelRefused, match="is not a model file"):
        parse_pipeline(content[: len(content) // 2], "m.skops")
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as file:
        file.writestr("schema.json", "{}")
    with pytest.raises(ModelRefused, match="is not a model file"):
        parse_pipeline(empty.getvalue(), "m.skops")
