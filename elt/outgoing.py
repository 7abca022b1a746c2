"""Calls to addresses that people configure, such as those of a webhook, mail server or examination board.

The name is resolved once, every address it stands for is looked at, and the call goes to one that was looked
at: a name that changes its mind in between, or a redirect, leads nowhere else. Addresses inside our own
network (private, loopback, link-local and so the cloud's metadata) are refused unless
`LAUREL_OUTGOING_ALLOW` names them.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
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
    with new_client(_TIMEOUT) as client:
        return _call(client, "POST", url, allow, {}, json=message)


def new_client(timeout: httpx.Timeout) -> httpx.Client:
    """What `get` asks with. One for many calls: making it reads every certificate."""
    return httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False)


def get(
    client: httpx.Client, url: str, *, query: Mapping[str, str], headers: Mapping[str, str], allow: str = ""
) -> httpx.Response:
    """Ask for something, with a client of `new_client`; raises and understands `allow` as `post_json`."""
    return _call(client, "GET", url, allow, headers, params=query)


def permitted(host: str, port: int, allow: str = "") -> list[IPAddress]:
    """The addresses that a name stands for, if all of them may be called; at least one.

    Raises:
        NotCalledError: one may not, or the name is unknown.
    """
    addresses = _resolve(host, port)
    if not _is_listed_host(host, allow) and not all(_may_call(each, allow) for each in addresses):
        raise NotCalledError("The address is inside our own network. LAUREL_OUTGOING_ALLOW can permit it.")
    return addresses


def _call(
    client: httpx.Client, method: str, url: str, allow: str, headers: Mapping[str, str], **content: Any
) -> httpx.Response:
    target = httpx.URL(url)
    if target.scheme not in ("http", "https") or not target.host:
        raise NotCalledError("The address must begin with https:// or http://.")
    addresses = permitted(target.host, target.port or (443 if target.scheme == "https" else 80), allow)

    def call(address: IPAddress) -> httpx.Response:
        # To this very address; the certificate is still checked against the name.
        return client.request(
            method,
            target.copy_with(host=str(address)),
            headers={**headers, "Host": target.netloc.decode("ascii")},
            extensions={"sni_hostname": target.raw_host.decode("ascii")},
            **content,
        )

    for address in addresses[:-1]:
        try:
            return call(address)
        except httpx.ConnectError:
            continue
    return call(addresses[-1])


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
