"""Texts in the reader's language, times in the school's time zone.

English is written in templates and code; a catalogue below `backend/translations` says it in another language
(see "Translate the pages" in docs/developing.md). Without one for what the browser asks for, English stays.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from flask import Flask, request
from flask_babel import Babel, format_date, format_datetime, get_babel

from elt.settings import Settings

_TRANSLATIONS = Path(__file__).with_name("translations")
_ENGLISH = "en"
_DAY = "d MMMM y"
_MOMENT = "d MMMM y, HH:mm"
_NOTHING = "–"


def register_texts(app: Flask, settings: Settings) -> None:
    """Give templates `_`, `{% trans %}` and the filters `day` and `moment`."""
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = settings.translations_dir or str(_TRANSLATIONS)
    Babel(app, default_locale=_ENGLISH, default_timezone=settings.time_zone, locale_selector=_language)
    app.jinja_env.filters.update(day=day, moment=moment)
    app.jinja_env.globals["language"] = _language


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


def _language() -> str:
    """The best of the languages that there are for what the browser asks for."""
    languages = [str(found) for found in get_babel().instance.list_translations()]
    return request.accept_languages.best_match(languages, _ENGLISH) or _ENGLISH
