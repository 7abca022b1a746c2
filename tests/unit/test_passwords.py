"""Which passwords are taken, and how they are kept."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import argon2
import pytest
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from elt.errors import WeakPassword
from elt.people.passwords import (
    SHORTEST,
    hash_password,
    is_password,
    needs_rehash,
    new_password,
    refuse_weak,
)

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
        "tottenhamhotspur",
        "GodIsGood1234",
        "Minecraft123",
        "o1amide-22222",
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


def test_no_common_password_is_taken() -> None:
    """Of the commonest 30 000, those that are long enough."""
    common = [password for password in FREQUENCY_LISTS["passwords"] if len(password) >= SHORTEST]
    assert len(common) > 200
    assert max(map(len, common)) <= 20
    for password in common:
        with pytest.raises(WeakPassword):
            refuse_weak(password)


def test_what_is_known_of_a_person_counts_as_common() -> None:
    refuse_weak("chukwuemeka-77")
    with pytest.raises(WeakPassword):
        refuse_weak("chukwuemeka-77", ["Chukwuemeka Obi"])


def test_what_is_known_of_a_person_does_not_count_for_others_who_choose_at_the_same_time() -> None:
    def choose(number: int) -> bool:
        about = ["Zqrwaltho Obi"] if number % 2 else ["Ada Okafor"]
        try:
            refuse_weak("ohtlawrqz7x2", about)  # a name backwards
        except WeakPassword:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(choose, range(200))) == [number % 2 == 0 for number in range(200)]


@pytest.mark.parametrize("length", [20, 21, 200])
def test_a_password_full_of_marks_is_judged_at_once(length: int) -> None:
    started = time.thread_time()  # other work of the machine does not count
    refuse_weak(("r@w8%(c|b!$6[8<92a28791@e75e$4" * 7)[:length])
    assert time.thread_time() - started < 2


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
