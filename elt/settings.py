"""All settings, read from the environment once by each entry point and passed down.

Where `LAUREL_DATABASE_URL` is not set, the platform runs embedded: `./start.sh` has written the missing
values (fresh secrets, mode 0600) to `$LAUREL_HOME/laurel.env`, and the environment still wins over that file.
Containers get such a file as a secret; `LAUREL_ENV_FILE` says where.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from elt.errors import ConfigurationError

PROJECT_DIR = Path(__file__).resolve().parents[1]

_SHORTEST_SECRET = 16
_FEWEST_CHARACTERS = 8  # different ones


class Settings(BaseSettings):
    """What the deployment decides. Field `x` is read from `LAUREL_X`; `.env.example` describes each."""

    model_config = SettingsConfigDict(env_prefix="LAUREL_", extra="ignore", frozen=True)

    home: Path = PROJECT_DIR / "var"
    database_url: SecretStr
    airflow_database_url: SecretStr | None = None
    store_url: str = ""
    sources_dir: Path | None = None
    secret_key: SecretStr
    pseudonym_key: SecretStr
    host: str = "127.0.0.1"
    port: int = 5000
    public_url: str = ""
    airflow_port: int = 8080
    airflow_url: str = ""
    airflow_public_url: str = ""
    broker_url: SecretStr | None = None
    airflow_user: str = "admin"
    airflow_password: SecretStr | None = None
    alert_webhook_url: SecretStr | None = None
    alert_mail_to: str = ""
    smtp_url: SecretStr | None = None
    mail_from: str = ""
    mail_reports: Literal["link", "attach"] = "link"
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr | None = None
    oidc_name: str = "your school account"
    default_school_id: str = "main"
    max_upload_bytes: int = Field(default=4 * 1024**3, gt=0)
    caller_requests_per_minute: int = Field(default=6_000, gt=0)
    address_requests_per_minute: int = Field(default=12_000, gt=0)
    live_viewers: int = Field(default=2_000, gt=0)
    trusted_proxies: int = Field(default=0, ge=0)
    outgoing_allow: str = ""
    time_zone: str = "UTC"
    translations_dir: str = ""
    hold_share: float = Field(default=0.3, gt=0, le=1)
    hold_minimum_rows: int = Field(default=100, ge=0)
    live_bound_seconds: float = Field(default=1.0, gt=0)
    split_bytes: int = Field(default=256 * 1024**2, ge=0)
    log_json: bool = False

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("is no time zone; name one as Africa/Lagos") from None
        return name

    @property
    def resolved_store_url(self) -> str:
        """The store's address; a folder under `home` unless one is set."""
        return self.store_url or (self.home / "store").resolve().as_uri()

    @property
    def pseudonym_keys(self) -> list[str]:
        """The present key of pseudonyms and those before it. The last is the first there was."""
        return [key.strip() for key in self.pseudonym_key.get_secret_value().split(",")]

    @property
    def resolved_public_url(self) -> str:
        """Where people open the pages, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def resolved_airflow_url(self) -> str:
        """Where Airflow's API answers, without a trailing slash."""
        return (self.airflow_url or f"http://127.0.0.1:{self.airflow_port}").rstrip("/")

    @property
    def resolved_airflow_public_url(self) -> str:
        """Where people open Airflow's pages, without a trailing slash."""
        return (self.airflow_public_url or self.resolved_airflow_url).rstrip("/")


def home_dir() -> Path:
    """Where state lives: `LAUREL_HOME`, else `var/` in the project."""
    return Path(os.environ.get("LAUREL_HOME") or PROJECT_DIR / "var").resolve()


def env_file(home: Path) -> Path:
    """The file with settings and secrets: `LAUREL_ENV_FILE`, else `laurel.env` in the home."""
    return Path(os.environ.get("LAUREL_ENV_FILE") or home / "laurel.env")


def load_settings() -> Settings:
    """Read the environment and the file of settings. What the file says to others (AWS_…, AIRFLOW__…,
    SSL_CERT_FILE, HTTPS_PROXY) goes to the environment, where they look.

    Raises:
        ConfigurationError: names each missing or wrong variable, without its value.
    """
    home = home_dir()
    file = env_file(home)
    try:
        settings = Settings(_env_file=file, home=home)  # type: ignore[call-arg]
    except ValidationError as error:
        faults = "; ".join(
            f"LAUREL_{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(
            f"{faults}. Set them in the environment (see .env.example). ./start.sh up writes {file} for the "
            "platform on one machine, ./start.sh env what containers read."
        ) from None
    _refuse_weak_secrets(settings)
    for name, value in dotenv_values(file).items():
        if value and not name.startswith("LAUREL_"):
            os.environ.setdefault(name, value)
    return settings


def _refuse_weak_secrets(settings: Settings) -> None:
    """Secrets are made by a machine; those that people think of, or that stand in examples, can be guessed.

    Raises:
        ConfigurationError: names the variables, not their values.
    """
    chosen = {
        "LAUREL_SECRET_KEY": [settings.secret_key.get_secret_value()],
        "LAUREL_PSEUDONYM_KEY": settings.pseudonym_keys,
    }
    if settings.airflow_password is not None:
        chosen["LAUREL_AIRFLOW_PASSWORD"] = [settings.airflow_password.get_secret_value()]
    weak = [name for name, secrets in chosen.items() if any(map(_is_weak, secrets))]
    if weak:
        raise ConfigurationError(
            f"{', '.join(weak)}: empty, an example, or shorter than {_SHORTEST_SECRET} characters. "
            "Make one with `openssl rand -hex 32`, or all of them with `./start.sh env`."
        )


def _is_weak(secret: str) -> bool:
    plain = secret.lower().replace("-", "").replace("_", "")
    return (
        len(secret) < _SHORTEST_SECRET
        or len(set(secret)) < _FEWEST_CHARACTERS
        or any(word in plain for word in ("<secret>", "changeme", "supersecret", "yoursecret", "default"))
    )
