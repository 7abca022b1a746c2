"""The application: API, its document, and pages."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import UnicodeConverter

from backend.access import register_access
from backend.assets import register_assets
from backend.auditing import register_auditing
from backend.csrf import register_csrf
from backend.docs import register_docs
from backend.errors import register_errors
from backend.headers import register_headers
from backend.metrics import register_metrics
from backend.pages.account import account_pages
from backend.pages.admin import admin_pages
from backend.pages.admin_audit import audit_pages
from backend.pages.admin_erasures import erasure_pages
from backend.pages.admin_keys import key_pages
from backend.pages.admin_people import people_pages
from backend.pages.admin_quality import quality_pages
from backend.pages.admin_runs import run_pages
from backend.pages.dictionary import dictionary_pages
from backend.pages.disputes import dispute_pages
from backend.pages.hand_in import hand_in_pages
from backend.pages.home import home_pages
from backend.pages.insights import insights_pages
from backend.pages.layout import register_layout
from backend.pages.lineage import lineage_pages
from backend.pages.live import live_pages
from backend.pages.marts import mart_pages
from backend.pages.models import model_pages
from backend.pages.provenance import provenance_pages
from backend.pages.report import report_pages
from backend.pages.resources import resources_pages
from backend.pages.sql import sql_pages
from backend.pages.students import student_pages
from backend.pages.summary import summary_pages
from backend.pages.worklist import worklist_pages
from backend.routes.assignments import assignments
from backend.routes.audit import audit
from backend.routes.datasets import datasets
from backend.routes.disputes import disputes
from backend.routes.erasures import erasures
from backend.routes.health import health
from backend.routes.keys import keys
from backend.routes.live import live, live_public
from backend.routes.marts import marts
from backend.routes.models import models
from backend.routes.notes import notes
from backend.routes.oidc import register_oidc
from backend.routes.query import query
from backend.routes.risk import risk
from backend.routes.runs import runs
from backend.routes.session import session
from backend.routes.session_pages import session_pages
from backend.routes.sources import sources
from backend.routes.students import students
from backend.routes.upload_files import upload_files
from backend.routes.uploads import uploads
from backend.routes.users import users
from backend.services import Services
from backend.texts import register_texts
from elt.settings import Settings, load_settings

BASE = "/api/v1"
_LARGEST_BODY = 1024 * 1024  # of all but files, which are streamed and have a limit of their own

_RESOURCES = (
    datasets,
    uploads,
    upload_files,
    marts,
    query,
    risk,
    models,
    runs,
    keys,
    users,
    session,
    audit,
    erasures,
    students,
    assignments,
    notes,
    disputes,
    sources,
    live,
)

_PAGES = (
    home_pages,
    summary_pages,
    worklist_pages,
    report_pages,
    account_pages,
    student_pages,
    provenance_pages,
    dispute_pages,
    hand_in_pages,
    live_pages,
    resources_pages,
    insights_pages,
    session_pages,
    mart_pages,
    sql_pages,
    dictionary_pages,
    lineage_pages,
    admin_pages,
    run_pages,
    quality_pages,
    people_pages,
    key_pages,
    audit_pages,
    erasure_pages,
    model_pages,
)


def create_app(settings: Settings | None = None) -> Flask:
    """Make the application. Database and store are first needed by the first request.

    Raises:
        ConfigurationError: no settings are given and the environment lacks some.
    """
    app = Flask("backend", static_folder=None)
    app.extensions["laurel"] = Services(settings or load_settings())
    app.url_map.strict_slashes = False
    app.url_map.converters["dataset"] = UnicodeConverter  # tells the document what the names are
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_BODY
    _believe_proxies(app)
    register_errors(app)
    register_headers(app)
    register_metrics(app)
    register_auditing(app)
    register_access(app)
    register_csrf(app)
    app.register_blueprint(health)
    app.register_blueprint(health, url_prefix=BASE, name="health_too")  # for those who know only the base
    for resource in _RESOURCES:
        app.register_blueprint(resource, url_prefix=BASE)
    app.register_blueprint(live_public)
    for pages in _PAGES:
        app.register_blueprint(pages)
    register_assets(app)
    register_texts(app, app.extensions["laurel"].settings)
    register_layout(app)
    register_oidc(app, app.extensions["laurel"].settings)
    register_docs(app)
    return app


def _believe_proxies(app: Flask) -> None:
    """Take address and scheme of callers from as many proxies in front of Laurel as the settings say."""
    count = app.extensions["laurel"].settings.trusted_proxies
    if count:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=0)  # type: ignore[method-assign]
