"""Sending e-mail through the server that `LAUREL_SMTP_URL` names.

The server's name is looked at as any address that we call is (`elt.outgoing`). What is sent is encrypted,
except to a server on this machine. Nothing that is raised here names an address, a person or a password.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import SplitResult, unquote, urlsplit

from elt.outgoing import IPAddress, NotCalledError, permitted
from elt.settings import Settings

_SECONDS = 10.0
_PORTS = {"smtp": 587, "smtps": 465}
_WRONG_URL = "LAUREL_SMTP_URL: expected smtp://user:password@host:587 or smtps://user:password@host:465."


class NotMailedError(Exception):
    """The mail server did not take it. `is_final`: nor will it later, as for an address that it refuses."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class Mail:
    """A plain message. `message_id` is the same when it is sent again, so that mail programs show one."""

    to: tuple[str, ...]
    subject: str
    text: str
    message_id: str = ""
    attachment: tuple[str, bytes] | None = None  # the name of a PDF, and the PDF


def can_mail(settings: Settings) -> bool:
    """Whether a mail server and a sender's address are set."""
    return settings.smtp_url is not None and bool(settings.mail_from)


def send_mail(settings: Settings, mail: Mail) -> None:
    """Hand a message to the mail server.

    Raises:
        NotMailedError: it did not take the message, or `LAUREL_SMTP_URL` is wrong.
    """
    assert settings.smtp_url is not None  # noqa: S101 - `can_mail` was asked
    url = _parsed(settings.smtp_url.get_secret_value())
    try:
        addresses = permitted(url.hostname or "", _port(url), settings.outgoing_allow)
        message = _message(settings.mail_from, mail)
        with _open(url, addresses) as server:
            server.send_message(message, settings.mail_from, list(mail.to))
    except NotCalledError as error:
        raise NotMailedError(str(error)) from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = {code for code, _ in error.recipients.values()}
        raise NotMailedError(
            f"SMTP {'/'.join(map(str, sorted(codes)))}: recipient refused",
            is_final=all(code >= 500 for code in codes),
        ) from None
    except smtplib.SMTPResponseException as error:
        raise NotMailedError(f"SMTP {error.smtp_code}") from None
    except smtplib.SMTPException as error:
        raise NotMailedError(type(error).__name__) from None
    except (OSError, ValueError) as error:  # ValueError: an address or subject that no header can hold
        raise NotMailedError(type(error).__name__, is_final=isinstance(error, ValueError)) from None


class _Plain(smtplib.SMTP):
    """Connects to the very addresses that were looked at; certificates are still checked against the name."""

    def __init__(self, url: SplitResult, addresses: list[IPAddress]) -> None:
        self._addresses = addresses
        super().__init__(url.hostname or "", _port(url), timeout=_SECONDS)

    def _get_socket(self, _host: str, port: int, _timeout: float) -> socket.socket:
        return _connect(self._addresses, port)


class _Encrypted(smtplib.SMTP_SSL):
    """The same, encrypted from the first byte."""

    def __init__(self, url: SplitResult, addresses: list[IPAddress]) -> None:
        self._addresses = addresses
        self._encryption = ssl.create_default_context()
        super().__init__(url.hostname or "", _port(url), timeout=_SECONDS, context=self._encryption)

    def _get_socket(self, host: str, port: int, _timeout: float) -> ssl.SSLSocket:
        return self._encryption.wrap_socket(_connect(self._addresses, port), server_hostname=host)


def _connect(addresses: list[IPAddress], port: int) -> socket.socket:
    for address in addresses[:-1]:
        try:
            return socket.create_connection((str(address), port), _SECONDS)
        except OSError:
            continue
    return socket.create_connection((str(addresses[-1]), port), _SECONDS)


def _open(url: SplitResult, addresses: list[IPAddress]) -> smtplib.SMTP:
    server = _Encrypted(url, addresses) if url.scheme == "smtps" else _Plain(url, addresses)
    try:
        server.ehlo_or_helo_if_needed()
        if url.scheme == "smtp" and not all(address.is_loopback for address in addresses):
            if not server.has_extn("starttls"):
                raise NotMailedError("the mail server offers no STARTTLS")
            server.starttls(context=ssl.create_default_context())
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
    except BaseException:
        server.close()
        raise
    return server


def _message(sender: str, mail: Mail) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(mail.to)
    message["Subject"] = mail.subject
    message["Date"] = formatdate()
    message["Auto-Submitted"] = "auto-generated"
    if mail.message_id:
        message["Message-ID"] = f"<{mail.message_id}@{sender.rpartition('@')[2].rstrip('>')}>"
    message.set_content(mail.text)
    if mail.attachment is not None:
        name, content = mail.attachment
        message.add_attachment(content, maintype="application", subtype="pdf", filename=name)
    return message


def _parsed(url: str) -> SplitResult:
    """The parts of the server's address.

    Raises:
        NotMailedError: it is none. Does not repeat it: it holds a password.
    """
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in _PORTS and parts.hostname and _port(parts)
    except ValueError:
        is_one = False
    if not is_one:
        raise NotMailedError(_WRONG_URL)
    return parts


def _port(url: SplitResult) -> int:
    return url.port or _PORTS[url.scheme]
