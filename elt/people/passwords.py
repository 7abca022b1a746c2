"""Passwords: kept as argon2id hashes, refused when they are easy to guess."""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Iterable
from threading import BoundedSemaphore, Lock

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from elt.errors import WeakPassword

SHORTEST = 12
LONGEST = 200
_UNPREDICTABLE = 6  # characters that must remain when everything that guessers try first is taken out
_FEWEST_GUESSES = 10**10  # what gets the best mark of zxcvbn
_LONGEST_COMMON = 20  # no longer one is in its list, and with length its time grows beyond all measure

_hasher = PasswordHasher()  # the second recommendation of RFC 9106: 64 MiB, three passes
_slots = BoundedSemaphore(2)  # so that many sign-ins at once do not fill the memory
_estimating = Lock()  # zxcvbn keeps what is known of a person where all threads see it

_EASY_TO_READ = "abcdefghjkmnpqrstuvwxyz23456789"
_LEET = str.maketrans("013457@$!", "oieastasi")
_RUNS = tuple(
    run[::direction]
    for run in (
        "abcdefghijklmnopqrstuvwxyz",
        "01234567890",
        "qwertyuiop",
        "asdfghjkl",
        "zxcvbnm",
        "azertyuiop",
        "1q2w3e4r5t6y7u8i9o0p",
        "q1w2e3r4t5y6u7i8o9p0",
        "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
        "147258369",
    )
    for direction in (1, -1)
)
_COMMON_WORDS = """
access account admin administrator alexander amanda andrew angel angela anthony apple april arsenal august
baby badass banana barcelona baseball basketball batman beautiful blessed blessing bonjour boss bradley
brandon brother butterfly calvin changeme charlie charlotte cheese chelsea chicken chocolate chris christ
christian christmas christopher class coffee college computer cookie corvette cowboy daddy daniel database
december default demo diamond dolphin donald dragon edward elephant elizabeth england eternity exam
example faith family father february ferrari flower football forever freedom friday friend friends fuckyou
garfield gateway george ginger giants god golden google grace guest guitar hannah happy harley harry
heaven hello hockey hottie hunter iloveyou internet jackson jasmine jason jennifer jessica jesus john
jonathan jordan joseph joshua july june junior justin killer king ladies lagos laurel letmein liverpool
login london lord love lovely lover maggie manager manchester march market marlboro martin master matthew
melissa mercedes merlin michael michelle midnight mobile monday money monkey mother mustang naruto
nicholas nicole nigeria nothing november october office online orange pakistan parent pass passw password
passwort patrick peace peanut pepper phoenix player please pokemon porsche prince princess private purple
pupil qazwsx queen rainbow ranger richard robert root samantha samsung samuel saturday school secret
security september server shadow silver sister slipknot smile snoopy soccer sophie spider spring starwars
student summer sunday sunflower sunshine super superman superuser support sweet system teacher temp
temporary tennis term test tester thomas thunder thursday tiger tigger tinkerbell today trustno tuesday
united universe unknown user victoria victory warrior wednesday welcome whatever william windows winner
winter wonderful yankees yellow
"""
_COMMON = frozenset(_COMMON_WORDS.split())


def hash_password(password: str) -> str:
    """The hash to keep; holds its own parameters and salt."""
    with _slots:
        return _hasher.hash(password)


def is_password(password: str, kept: str | None) -> bool:
    """Whether this is the password. It takes as long where there is no hash, so waiting tells nothing."""
    nobody = _hash_of_nobody()
    with _slots:
        try:
            return _hasher.verify(kept or nobody, password) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


def needs_rehash(kept: str) -> bool:
    """Whether a hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(kept)


def new_password() -> str:
    """A random password, about 99 bits, in groups that are easy to copy by hand."""
    return "-".join("".join(secrets.choice(_EASY_TO_READ) for _ in range(4)) for _ in range(5))


def refuse_weak(password: str, about: Iterable[str] = ()) -> None:
    """Refuse what guessers try first: common passwords and words, rows of keys, what is known of the person.

    Args:
        about: e-mail, name and the like, whose words count as common.

    Raises:
        WeakPassword: says why.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise WeakPassword(f"A password has at least {SHORTEST} characters, and at most {LONGEST}.")
    known = {word for text in about for word in re.findall(r"\w{3,}", text.lower())}
    if _is_made_of(password, _COMMON | known) or _is_soon_guessed(password, known):
        raise WeakPassword(
            "This password is easy to guess: a common one, or little more than common words, repetitions, "
            "rows of keys, years or your own name. Several words that do not belong together make a good one."
        )


def _is_soon_guessed(password: str, known: Iterable[str]) -> bool:
    """Whether it is one of zxcvbn's 30 000 common passwords, or little more than its names and words."""
    from zxcvbn import zxcvbn  # here, since its lists take a while to load

    if len(password) > _LONGEST_COMMON:
        return False
    with _estimating:
        return bool(zxcvbn(password, user_inputs=sorted(known))["guesses"] < _FEWEST_GUESSES)


def _is_made_of(password: str, words: Iterable[str]) -> bool:
    """Whether little is left of it without these words and what else is predictable."""
    plain = password.lower()
    return min(_count_unpredictable(text, words) for text in (plain, plain.translate(_LEET))) < _UNPREDICTABLE


def _count_unpredictable(text: str, words: Iterable[str]) -> int:
    """How many characters are left when common words, runs, years and repetitions are taken out."""
    text = re.sub(r"(.{3,20}?)\1+", r"\1", text)
    left, at = 0, 0
    while at < len(text):
        length = _predictable_at(text[at:], words)
        left += length == 0
        at += length or 1
    return left


def _predictable_at(rest: str, words: Iterable[str]) -> int:
    """The length of the longest predictable thing that the text begins with; 0: there is none."""
    year_or_repetition = re.match(r"(?:19|20)\d\d|(.)\1{2,}", rest)
    known = [len(word) for word in words if rest.startswith(word)]
    return max([*known, _run_at(rest), year_or_repetition.end() if year_or_repetition else 0])


def _run_at(rest: str) -> int:
    """The length of the run of at least three neighbours (`abc`, `321`, `qwe`) at the beginning; 0: none."""
    longest = 0
    for run in _RUNS:
        place = run.find(rest[:3]) if len(rest) >= 3 else -1
        length = 3
        while place >= 0 and length < len(rest) and run.startswith(rest[: length + 1], place):
            length += 1
        longest = max(longest, length if place >= 0 else 0)
    return longest


@functools.cache
def _hash_of_nobody() -> str:
    return hash_password(secrets.token_urlsafe())
