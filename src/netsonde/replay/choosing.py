"""Which detectors run over captures: the built-in ones, and those of a file.

The file holds what `netsonde detector list --json` prints, what `GET /v1/detectors` answers, or one
detector of it, so that a host's own can be tried on a capture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from netsonde.model.asking import checked_detector
from netsonde.model.detector import Detector, Name, check_all
from netsonde.model.detectors import BUILTIN
from netsonde.model.errors import BadField
from netsonde.model.resource import DetectorSpec
from netsonde.model.strict import read

MAX_FILE_BYTES = 1 << 20
_FIELD = "detectors"


class _Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A detector of a file; `builtin` is told by a host and says nothing here."""

    name: Name
    spec: DetectorSpec
    builtin: bool = False


class _Listed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Detectors as `/v1` lists them."""

    detectors: tuple[_Given, ...]


def chosen(path: Path | None) -> tuple[Detector, ...]:
    """Give the detectors to run: one of the file takes the place of a built-in one of its name.

    Raises BadField for a file that cannot be read, naming the detector and its field.
    """
    taken = {detector.name: detector for detector in BUILTIN}
    for given in () if path is None else _given(path):
        taken.pop(given.name, None)
        if given.spec.enabled:
            taken[given.name] = _checked(given)
    detectors = tuple(taken.values())
    check_all(detectors)
    return detectors


def _given(path: Path) -> tuple[_Given, ...]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadField(_FIELD, path, f"a readable file ({error.strerror})") from None
    if len(text) > MAX_FILE_BYTES:
        raise BadField(_FIELD, path, f"a file of at most {MAX_FILE_BYTES} bytes")
    try:
        return _read(text)
    except BadField as error:
        said = str(path) if error.field == "body" else f"{path}: {_told(error)}"
        raise BadField(_FIELD, said, error.allowed) from None


def _read(text: bytes) -> tuple[_Given, ...]:
    kind: Any = tuple[_Given, ...]
    if not text.lstrip().startswith(b"["):
        kind = _Listed if b'"detectors"' in text else _Given
    found = read(text, kind)
    if isinstance(found, _Listed):
        return found.detectors
    return (found,) if isinstance(found, _Given) else tuple(found)


def _checked(given: _Given) -> Detector:
    try:
        return checked_detector(given.name, given.spec)
    except BadField as error:
        raise BadField(_FIELD, f"{given.name}: {_told(error)}", error.allowed) from None


def _told(error: BadField) -> str:
    return f"{error.field} {'missing' if error.value is None else error.value}"[:120]
