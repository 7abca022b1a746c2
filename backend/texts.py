"""Texts and figures in the reader's language, times in the school's time zone.

English is written in templates and code; a catalogue below `backend/translations` says it in another language
(see "Translate the pages" in docs/developing.md). Without one for what the browser asks for, English stays.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from babel import Locale
from babel.core import get_locale_identifier
from flask import Flask, request
from flask_babel import Babel, format_date, format_datetime, format_decimal, get_babel, get_locale

from elt.settings import Settings

_TRANSLATIONS = Path(__file__).with_name("translations")
_ENGLISH = "en"
_DAY = "d MMMM y"
_MOMENT = "d MMMM y, HH:mm"
_NOTHING = "–"


def register_texts(app: Flask, settings: Settings) -> None:
    """Give templates `_`, `{% trans %}` and the filters `day`, `moment` and `number`."""
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = settings.translations_dir or str(_TRANSLATIONS)
    Babel(app, default_locale=_ENGLISH, default_timezone=settings.time_zone, locale_selector=_best)
    app.jinja_env.filters.update(day=day, moment=moment, number=number)
    app.jinja_env.globals["language"] = language


def number(value: float | None, decimals: int = 0) -> str:
    """A figure as the reader's language writes it: 1,234.5 or 1.234,5."""
    if value is None:
        return _NOTHING
    written = Decimal(f"{value:.{decimals}f}")
    return str(format_decimal(written, "#,##0" + ("." + "0" * decimals if decimals else "")))


def day(value: date | str | None) -> str:
    """A date in words, as 29 November 2026; a moment's date in the school's time zone."""
    if not value:
        return _NOTHING
    if isinstance(value, str):
        value = datetime.fromisoformat(value) if "T" in value else date.fromisoformat(value)
    return str(format_date(value, _DAY))


def moment(value: datetime | str | None) -> str:
    """A moment in words and in the school's time zone, as 29 November 2026, 14:05."""
    if not value:
        return _NOTHING
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return str(format_datetime(found.astimezone(UTC).replace(tzinfo=None), _MOMENT))


def language() -> str:
    """The language of the page as HTML and JavaScript name it: `pt`, and with a region `pt-BR`."""
    return _named(get_locale() or Locale(_ENGLISH))


def language_without_region() -> str:
    """The language of the page in two or three letters."""
    return str((get_locale() or Locale(_ENGLISH)).language)


def _named(locale: Locale) -> str:
    parts = (locale.language, locale.territory, locale.script, locale.variant)
    return get_locale_identifier(parts, sep="-")


def _best() -> Locale:
    """The best of the languages that there are for what the browser asks for."""
    languages = {_named(found): found for found in get_babel().instance.list_translations()}
    best = request.accept_languages.best_match(languages, _ENGLISH)
    return languages.get(best or _ENGLISH) or Locale(_ENGLISH)
