"""When a request came: numbers of any unit, ISO times and what Parquet has, on one clock.

Nothing is believed that is of no sensible year: a unit that is mistaken makes every verdict wrong without a word.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from datetime import UTC, date, datetime, time
from typing import Any, Literal

import numpy as np

from rankd.datafiles import Seconds, UnusableRowError, number_of, shown, text_of
from rankd.errors import ConfigError
from rankd.replay.trace.trace import Floats

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Seconds in a unit of arrivals that are numbers."""
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC).timestamp(), datetime(2100, 1, 1, tzinfo=UTC).timestamp()
"""Seconds since 1970 of the years that are believed. In any two units these are different numbers."""
LONGEST = 1e8
"""Seconds since the start of a trace that are believed: three years."""
_DAY = 86_400
_EXCEL = 36_526, 73_051
"""What 2000 and 2100 are in days since 1900, as Excel has them."""
_EXCEL_SPAN = 40
_COARSE = 10
"""Seconds; clocks are finer."""
_FEWEST = 4

Clock = Literal["epoch", "start", "day"]
_CLOCKS = {"epoch": "a date", "start": "seconds since a start", "day": "a time of day"}


class ArrivalClock:
    """Makes seconds of arrivals, all by one clock: the first one's."""

    def __init__(self, unit: str | None) -> None:
        """Read numbers as of ``unit``, of ``UNITS``; None: seconds, and epochs of whichever unit they must be of."""
        self._unit = unit
        self._clock: Clock | None = None
        self._last = 0.0
        self.recognised: Counter[str] = Counter()
        """Arrivals that were taken for epochs of another unit than seconds."""

    def take(self, value: Any, column: str) -> float:
        """Seconds, by the clock of the first arrival.

        Args:
            value: a number, as such or in text; an ISO time; ``Seconds``.
            column: as its user calls it.

        Raises:
            UnusableRowError: it is no time, of no sensible year, or by another clock than the first.
        """
        clock, seconds, unit = self._read(value, shown(column))
        if self._clock is None:
            self._clock = clock
        if clock != self._clock:
            raise UnusableRowError(f"{shown(column)} is {_CLOCKS[clock]}, and the first one is {_CLOCKS[self._clock]}")
        if clock == "day":  # past midnight it begins again: it is the one that is nearest to the one before
            seconds += _DAY * round((self._last - seconds) / _DAY)
        self._last = seconds
        if unit is not None:
            self.recognised[unit] += 1
        return seconds

    def take_if_any(self, value: Any, column: str) -> float:
        """Seconds as ``take`` has them; those of the row before where a value is none, or is no time."""
        try:
            return self._last if value is None else self.take(value, column)
        except UnusableRowError:
            return self._last

    def _read(self, value: Any, name: str) -> tuple[Clock, float, str | None]:
        number = number_of(value)
        if number is not None:
            return self._read_number(number, name)
        if not isinstance(value, Seconds):
            value = _parsed(text_of(value) or "", name)
        if value.kind == "date":
            raise UnusableRowError(f"{name} is a date without a time of day")
        if value.kind == "day":
            return "day", value.value, None
        if value.kind == "duration":
            if abs(value.value) >= LONGEST:
                raise UnusableRowError(f"{name} is more than three years after the start")
            return "start", value.value, None
        if not FIRST <= value.value < LAST:
            raise UnusableRowError(f"{name} is not of the years 2000 to 2099")
        return "epoch", value.value, None

    def _read_number(self, number: float, name: str) -> tuple[Clock, float, str | None]:
        try:
            number = float(number)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise UnusableRowError(f"{name} is not a finite number")
        unit = self._unit or "s"
        if (clock := _clock_of(number * UNITS[unit])) is not None:
            return clock, number * UNITS[unit], None
        other = next((u for u, scale in UNITS.items() if _clock_of(number * scale) == "epoch"), None)
        if other is None:
            units = ", ".join(UNITS)
            raise UnusableRowError(f"{name} is of no sensible year in {unit} (--time-unit takes {units})")
        if self._unit is None:
            return "epoch", number * UNITS[other], other
        raise UnusableRowError(f"{name} is of no sensible year in {unit}: give --time-unit {other}")

    def taken_for_seconds(self, arrivals: Floats) -> bool:
        """Whether whole numbers from a small one on were taken for seconds, as nobody gave a unit."""
        return self._clock == "start" and self._unit is None and bool((arrivals == np.rint(arrivals)).all())

    def likely_unit(self, arrivals: Floats) -> str | None:
        """The unit in which all arrivals are epochs, where by the one that was given they are seconds since a start.

        Days or weeks since that start: a clock may well count like this, and a mistaken unit makes one burst of all.
        """
        if self._unit is None or self._clock != "start":
            return None
        numbers = float(arrivals.min()) / UNITS[self._unit], float(arrivals.max()) / UNITS[self._unit]
        return next((u for u, scale in UNITS.items() if all(_clock_of(n * scale) == "epoch" for n in numbers)), None)

    def coarse_step(self, arrivals: Floats) -> float | None:
        """Seconds that epochs lie apart at least, where many came at the same: they lost digits on their way.

        As float32, which has seconds since 1970 by 128, and as 1.7E+12, as spreadsheets write them. Whole seconds and
        milliseconds are usual, and told by nobody. Infinite where all are the same; None where nothing is amiss.
        """
        if self._clock != "epoch" or len(arrivals) < _FEWEST:
            return None
        times = np.unique(arrivals)
        step = float(np.diff(times).min()) if len(times) > 1 else math.inf
        return step if step >= _COARSE and len(times) * 2 <= len(arrivals) else None

    def check(self, arrivals: Floats) -> None:
        """Refuse a trace whose arrivals are no seconds, though each might be.

        Raises:
            ConfigError: they are days as Excel counts them, or dates like 20240131.
        """
        if self._clock != "start" or len(arrivals) < 2 or self._unit is not None:
            return
        said = "; --time-unit s says that they are seconds"
        if _are_excel_days(arrivals):
            raise ConfigError(f"arrivals look like days since 1900, as Excel has them: write ISO times{said}")
        if _are_written_dates(arrivals):
            raise ConfigError(f"arrivals look like dates, as 20240131: write ISO times with a time of day{said}")


def _clock_of(seconds: float) -> Clock | None:
    if abs(seconds) < LONGEST:
        return "start"
    return "epoch" if FIRST <= seconds < LAST else None


def _parsed(text: str, name: str) -> Seconds:
    """An ISO time, or what is near to one: a comma before the fraction, slashes, blanks, a zone's name for UTC."""
    text = text.strip().replace(",", ".")
    text = re.sub(r"^(\d{4})/(\d\d)/(\d\d)", r"\1-\2-\3", text)
    text = re.sub(r"(?<=[\dZz])\[[\w/+-]+\]$", "", text)  # Java's [Europe/Berlin] after an offset
    text = re.sub(r"\s*(UTC|GMT|Z)$", "+00:00", text, flags=re.IGNORECASE)
    text = re.sub(r"\s+(?=[+-]\d\d:?(\d\d)?$)", "", text)
    try:
        if re.fullmatch(r"\d\d:\d\d(:\d\d(\.\d+)?)?", text):
            at = time.fromisoformat(text)
            return Seconds(at.hour * 3600 + at.minute * 60 + at.second + at.microsecond / 1e6, "day")
        found = datetime.fromisoformat(text)
        is_date = _is_date(text)
        seconds = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise UnusableRowError(f"{name} is neither a number nor an ISO time") from None
    return Seconds(seconds, "date" if is_date else "instant")


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _are_excel_days(arrivals: Floats) -> bool:
    """Whether all are of this century, and within weeks, or whole milliseconds of a day.

    A trace in seconds that begins after ten hours and ends half a minute later is hardly one; and seconds with more
    than six digits after the point are no whole milliseconds of a day.
    """
    if not ((arrivals >= _EXCEL[0]) & (arrivals < _EXCEL[1])).all():
        return False
    millis, micros = arrivals * _DAY * 1e3, arrivals * 1e6
    whole = (np.abs(millis - np.rint(millis)) < 0.02).all() and (np.abs(micros - np.rint(micros)) > 0.02).any()
    return bool(whole or np.ptp(arrivals) < _EXCEL_SPAN)


def _are_written_dates(arrivals: Floats) -> bool:
    whole = arrivals.astype(np.int64)
    year, month, day = whole // 10_000, whole // 100 % 100, whole % 100
    valid = (whole == arrivals) & (year >= 1990) & (year < 2100) & (month >= 1) & (month <= 12) & (day >= 1)
    return bool((valid & (day <= 31)).all())
