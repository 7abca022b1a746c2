"""How often something happened lately, counted in the database, so that all workers share one count."""

from __future__ import annotations

import ipaddress

from elt.warehouse import Connection


def count(connection: Connection, key: str, window_seconds: int) -> tuple[int, int]:
    """Count one more. The first of a window opens it.

    Returns:
        How many there were in this window, with this one, and the seconds until it closes.
    """
    found = connection.execute(
        """
        insert into ops.rates as r (key, count, expires_at)
        values (%(key)s, 1, now() + make_interval(secs => %(seconds)s))
        on conflict (key) do update
        set count = case when r.expires_at > now() then r.count + 1 else 1 end,
            expires_at = case when r.expires_at > now() then r.expires_at else excluded.expires_at end
        returning count, ceil(extract(epoch from expires_at - now()))::int as seconds_left
        """,
        {"key": key, "seconds": window_seconds},
    ).fetchone()
    assert found is not None  # noqa: S101 - an upsert that returns always answers
    if found["count"] == 1:
        connection.execute("delete from ops.rates where expires_at < now() - interval '1 hour'")
    return found["count"], max(1, found["seconds_left"])


def uncount(connection: Connection, key: str) -> None:
    """Take one back."""
    connection.execute("update ops.rates set count = greatest(0, count - 1) where key = %s", (key,))


def forget(connection: Connection, key: str) -> None:
    """Begin at nothing again."""
    connection.execute("delete from ops.rates where key = %s", (key,))


def network_of(address: str) -> str:
    """What one caller's tries are counted under: the address; of IPv6 its first half, one customer's."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a socket without addresses
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    # A server that listens for both kinds writes the older one's like this; all of these share a first half.
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
