"""Which passwords are taken, and how they are kept."""

from __future__ import annotations

import argon2
import pytest

from elt.errors import WeakPassword
from elt.people.passwords import hash_password, is_password, needs_rehash, new_password, refuse_weak

ABOUT = ("ada.okafor@laurel.example", "Ada Okafor")


@pytest.mark.parametrize(
    "password",
    [
        "short-1!",
        "elevenchars",
        "x" * 201,
        "password1234",
        "P@ssw0rd2026!",
        "qwertyuiop12",
        "1q2w3e4r5t6y",
        "123456789012",
        "aaaaaaaaaaaa",
        "xkqxkqxkqxkqxkq",
        "Welcome-Lagos-2026",
        "AdaOkafor2026",
        "laurel-school-1999",
        "LetMeIn!LetMeIn!",
        "poiuytrewq98765",
    ],
)
def test_a_password_that_is_easy_to_guess_is_refused(password: str) -> None:
    with pytest.raises(WeakPassword) as refused:
        refuse_weak(password, ABOUT)
    assert password not in refused.value.detail


@pytest.mark.parametrize(
    "password", ["violin tractor ninety", "m9$Kd2!vQz7w", "Ọ̀rẹ́ mi kò sí nílé", "correct horse battery staple"]
)
def test_a_password_of_other_words_is_taken(password: str) -> None:
    refuse_weak(password, ABOUT)


def test_what_is_known_of_a_person_counts_as_common() -> None:
    refuse_weak("chukwuemeka-77")
    with pytest.raises(WeakPassword):
        refuse_weak("chukwuemeka-77", ["Chukwuemeka Obi"])


def test_a_made_password_is_strong_and_never_the_same() -> None:
    made = {new_password() for _ in range(20)}
    assert len(made) == 20
    for password in made:
        refuse_weak(password)


def test_only_the_right_password_fits_its_hash() -> None:
    kept = hash_password("violin tractor ninety")
    assert kept.startswith("$argon2id$")
    assert "violin" not in kept
    assert is_password("violin tractor ninety", kept)
    assert not is_password("violin tractor ninetY", kept)


def test_without_a_hash_nothing_fits() -> None:
    assert not is_password("violin tractor ninety", None)
    assert not is_password("", None)
    assert not is_password("violin tractor ninety", "not a hash")


def test_a_hash_of_other_parameters_wants_to_be_made_anew() -> None:
    weaker = argon2.PasswordHasher(time_cost=1, memory_cost=8192).hash("violin tractor ninety")
    assert is_password("violin tractor ninety", weaker)
    assert needs_rehash(weaker)
    assert not needs_rehash(hash_password("violin tractor ninety"))
