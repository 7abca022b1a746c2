"""Small pictures for the model card: SVG without script, in the page's own colours, readable when printed.

Every picture is drawn in a box of 360 units across, so that it fills a phone and is small on a screen. Lines
differ in shape as well as in colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT = 360, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 20, 12, 40
_ROW = 24
_NAME_LENGTH = 18


def plot_calibration(curve: Sequence[Mapping[str, float]], claimed: str, came: str) -> str:
    """Claimed probability against the share that came true; a point for each group of the curve.

    Args:
        curve: as `ml.metrics.calibration_curve` gives it; the area of a point grows with its students.
        claimed: name of the horizontal axis.
        came: name of the vertical one.
    """
    most = max((point["students"] for point in curve), default=1)
    points = "".join(
        f'<circle class="model" cx="{_x(point["claimed"]):.1f}" cy="{_y(point["came"]):.1f}"'
        f' r="{2 + 5 * (point["students"] / most) ** 0.5:.1f}"/>'
        for point in curve
    )
    ideal = f'<path class="quiet dashed" d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}"/>'
    return _frame(f"{_axes(claimed, came)}{ideal}{points}", _HEIGHT, f"{came} against {claimed}")


def plot_list(
    lines: Sequence[tuple[str, str, Sequence[tuple[float, float]]]], capacity: float, across: str
) -> str:
    """Shares along the list from its top down.

    Args:
        lines: name, style ("model", "rule", with " dashed") and points (share listed, share) of each line.
        capacity: the share of students that a school can follow up, marked by an upright line.
        across: name of the horizontal axis.
    """
    parts = [_axes(across, "")]
    parts.append(
        f'<path class="quiet dotted" d="M{_x(capacity):.1f} {_y(0)}V{_y(1)}"/>'
        f'<text class="quiet" x="{_x(capacity) + 4:.1f}" y="{_y(1) + 10}">can be followed up</text>'
    )
    for number, (name, style, points) in enumerate(lines):
        path = "L".join(f"{_x(across):.1f} {_y(up):.1f}" for across, up in points)
        key = _HEIGHT + 14 + 18 * number
        parts.append(f'<path class="line {style}" d="M{path}"/>')
        parts.append(f'<path class="line {style}" d="M{_LEFT} {key - 4}h34"/>')
        parts.append(f'<text x="{_LEFT + 42}" y="{key}">{escape(name)}</text>')
    words = ", ".join(name for name, _, _ in lines)
    return _frame("".join(parts), _HEIGHT + 10 + 18 * len(lines), words)


def plot_intervals(figures: Sequence[tuple[str, Mapping[str, float]]], words: str) -> str:
    """A share with its interval for each name, one below the other.

    Args:
        figures: name, and `value`, `low` and `high` between 0 and 1.
        words: what the shares are, for those who cannot see them.
    """
    left, height = 130, _ROW * len(figures) + 30

    def place(share: float) -> float:
        return left + (_WIDTH - left - _RIGHT) * share

    parts = []
    for share in (0, 0.5, 1):
        parts.append(f'<path class="quiet" d="M{place(share):.1f} 4V{height - 24}"/>')
        parts.append(_text(place(share), height - 8, f"{share:.0%}", "middle"))
    for row, (name, figure) in enumerate(figures):
        middle = _ROW * row + 18
        short = name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
        parts.append(_text(left - 8, middle + 4, short, "end"))
        parts.append(
            f'<path class="line model" d="M{place(figure["low"]):.1f} {middle}H{place(figure["high"]):.1f}"/>'
            f'<circle class="model" cx="{place(figure["value"]):.1f}" cy="{middle}" r="4"/>'
        )
    return _frame("".join(parts), height, words)


def _x(share: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * share


def _y(share: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - share)


def _axes(across: str, up: str) -> str:
    """Both axes from 0 to 100 %, with their names."""
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<path class="grid" d="M{_x(0)} {_y(share):.1f}H{_x(1)}"/>')
        parts.append(_text(_x(0) - 6, _y(share) + 4, f"{share:.0%}", "end"))
        parts.append(_text(_x(share), _y(0) + 14, f"{share:.0%}", "middle"))
    parts.append(_text((_x(0) + _x(1)) / 2, _HEIGHT - 8, across, "middle"))
    if up:
        middle = (_y(0) + _y(1)) / 2
        parts.append(
            f'<text transform="rotate(-90 10 {middle:.1f})" x="10" y="{middle:.1f}" text-anchor="middle">'
            f"{escape(up)}</text>"
        )
    return "".join(parts)


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _frame(content: str, height: Any, words: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(words)}"'
        f' xmlns="http://www.w3.org/2000/svg">{content}</svg>'
    )
