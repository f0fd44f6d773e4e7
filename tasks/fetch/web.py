"""Asking servers over HTTP with patience: serves ``agd data fetch``.

In: addresses. Out: JSON, or a file that grows where it was cut off. A server that is busy or away
for a moment is asked again; what does not pass is said with a next step.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from structure.errors import DataError

if TYPE_CHECKING:
    import httpx

TRIES = 6
"""Chosen: with the waits between them, half a minute of a server that is away is bridged."""
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
"""Chosen: of one wait. A server that asks for a longer one is left alone."""
TIMEOUT_S = 60.0

AGAIN = "Run the same command again: it goes on where it stopped."
_BUSY = (429, 500, 502, 503, 504)


class Web:
    """A client that asks again.

    Parameters
    ----------
    key : str, optional
        Goes along as ``X-API-KEY``; never shown.
    wait : callable, default `time.sleep`
        Takes seconds.
    """

    def __init__(self, key: str = "", wait: Callable[[float], None] = time.sleep):
        import httpx

        agent = {"User-Agent": "agd-pipeline", "Accept-Encoding": "gzip"}
        self._client = httpx.Client(
            headers={**agent, "X-API-KEY": key} if key else agent,
            timeout=TIMEOUT_S,
            follow_redirects=True,
        )
        self._wait, self._keyed = wait, bool(key)

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def json(self, address: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what a server answers.

        Raises
        ------
        DataError
            If it cannot be reached, refuses, or answers something else than a JSON object.
        """

        def ask() -> dict[str, Any]:
            answer = self._client.get(address, params=dict(parameters) if parameters else None)
            _refuse(answer, self._keyed)
            found = answer.json()
            if not isinstance(found, dict):
                raise ValueError("it is no object")
            return found

        return self._patiently(address, ask)

    def file(self, address: str, target: Path) -> None:
        """Download a file; what an earlier call left at `target` is not asked for again.

        Raises
        ------
        DataError
            As for `json`, or if the disk is full.
        """

        def ask() -> None:
            have = target.stat().st_size if target.exists() else 0
            headers = {"Range": f"bytes={have}-"} if have else {}
            headers["Accept-Encoding"] = "identity"
            with self._client.stream("GET", address, headers=headers) as answer:
                if answer.status_code == 416:
                    return  # nothing is left to ask for
                if answer.is_error:
                    answer.read()
                _refuse(answer, self._keyed)
                mode = "ab" if answer.status_code == 206 else "wb"
                with _writing(target, mode) as out:
                    for part in answer.iter_bytes():
                        out.write(part)

        self._patiently(address, ask)

    def _patiently(self, address: str, ask: Callable[[], Any]) -> Any:
        import httpx

        host = urlsplit(address).netloc
        wait = FIRST_WAIT_S
        for attempt in range(1, TRIES + 1):
            try:
                return ask()
            except _BusyError as error:
                reason, asked_to = str(error), error.seconds
            except httpx.TransportError as error:
                reason, asked_to = str(error) or type(error).__name__, None
            except ValueError as error:
                raise DataError(
                    f"{host} answers something else than JSON: {error}",
                    where=_shown(address),
                    fix="Check the address in a browser.",
                ) from error
            if asked_to is not None and asked_to > LONGEST_WAIT_S:
                raise DataError(
                    f"{host} asks to be left alone for {asked_to:.0f} s: {reason}",
                    where=_shown(address),
                    fix=f"Wait as long. {AGAIN}",
                )
            if attempt < TRIES:
                self._wait(min(asked_to or wait, LONGEST_WAIT_S))
                wait *= 2
        raise DataError(
            f"{host} did not answer, asked {TRIES} times: {reason}",
            where=_shown(address),
            fix=f"Check the network and the provider's status page. {AGAIN}",
        )


class _BusyError(Exception):
    """A server that may be asked again, with the seconds that it names."""

    def __init__(self, reason: str, seconds: float | None):
        super().__init__(reason)
        self.seconds = seconds


def _refuse(answer: httpx.Response, keyed: bool) -> None:
    """Raise what an answer that is none means."""
    status, host = answer.status_code, urlsplit(str(answer.url)).netloc
    if not answer.is_error:
        return
    told = _reason(answer)
    if status in _BUSY:
        named = answer.headers.get("Retry-After", "")
        raise _BusyError(f"{status} {told}", float(named) if named.isdecimal() else None)
    if keyed and status in (401, 403):
        raise DataError(
            f"{host} refuses the key: {status} {told}",
            where=_shown(str(answer.url)),
            fix="Check the key on your account's page there, and set it again.",
        )
    raise DataError(
        f"{host} refuses the question: {status} {told}",
        where=_shown(str(answer.url)),
        fix="Check the address, `--property` and `--elements`.",
    )


def _reason(answer: httpx.Response) -> str:
    """Return what a server says of an error, shortly: OPTIMADE's list, a detail, or its text."""
    try:
        found = answer.json()
        errors = found.get("errors") or [found]
        told = errors[0].get("detail") or errors[0].get("title") or errors[0].get("message")
    except (ValueError, AttributeError, IndexError, KeyError):
        told = None
    return " ".join(str(told or answer.reason_phrase).split())[:200]


def _shown(address: str) -> str:
    """Return an address without its parameters."""
    return address.partition("?")[0]


class _writing:  # noqa: N801  (a context manager, used as a function)
    """Open a file to write; say plainly that the disk is full."""

    def __init__(self, target: Path, mode: str):
        self._target, self._mode = target, mode

    def __enter__(self) -> Any:
        self._handle = self._target.open(self._mode)
        return self._handle

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            self._handle.flush()
            os.fsync(self._handle.fileno())
            self._handle.close()
        except OSError as full:
            error = error if isinstance(error, OSError) else full
        if isinstance(error, OSError):
            raise DataError(
                f"cannot write the file: {error.strerror or error}",
                where=self._target,
                fix=f"Free disk space. {AGAIN}",
            ) from error
