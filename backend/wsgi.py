"""What gunicorn imports: the application with the settings of the environment."""

from __future__ import annotations

from backend.app import create_app
from elt.log import configure_logging
from elt.settings import load_settings

_settings = load_settings()
configure_logging(json=_settings.log_json)
app = create_app(_settings)
