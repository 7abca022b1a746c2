"""Write `.env` with fresh secrets and, from it, the files of `secrets/` that containers read.

Runs on any Python, before anything is installed. `.env` is where people change settings; this may be repeated
after each change, and never replaces a secret that is there.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
from pathlib import Path

_PLACEHOLDER = re.compile(r"^([A-Z0-9_]+)=<secret>$", re.MULTILINE)
_SETTING = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$")

# One file per password, for containers that need no more than that.
_PASSWORD_FILES = {
    "postgres": "LAUREL_POSTGRES_PASSWORD",
    "laurel": "LAUREL_ELT_PASSWORD",
    "airflow": "LAUREL_AIRFLOW_DB_PASSWORD",
    "redis": "LAUREL_REDIS_PASSWORD",
}
# What compose decides for its containers, or only ./start.sh reads.
_NOT_FOR_CONTAINERS = {
    "LAUREL_HOME", "LAUREL_LOG_DIR", "LAUREL_SOURCES_DIR", "LAUREL_HOST", "LAUREL_PORT",
    "LAUREL_AIRFLOW_PORT", "LAUREL_PYTHON", "LAUREL_VENV", "LAUREL_VERSION", *_PASSWORD_FILES.values(),
}  # fmt: skip


def fill_in(template: str) -> str:
    """The template with a secret of its own, 256 bits, in the place of each `<secret>`."""
    return _PLACEHOLDER.sub(lambda match: f"{match[1]}={secrets.token_urlsafe(32)}", template)


def complete(written: str, template: str) -> str:
    """What was written, with the secrets that the template has since got; earlier ones stay as they are."""
    known = settings_of(written)
    missing = [match[0] for match in _PLACEHOLDER.finditer(template) if match[1] not in known]
    if not missing:
        return written
    return f"{written.rstrip()}\n\n# Added by ./start.sh env:\n{fill_in(chr(10).join(missing))}\n"


def set_up_tls(written: str, domain: str) -> str:
    """With what serving `https://domain` through the proxy needs, where it is not set yet."""
    wanted = {
        "LAUREL_PUBLIC_URL": f"https://{domain}",
        "LAUREL_TRUSTED_PROXIES": "1",
        "COMPOSE_PROFILES": "tls",
    }
    known = settings_of(written)
    lines = [f"{name}={value}" for name, value in wanted.items() if name not in known]
    return "\n".join([written.rstrip(), "", f"# https://{domain}", *lines, ""]) if lines else written


def settings_of(written: str) -> dict[str, str]:
    """The settings in a file like `.env`, without the quotes around a value."""
    found = (match for line in written.splitlines() if (match := _SETTING.match(line)))
    return {match[1]: match[2].strip().strip("'\"") for match in found}


def secret_files(settings: dict[str, str]) -> dict[str, str]:
    """The content of each file of `secrets/`, by name."""
    elt, airflow, redis = (settings[_PASSWORD_FILES[name]] for name in ("laurel", "airflow", "redis"))
    ours = {
        "LAUREL_DATABASE_URL": f"postgresql://laurel:{elt}@postgres-elt:5432/elt",
        "LAUREL_AIRFLOW_DATABASE_URL": f"postgresql://airflow:{airflow}@postgres-airflow:5432/airflow",
        "LAUREL_BROKER_URL": f"redis://:{redis}@redis:6379/0",
        **{name: value for name, value in settings.items() if value and name not in _NOT_FOR_CONTAINERS},
    }
    heading = "# Made by ./start.sh env from .env; change that, and call it again.\n"
    files = {name: settings[variable] for name, variable in _PASSWORD_FILES.items()}
    return {"laurel.env": heading + "".join(f"{name}='{value}'\n" for name, value in ours.items()), **files}


def _write(target: Path, content: str, mode: int) -> None:
    """Whole or not at all, and never readable by more than `mode` says."""
    draft = target.with_name(f"{target.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8"
    ) as output:
        output.write(content)
    draft.chmod(mode)
    draft.replace(target)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./start.sh env",
        description="Write .env with fresh secrets and, from it, secrets/ for docker compose. "
        "Safe to repeat: what .env says stays, and what it lacks is added.",
        epilog="Example: ./start.sh env --domain laurel.example.org",
    )
    parser.add_argument("--domain", metavar="HOST", help="serve https://HOST through the proxy (profile tls)")
    return parser.parse_args()


def main() -> None:
    """Write what is missing, and the secrets' files anew."""
    domain = _arguments().domain
    root = Path(__file__).resolve().parents[1]
    target, folder = root / ".env", root / "secrets"
    template = (root / ".env.example").read_text(encoding="utf-8")
    before = target.read_text(encoding="utf-8") if target.exists() else ""
    after = complete(before, template) if before else fill_in(template)
    if domain:
        after = set_up_tls(after, domain)
    if after != before:
        _write(target, after, 0o600)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    # The folder keeps others out. A container's account is another one, so the files themselves are open.
    for name, content in secret_files(settings_of(after)).items():
        _write(folder / name, content, 0o444)
    (root / "sources").mkdir(exist_ok=True)
    if not before:
        print(f"Wrote {target} (mode 0600). Keep a copy where your other secrets are.")
    elif after != before:
        print(f"Added to {target} what was missing; the rest is as it was.")
    else:
        print(f"{target} is as it was.")
    print("Wrote secrets/ from it. Next: docker compose up -d --build --wait")


if __name__ == "__main__":
    main()
