"""Sending e-mail through the server that `LAUREL_SMTP_URL` names.

The server's name is looked at as any address that we call is (`elt.outgoing`). What is sent is encrypted,
except to a server on this machine. Nothing that is raised here names an address, a person or a password.

Subjects and names of files may be anybody's words. So a message is put together from encoded text; the newer
part of `email` would read encoded words in them first, in which line ends, and so headers, can hide.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import unicodedata
from dataclasses import dataclass
from email.charset import QP, Charset
from email.header import Header
from email.message import Message
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formataddr, formatdate, parseaddr
from urllib.parse import SplitResult, unquote, urlsplit

from elt.outgoing import IPAddress, NotCalledError, permitted
from elt.settings import Settings

_SECONDS = 10.0
_PORTS = {"smtp": 587, "smtps": 465}
_WRONG_URL = "LAUREL_SMTP_URL: expected smtp://user:password@host:587 or smtps://user:password@host:465."
_WRONG_SENDER = "LAUREL_MAIL_FROM: expected laurel@school.example or Laurel <laurel@school.example>."
_UTF8 = Charset("utf-8")
_UTF8.body_encoding = QP
_CONTROLS = ("Cc", "Cs", "Zl", "Zp")


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
        NotMailedError: it did not take the message, there can be no such message, or a setting is wrong.
    """
    assert settings.smtp_url is not None  # noqa: S101 - `can_mail` was asked
    url = _parsed(settings.smtp_url.get_secret_value())
    sender = _name_and_address(settings.mail_from)
    if not is_address(sender[1]):
        raise NotMailedError(_WRONG_SENDER)
    to = [_name_and_address(each) for each in mail.to]
    message = _composed(sender, to, mail)
    try:
        addresses = permitted(url.hostname or "", _port(url), settings.outgoing_allow)
        with _open(url, addresses) as server:
            server.sendmail(sender[1], [address for _, address in to], message)
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
    except (OSError, ValueError) as error:  # ValueError: a password, say, that cannot be sent
        raise NotMailedError(type(error).__name__) from None


def is_address(text: str) -> bool:
    """Whether mail can be sent to an address: nothing in it makes a header be read in another way."""
    name, at, host = text.rpartition("@")
    is_plain = text.isascii() and text.isprintable() and not set(text) & set(' <>(),;:"\\')
    return bool(name and at and host) and "@" not in name and "=?" not in text and is_plain


def one_line(text: str) -> str:
    """The text without line ends and other control characters."""
    return " ".join(
        "".join(" " if unicodedata.category(each) in _CONTROLS else each for each in text).split()
    )


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


def _composed(sender: tuple[str, str], to: list[tuple[str, str]], mail: Mail) -> bytes:
    """The message as it is sent.

    Raises:
        NotMailedError: there can be no such message.
    """
    if not to or not all(is_address(address) for _, address in to):
        raise NotMailedError("no address that mail can be sent to", is_final=True)
    try:
        message = _message(sender, to, mail)
        return message.as_bytes(policy=message.policy.clone(linesep="\r\n"))
    except Exception as error:  # a fault of ours, which may be mended before the mail is given up
        raise NotMailedError(type(error).__name__) from None


def _name_and_address(text: str) -> tuple[str, str]:
    """The parts of `Ada <ada@school.example>`, or of an address alone; both are empty where it is neither."""
    return parseaddr(text) if text.isprintable() else ("", "")


def _message(sender: tuple[str, str], to: list[tuple[str, str]], mail: Mail) -> Message:
    message: Message = MIMEText(mail.text, "plain", _UTF8)  # type: ignore[arg-type] # as its manual has it
    if mail.attachment is not None:
        name, content = mail.attachment
        attached = MIMEApplication(content, "pdf")
        attached.add_header("Content-Disposition", "attachment", filename=("utf-8", "", one_line(name)))
        message = MIMEMultipart("mixed", None, [message, attached])
    message["From"] = formataddr(sender)
    message["To"] = ", ".join(map(formataddr, to))
    message["Subject"] = Header(one_line(mail.subject), "utf-8")  # type: ignore[assignment] # so has this
    message["Date"] = formatdate()
    message["Auto-Submitted"] = "auto-generated"
    if mail.message_id:
        message["Message-ID"] = f"<{mail.message_id}@{sender[1].rpartition('@')[2]}>"
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
