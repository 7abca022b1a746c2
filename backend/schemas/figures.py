"""What the addresses of the analyst's pages may say beside what the API's may."""

from __future__ import annotations

from pydantic import Field

from backend.schemas.common import Name
from backend.schemas.live import CountriesQuery


class LiveAddress(CountriesQuery):
    """Which countries, or one of the charts."""

    csv: Name | None = Field(default=None, description="Only this chart, as CSV.")
