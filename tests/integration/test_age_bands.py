"""What researchers see in place of dates of birth tells no day."""

from __future__ import annotations

from elt.warehouse import Connection


def test_all_who_were_born_in_one_year_are_in_one_band_on_every_day(connection: Connection) -> None:
    bands = connection.execute(
        """
        select extract(year from born) as year, count(distinct served.age_band(born::date)) as bands
        from generate_series(date '2005-01-01', date '2020-12-31', interval '1 day') as born
        group by 1
        """
    ).fetchall()
    assert len(bands) == 16
    assert {row["bands"] for row in bands} == {1}


def test_a_band_is_three_years_wide_and_holds_the_age(connection: Connection) -> None:
    found = connection.execute(
        "select served.age_band((current_date - interval '15 years')::date) as band"
    ).fetchone()
    assert found == {"band": "15 to 17"}
