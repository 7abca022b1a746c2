"""Write `.env` with fresh secrets and, from it, the files of `secrets/` that containers read.

Runs on any Python from 3.8 on, before anything is installed. `.env` is where people change settings; this may
be repeated after each change, and never replaces a secret that is there.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import sys
from pathlib import Path

_PLACEHOLDER = re.compile(r"^([A-Z0-9_]+)=<secret>$", re.MULTILINE)
_SETTING = re.compile(
    r"""^\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)=\s*
    (?:'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<plain>.*?))\s*(?:(?<=\s)\#.*)?$""",
    re.VERBOSE,
)
_PROXY_PROFILES = {"tls", "scale"}

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
    known = settings_of(written)
    address = f"https://{domain}"
    if known.get("LAUREL_PUBLIC_URL") not in (None, "", address):
        said = known["LAUREL_PUBLIC_URL"]
        sys.exit(f".env says LAUREL_PUBLIC_URL={said}. Change that line to {address} first.")
    if known.get("LAUREL_HOST", "127.0.0.1") not in ("", "127.0.0.1", "localhost"):
        sys.exit(
            f".env says LAUREL_HOST={known['LAUREL_HOST']}: whoever reaches that port could name any address "
            "as the caller's. Remove that line; the proxy is the way in."
        )
    profiles = [each.strip() for each in known.get("COMPOSE_PROFILES", "").split(",") if each.strip()]
    if not _PROXY_PROFILES & set(profiles):
        profiles.insert(0, "tls")
    wanted = {
        "LAUREL_PUBLIC_URL": address,
        "LAUREL_TRUSTED_PROXIES": known.get("LAUREL_TRUSTED_PROXIES") or "1",
        "COMPOSE_PROFILES": ",".join(profiles),
    }
    lines = [f"{name}={value}" for name, value in wanted.items() if known.get(name) != value]
    # Of two lines with one name the last counts, here as in compose.
    return "\n".join([written.rstrip(), "", f"# {address}", *lines, ""]) if lines else written


def settings_of(written: str) -> dict[str, str]:
    """The settings in a file like `.env`, without quotes and comments; of two with one name the last."""
    found = (match for line in written.splitlines() if (match := _SETTING.match(line)))
    return {match["name"]: match["single"] or match["double"] or match["plain"] or "" for match in found}


def secret_files(settings: dict[str, str]) -> dict[str, str]:
    """The content of each file of `secrets/`, by name."""
    empty = [variable for variable in _PASSWORD_FILES.values() if not settings[variable]]
    if empty:
        sys.exit(f".env says nothing for {', '.join(empty)}. `openssl rand -hex 32` makes a secret.")
    elt, airflow, redis = (settings[_PASSWORD_FILES[name]] for name in ("laurel", "airflow", "redis"))
    ours = {
        "LAUREL_DATABASE_URL": f"postgresql://laurel:{elt}@postgres-elt:5432/elt",
        "LAUREL_AIRFLOW_DATABASE_URL": f"postgresql://airflow:{airflow}@postgres-airflow:5432/airflow",
        "LAUREL_BROKER_URL": f"redis://:{redis}@redis:6379/0",
        **{name: value for name, value in settings.items() if value and name not in _NOT_FOR_CONTAINERS},
    }
    heading = "# Made by ./start.sh env from .env; change that, and call it again.\n"
    files = {name: settings[variable] for name, variable in _PASSWORD_FILES.items()}
    lines = (f"{name}='{_escape(value)}'\n" for name, value in ours.items())
    return {"laurel.env": heading + "".join(lines), **files}


def _escape(value: str) -> str:
    """As python-dotenv reads it between single quotes."""
    return value.replace("\\", "\\\\").replace("'", "\\'")


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
    # Whatever the umask: the containers' accounts must be able to read these two.
    (root / "sources").mkdir(exist_ok=True)
    for shared in (root / "sources", root / "deploy" / "postgres" / "init.sh"):
        if shared.exists():
            shared.chmod(0o755)
    if not before:
        print(f"Wrote {target} (mode 0600). Keep a copy where your other secrets are.")
    elif after != before:
        print(f"Added to {target} what was missing; the rest is as it was.")
    else:
        print(f"{target} is as it was.")
    print("Wrote secrets/ from it. Next: docker compose up -d --build --wait")


if __name__ == "__main__":
    main()
