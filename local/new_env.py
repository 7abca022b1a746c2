"""Write `.env` from `.env.example` with fresh secrets. Runs on any Python, before anything is installed."""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path

_PLACEHOLDER = re.compile(r"^([A-Z0-9_]+)=<secret>$", re.MULTILINE)


def fill_in(template: str) -> str:
    """The template with a secret of its own, 256 bits, in the place of each `<secret>`."""
    return _PLACEHOLDER.sub(lambda match: f"{match[1]}={secrets.token_urlsafe(32)}", template)


def main() -> None:
    """Write the file, readable by its owner only; one that exists is left as it is."""
    root = Path(__file__).resolve().parents[1]
    target = root / ".env"
    content = fill_in((root / ".env.example").read_text(encoding="utf-8"))
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.exit(f"{target} exists and is left as it is. Remove it first to get fresh secrets.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.write(content)
    print(f"Wrote {target} (mode 0600). Keep a copy where your other secrets are.")


if __name__ == "__main__":
    main()
