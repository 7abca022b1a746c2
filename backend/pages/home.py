"""Where one lands: the pages that the person may open, each with a sentence."""

from __future__ import annotations

from flask import Blueprint, render_template

from backend.access import allow

home_pages = Blueprint("home_pages", __name__)


@home_pages.get("/")
@allow("session:read")
def show_home() -> str:
    """A card for each page that is in the navigation."""
    return render_template("home.html")
