"""What viewers see of the country databases: one query on the running sums, never on the responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from elt.disclosure import smallest_group
from elt.live.changes import Way
from elt.warehouse import Connection

HOURS = 24
"""How many hours the picture shows, the present one included."""

_MINIMUM_SAMPLE = "pisa_minimum_sample"  # in the seed disclosure_rules

# One statement, so that all of it is of one moment.
_PICTURE = """
with sums as (
    select
        country, sum(responses)::bigint as responses,
        sum(tmins_n) as tmins_n, sum(tmins_sum) as tmins_sum,
        sum(escs_n) as escs_n, sum(escs_sum) as escs_sum,
        sum(durecec_n) as durecec_n, sum(durecec_sum) as durecec_sum,
        sum(belong_n) as belong_n, sum(belong_sum) as belong_sum, sum(both_n)::bigint as "both"
    from live.countries
    group by country
),
means as (
    select
        country, responses, "both",
        case when tmins_n >= %(minimum)s then tmins_sum / tmins_n / 60 end::float8 as lesson_hours,
        case when escs_n >= %(minimum)s then escs_sum / escs_n end::float8 as escs,
        case when durecec_n >= %(minimum)s then durecec_sum / durecec_n end::float8 as durecec,
        case when belong_n >= %(minimum)s then belong_sum / belong_n end::float8 as belong
    from sums
),
present as (select date_trunc('hour', now(), 'UTC') as hour),
counts as (
    select hours.country, hours.hour, sum(hours.responses)::bigint as responses
    from live.hours as hours cross join present
    where hours.hour > present.hour - %(hours)s * interval '1 hour' and hours.hour <= present.hour
    group by hours.country, hours.hour
)
select
    version.version, version.changed_at, present.hour,
    (select coalesce(jsonb_agg(to_jsonb(means) order by country), '[]') from means) as countries,
    (select coalesce(jsonb_agg(to_jsonb(counts) order by hour, country), '[]') from counts) as counts,
    (select coalesce(jsonb_agg(jsonb_build_object(
        'source', source, 'country', country, 'way', way, 'read_at', read_at, 'lag_seconds', lag_seconds,
        'problem', problem) order by source), '[]') from live.sources) as sources
from live.version cross join present
"""


@dataclass(frozen=True, slots=True)
class CountryFigures:
    """A country. Means are not rounded, and None where fewer responses than the minimum have the value."""

    country: str
    responses: int
    lesson_hours: float | None
    """Mean hours of lessons a week."""
    escs: float | None
    durecec: float | None
    """Mean years of early childhood education."""
    belong: float | None
    both: int
    """Responses that say something about both `durecec` and `belong`."""


@dataclass(frozen=True, slots=True)
class HourCount:
    """How many responses were submitted in the hour that begins at `hour`, UTC; of one country or of all."""

    hour: datetime
    responses: int
    country: str | None = None


@dataclass(frozen=True, slots=True)
class SourceState:
    """A country database and how well it is followed; see `live.sources`. `problem` is for all viewers."""

    source: str
    country: str | None
    way: Way
    read_at: datetime | None
    lag_seconds: float | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it at one moment. `hours` are the last 24 in order, the present one last, none left out."""

    version: int
    changed_at: datetime
    minimum_sample: int
    responses: int
    hours: tuple[HourCount, ...]
    countries: tuple[CountryFigures, ...]
    sources: tuple[SourceState, ...]
    country_hours: tuple[HourCount, ...]
    """Those of `hours` by country; without zeros."""

    def hours_of(self, countries: Sequence[str]) -> tuple[HourCount, ...]:
        """`hours`, of these countries only."""
        wanted = [count for count in self.country_hours if count.country in set(countries)]
        return _fill(wanted, [count.hour for count in self.hours])


def read_picture(connection: Connection) -> Picture:
    """The picture as it is now."""
    minimum = smallest_group(_MINIMUM_SAMPLE)
    [row] = connection.execute(_PICTURE, {"minimum": minimum, "hours": HOURS}).fetchall()
    countries = tuple(CountryFigures(**found) for found in row["countries"])
    by_country = tuple(
        HourCount(datetime.fromisoformat(found["hour"]), found["responses"], found["country"])
        for found in row["counts"]
    )
    return Picture(
        version=row["version"],
        changed_at=row["changed_at"],
        minimum_sample=minimum,
        responses=sum(country.responses for country in countries),
        hours=_fill(by_country, _last_hours(row["hour"])),
        countries=countries,
        sources=tuple(_source(found) for found in row["sources"]),
        country_hours=by_country,
    )


def _last_hours(present: datetime) -> list[datetime]:
    return [present - timedelta(hours=back) for back in reversed(range(HOURS))]


def _fill(counts: Sequence[HourCount], hours: Sequence[datetime]) -> tuple[HourCount, ...]:
    sums = dict.fromkeys(hours, 0)
    for count in counts:
        sums[count.hour] += count.responses
    return tuple(HourCount(hour, responses) for hour, responses in sums.items())


def _source(found: dict[str, Any]) -> SourceState:
    read_at = found.pop("read_at")
    return SourceState(**found, read_at=datetime.fromisoformat(read_at) if read_at else None)
