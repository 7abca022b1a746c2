"""Calls to addresses that people configure, such as a webhook's.

The name is resolved once, every address it stands for is looked at, and the call goes to one that was looked
at: a name that changes its mind in between, or a redirect, leads nowhere else. Addresses inside our own
network (private, loopback, link-local and so the cloud's metadata) are refused unless
`LAUREL_OUTGOING_ALLOW` names them.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import httpx

_METADATA = frozenset({"168.63.129.16"})  # Azure's, the one metadata address that is not private
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_TIMEOUT = httpx.Timeout(10.0, connect=3.0)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotCalledError(Exception):
    """No call was made. Says why, without the address, which may be a secret."""


def post_json(url: str, message: Any, *, allow: str = "") -> httpx.Response:
    """Send a message as JSON; redirects are not followed, proxies of the environment not used.

    Args:
        url: where to.
        message: plain JSON values.
        allow: hosts and networks, with commas, that may be called though they are not public.

    Raises:
        NotCalledError: the URL is none that may be called.
        httpx.HTTPError: the other side did not answer.
    """
    target = httpx.URL(url)
    if target.scheme not in ("http", "https") or not target.host:
        raise NotCalledError("The address must begin with https:// or http://.")
    addresses = _resolve(target.host, target.port or (443 if target.scheme == "https" else 80))
    if not _is_listed_host(target.host, allow) and not all(_may_call(each, allow) for each in addresses):
        raise NotCalledError("The address is inside our own network. LAUREL_OUTGOING_ALLOW can permit it.")
    with httpx.Client(timeout=_TIMEOUT, trust_env=False, follow_redirects=False) as client:
        for address in addresses[:-1]:
            try:
                return _post(client, target, address, message)
            except httpx.ConnectError:
                continue
        return _post(client, target, addresses[-1], message)


def _post(client: httpx.Client, target: httpx.URL, address: IPAddress, message: Any) -> httpx.Response:
    """To this very address; the certificate is still checked against the name."""
    return client.post(
        target.copy_with(host=str(address)),
        json=message,
        headers={"Host": target.netloc.decode("ascii")},
        extensions={"sni_hostname": target.raw_host.decode("ascii")},
    )


def _resolve(host: str, port: int) -> list[IPAddress]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotCalledError("The address's name cannot be resolved.") from None
    return list(dict.fromkeys(ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found))


def _may_call(address: IPAddress, allow: str) -> bool:
    inner = _inner(address)
    if any(inner in network for network in _networks(allow)):
        return True
    return inner.is_global and not inner.is_multicast and str(inner) not in _METADATA


def _inner(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 address is another way to write of."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_listed_host(host: str, allow: str) -> bool:
    return host.lower() in (entry.lower() for entry in _entries(allow))


def _networks(allow: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    found = []
    for entry in _entries(allow):
        try:
            found.append(ipaddress.ip_network(entry, strict=False))
        except ValueError:  # a host's name
            continue
    return found


def _entries(allow: str) -> list[str]:
    return [entry.strip() for entry in allow.split(",") if entry.strip()]
