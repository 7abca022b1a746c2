"""What the addresses of the analyst's pages may say beside what the API's may."""

from __future__ import annotations

from pydantic import Field

from backend.schemas.common import Name, Sent
from backend.schemas.live import CountriesQuery


class LiveAddress(CountriesQuery):
    """Which countries, or one of the charts."""

    csv: Name | None = Field(default=None, description="Only this chart, as CSV.")


class ResourcesAddress(Sent):
    """Which schools and school years, or one of the charts."""

    school_id: Name | None = None
    school_year: Name | None = Field(default=None, description="As 2023/2024.")
    csv: Name | None = Field(default=None, description="Only this chart, as CSV.")


class InsightsAddress(Sent):
    """Which comparisons, or one of the charts."""

    dataset: Name | None = None
    outcome: Name | None = None
    only_found: bool = Field(default=False, description="Only where an effect was found.")
    csv: Name | None = Field(default=None, description="Only this chart, as CSV.")
