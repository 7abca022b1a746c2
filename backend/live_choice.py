"""Which countries of the live picture somebody asks for, by `countries=ALB,ARG` in the address."""

from __future__ import annotations

from backend.schemas.live import CountriesQuery
from backend.services import services
from elt.live.picture import CountryFigures, Picture


class Choice:
    """What is asked for: `codes` in upper case, each once, none for all; and their `countries`.

    Raises:
        DatabaseUnavailable: the picture cannot be read.
    """

    def __init__(self, query: CountriesQuery) -> None:
        self.picture: Picture = services().live_pictures.current()
        self.codes = list(dict.fromkeys(query.countries.upper().split(","))) if query.countries else []
        self.countries: list[CountryFigures] = [
            country for country in self.picture.countries if not self.codes or country.country in self.codes
        ]

    @property
    def known(self) -> list[str]:
        """All countries that have responses or a source, by code."""
        known = {country.country for country in self.picture.countries}
        return sorted(known | {source.country for source in self.picture.sources if source.country})

    @property
    def unknown(self) -> list[str]:
        """Codes asked for of which there is no response and no source."""
        known = self.known
        return [code for code in self.codes if code not in known]
