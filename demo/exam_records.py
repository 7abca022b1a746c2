"""What the boards' API gives out: records read from CSV files, again whenever a file has changed."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from demo.exams import SAT_COLUMNS, WAEC_COLUMNS
from elt.errors import ConfigurationError

Record = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class RecordKind:
    """One kind of record: its columns, which of them is the school's number, and what orders the records.

    `order` tells the records of a school and year apart, so that pages stay what they are.
    """

    name: str
    columns: tuple[str, ...]
    school: str
    order: tuple[str, ...]
    whole_numbers: tuple[str, ...]


WAEC = RecordKind(
    "WAEC records",
    WAEC_COLUMNS,
    "school_exam_id",
    ("exam_number", "subjects"),
    ("school_exam_id", "exam_year"),
)
SAT = RecordKind(
    "SAT scores", SAT_COLUMNS, "ceeb_code", ("registration_number",), ("ceeb_code", "exam_year", "sat_score")
)
_KINDS = (WAEC, SAT)

_Group = tuple[str, int, int]  # name of the kind, school, year
_State = tuple[tuple[str, int, int], ...]  # of each file: path, time of change, size


class ExamRecords:
    """The records of one file or of all `*.csv` of a folder. A file's header says what its records are."""

    def __init__(self, source: Path) -> None:
        """Read them.

        Raises:
            ConfigurationError: there is no such file, or one is not as it should be; names it.
        """
        self._source = source
        self._lock = Lock()
        self._state = self._look()
        self._records = self._read()

    def find(self, kind: RecordKind, school: int, year: int) -> list[Record]:
        """The records of a school in a year, in their order.

        Raises:
            ConfigurationError: a file has changed and is not as it should be.
        """
        with self._lock:
            state = self._look()
            if state != self._state:
                self._records = self._read()
                self._state = state
            return self._records.get((kind.name, school, year), [])

    def _files(self) -> list[Path]:
        return sorted(self._source.glob("*.csv")) if self._source.is_dir() else [self._source]

    def _look(self) -> _State:
        try:
            found = [(path, path.stat()) for path in self._files()]
        except OSError as error:
            raise ConfigurationError(f"{self._source}: {error.strerror}.") from None
        if not found:
            raise ConfigurationError(f"{self._source} has no *.csv. `laurel demo-school` writes such files.")
        return tuple((str(path), status.st_mtime_ns, status.st_size) for path, status in found)

    def _read(self) -> dict[_Group, list[Record]]:
        groups: dict[_Group, list[Record]] = defaultdict(list)
        for path in self._files():
            kind, records = _read_file(path)
            for record in records:
                groups[kind.name, int(record[kind.school]), int(record["exam_year"])].append(record)
        for (name, _, _), records in groups.items():
            kind = next(kind for kind in _KINDS if kind.name == name)
            records.sort(key=lambda record, kind=kind: [record[column] for column in kind.order])  # type: ignore[misc]
        return dict(groups)


def _read_file(path: Path) -> tuple[RecordKind, list[Record]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = tuple(next(reader, ()))
            kind = next((kind for kind in _KINDS if kind.columns == header), None)
            if kind is None:
                expected = " or ".join(", ".join(kind.columns) for kind in _KINDS)
                raise ConfigurationError(f"{path} does not begin with the columns {expected}.")
            return kind, [_read_record(path, reader.line_num, kind, cells) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path} cannot be read as CSV ({type(error).__name__}).") from None


def _read_record(path: Path, line: int, kind: RecordKind, cells: list[str]) -> Record:
    if len(cells) != len(kind.columns):
        raise ConfigurationError(f"{path}, line {line}: {len(cells)} cells, expected {len(kind.columns)}.")
    record: Record = {}
    for column, cell in zip(kind.columns, cells, strict=True):
        if column not in kind.whole_numbers:
            record[column] = cell
        elif cell.isdecimal():
            record[column] = int(cell)
        else:
            raise ConfigurationError(f"{path}, line {line}, {column}: expected a whole number.")
    return record
