"""Models of the live picture, and of the five answers that the systems before Laurel gave."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from backend.schemas.common import Answered, Sent

_CODE = "[A-Za-z]{2,3}"


class LiveHour(Answered):
    """How many responses were submitted in an hour."""

    hour: datetime = Field(description="When it begins, UTC.")
    responses: int


class LiveCountry(Answered):
    """A country. A mean is null where fewer responses than `minimum_sample` have the value."""

    country: str
    responses: int
    lesson_hours: float | None = Field(description="Mean hours of lessons a week.")
    escs: float | None = Field(description="Mean economic, social and cultural status.")
    durecec: float | None = Field(description="Mean years of early childhood education.")
    belong: float | None = Field(description="Mean sense of belonging.")
    both: int = Field(description="Responses with both `durecec` and `belong`.")


class LiveSource(Answered):
    """A country database, and how well it is followed."""

    source: str
    country: str | None = Field(description="The country of all its rows; null: several.")
    way: Literal["notify", "poll"] = Field(description="It tells of changes, or is asked for them.")
    read_at: datetime | None = Field(description="When it was last known that nothing newer is there.")
    lag_seconds: float | None = Field(description="From commit there to pushed, when measured last.")
    problem: str | None = Field(description="Why it cannot be followed now; null: it is.")


class LivePicture(Answered):
    """All that the country databases hold, in figures."""

    version: int = Field(description="Grows with every change of the figures.")
    changed_at: datetime
    minimum_sample: int = Field(description="Means of fewer values are not shown.")
    responses: int
    hours: list[LiveHour] = Field(description="The last 24 hours in order, the present one last.")
    countries: list[LiveCountry] = Field(description="By code.")
    sources: list[LiveSource] = Field(description="By name.")


class StreamHeaders(BaseModel):
    """What a browser sends when it connects again."""

    last_event_id: str | None = Field(
        default=None, alias="Last-Event-ID", description="The `id` of the last event that came."
    )


class PictureHeaders(BaseModel):
    """For those who ask again and again."""

    if_none_match: str | None = Field(
        default=None, alias="If-None-Match", description="The `ETag` of the answer that is known."
    )


class CountriesQuery(Sent):
    """Which countries."""

    countries: Annotated[str, StringConstraints(pattern=f"^{_CODE}(,{_CODE})*$", max_length=1000)] | None = (
        Field(default=None, description="Codes separated by commas, as `ALB,ARG`; default: all.")
    )


class PublicAnswer(Answered):
    """A public answer. Countries that are asked for and are nowhere are named, not refused."""

    unknown_countries: list[str] = Field(
        default_factory=list, description="Codes asked for of which there is no response and no source."
    )


class Submissions(PublicAnswer):
    """How many responses there are."""

    count: int


class HoursOfCountry(Answered):
    """A bar."""

    country: str
    hours: float = Field(description="Mean hours of lessons a week, to two decimals.")


class LearningHours(PublicAnswer):
    """Hours of lessons a week by country, highest first."""

    datasets: list[HoursOfCountry]
    minimum_sample: int = Field(description="Countries where fewer say so are left out.")


class ScoreOfCountry(Answered):
    """A country on the map."""

    id: str
    value: float = Field(description="Mean economic, social and cultural status, to four decimals.")


class Scores(PublicAnswer):
    """Economic, social and cultural status by country, by code."""

    datasets: list[ScoreOfCountry]
    minimum_sample: int = Field(description="Countries where fewer say so are left out.")


class Bubble(Answered):
    """Where a country's bubble stands, and how large it is."""

    x: float = Field(description="Mean years of early childhood education, to two decimals.")
    y: float = Field(description="Mean sense of belonging, to four decimals.")
    submissions: int = Field(description="Responses with both.")


class BubbleOfCountry(Answered):
    """A country's bubble."""

    id: str
    data: list[Bubble]


class Bubbles(PublicAnswer):
    """Early education and sense of belonging by country, most responses first."""

    datasets: list[BubbleOfCountry]
    minimum_sample: int = Field(description="Countries where fewer say both are left out.")


class Point(Answered):
    """A point of the line."""

    model_config = ConfigDict(
        from_attributes=True, json_schema_extra={"example": {"x": "2026-11-29T05:00Z", "y": 3}}
    )

    x: str = Field(description="When the hour begins, UTC: `2026-11-29T05:00Z`.")
    y: int = Field(description="Responses submitted in it.")


class Line(Answered):
    """The line of submissions."""

    id: Literal["Submissions"] = "Submissions"
    data: list[Point] = Field(description="24 hours in order, the present one last; zeros included.")


class SubmissionsOverTime(PublicAnswer):
    """Submissions by hour."""

    datasets: list[Line]
