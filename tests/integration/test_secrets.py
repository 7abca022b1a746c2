"""No secret is committed: keys known by form, our own by checksum, random values by entropy.

Our own, because the scanner that the package index offers (detect-secrets) has had no release since May 2024.
It looks at the files as they are, not at the history: CI clones only the last commit.
"""

from __future__ import annotations

import math
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from elt.people.keys import is_well_formed

PROJECT = Path(__file__).resolve().parents[2]

FORMS = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "AWS key id": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "Google key": re.compile(r"\bAIza[\w-]{35}\b|\bGOCSPX-[\w-]{28}"),
    "GitHub token": re.compile(r"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_\w{60,})"),
    "GitLab token": re.compile(r"\bglpat-[\w-]{20}"),
    "Slack token": re.compile(r"\bxox[abeprs]-[\w-]{10,}|hooks\.slack\.com/services/T\w+/B\w+/\w+"),
    "package index token": re.compile(r"\bpypi-AgE[\w-]{50,}"),
    "Azure account key": re.compile(r"AccountKey=[\w+/]{40,}"),
    "signed token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"),
    "password hash": re.compile(r"\$argon2id?\$v=\d+\$[^$\s]+\$[\w+/]{11,}\$[\w+/]{20,}"),
}
OWN_KEY = re.compile(r"\blrl_[0-9A-Za-z]{49}\b")
URL_PASSWORD = re.compile(r"://[^\s:/@'\"`]+:(?P<value>[^\s/@'\"`]+)@[\w.\[-]")
ASSIGNED = re.compile(
    r"(?i)(?:secret|token|passwd|password|api_?key|access_?key|private_?key|credential)\w*[\"']?"
    r"\s*(?::\s*\w+\s*)?[:=]\s*[\"']?(?P<value>[\w+/=.~$%^*!-]{16,})"
)
_PLACEHOLDER = re.compile(r"[{<$%]|\.\.\.|(?i:password|secret|example)")
_BY_HAND = re.compile(r"for-tests|01234567|abcdefgh")
_BITS = 3.6  # per character: words and names stay below, 24 random hexadecimal digits reach it


def findings(text: str) -> Iterator[tuple[int, str]]:
    """The line and kind of each secret in a text."""
    for number, line in enumerate(text.splitlines(), 1):
        yield from ((number, kind) for kind, form in FORMS.items() if _is_meant(form.search(line)))
        if any(is_well_formed(found[0]) for found in OWN_KEY.finditer(line)):
            yield number, "key of Laurel"
        if any(_is_password(found["value"]) for found in URL_PASSWORD.finditer(line)):
            yield number, "password in an address"
        if any(_looks_random(found["value"]) for found in ASSIGNED.finditer(line)):
            yield number, "random value of a secret's name"


def test_no_file_holds_a_secret() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout, so nobody knows which files are the project's")
    found = [
        f"{name}:{line}: {kind}"
        for name in listed.stdout.decode().split("\0")
        if name and (PROJECT / name).is_file()
        for line, kind in findings((PROJECT / name).read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []


# Put together here, so that this file holds none of them.
PLANTED = {
    "private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "AWS key id": "aws_id: AKIA" + "2E0A8F3B244C9986",
    "Google key": "AIza" + "SyD4kF7xQ2mN8pR1tV5wY9zB3cE6gH0jLqU",
    "GitHub token": "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    "GitLab token": "glpat-" + "1fP7xQz9LkM3vB8nW2rT",
    "Slack token": "xoxb-" + "263594206564-2343594206574-FGqddMF8t08v8N7",
    "package index token": "pypi-AgE" + "IcHlwaS5vcmcCJ" * 5,
    "Azure account key": "AccountKey=" + "Zq8v7Xw2Lk9Jm4Np6Rt1Ys3Ub5Vc0Wd7Xe9Yf2Zg4Ah6",
    "signed token": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "password hash": "$argon2id$v=19$m=65536,t=3,p=4$" + "c29tZXNhbHRzb21l$RdescudvJCsgt3ub+b1dWRWJTmaaJObG",
    "key of Laurel": "lrl_" + "0" * 43 + "2CZclj",
    "password in an address": "postgresql://laurel:" + "kX92mmQ7tr" + "@db.school.ng:5432/elt",
    "random value of a secret's name": "LAUREL_SECRET_KEY=" + "9f86d081884c7d659a2feaa0c55ad015",
}


@pytest.mark.parametrize("kind", PLANTED)
def test_each_kind_of_secret_is_seen(kind: str) -> None:
    assert [found for _, found in findings(f"# a comment\n{PLANTED[kind]}\n")] == [kind]


@pytest.mark.parametrize(
    "line",
    [
        "LAUREL_SECRET_KEY=<secret>",
        "#LAUREL_DATABASE_URL=postgresql://laurel:PASSWORD@HOST:5432/elt",
        'url = f"postgresql://{user}:{password}@{host}/elt"',
        "secret_key = settings.secret_key.get_secret_value()",
        'password="correct horse battery staple"',
        "lrl_" + "0" * 43 + "2CZclk",  # the checksum is wrong: nobody's key
    ],
)
def test_what_only_looks_like_a_secret_is_let_be(line: str) -> None:
    assert list(findings(line)) == []


def _is_meant(found: re.Match[str] | None) -> bool:
    return found is not None and "EXAMPLE" not in found[0]


def _is_password(value: str) -> bool:
    return len(value) >= 8 and not _PLACEHOLDER.search(value)


def _looks_random(value: str) -> bool:
    """Many different characters; not words and numbers joined by `-._/`, nor typed by hand."""
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())
    is_name = all(re.fullmatch(r"[A-Za-z]*\d{0,4}", part) for part in re.split(r"[-._/]", value))
    return entropy >= _BITS and not is_name and not _BY_HAND.search(value)
