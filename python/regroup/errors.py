"""Exceptions, one for each code of base/result.h. `code` is its name ("kTimeout"), `detail` says what, where, what to do."""
from __future__ import annotations

import builtins


class Error(RuntimeError):
    code = "kOk"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail


class TimeoutError(Error, builtins.TimeoutError):
    """The wait's deadline passed; the operation is still pending, nothing was abandoned."""
    code = "kTimeout"


class Unavailable(Error):
    """Too few members, or no coordinator, for longer than the bound; this member is finished."""
    code = "kUnavailable"


class ViewChanged(Error):
    """The operation's shape was the membership, and that changed; buffers intact; look at view() and go on."""
    code = "kViewChanged"


class Mismatch(Error):
    """Two members gave different counts, types or operations; buffers intact; go on."""
    code = "kMismatch"


class Cancelled(Error):
    """A member asked for the operation to fail; buffers intact; go on."""
    code = "kCancelled"


class Evicted(Error):
    """The view went on without this member; it has rejoined, its registered state is restored."""
    code = "kEvicted"


class Invalid(Error, ValueError):
    """A bad argument; nothing was submitted."""
    code = "kInvalid"


class ConfigError(Error, ValueError):
    """Configurations differ, an unknown option, or a value out of range."""
    code = "kConfig"


class Refused(Error):
    """Wrong log, secret or version, or a duplicate member."""
    code = "kRefused"


class SystemFailure(Error, OSError):
    """The operating system said no; errno is in the detail."""
    code = "kSystem"


class NoMemory(Error, MemoryError):
    """Memory could not be had, or the operation needs more than staging_bytes."""
    code = "kNoMemory"


class Unsupported(Error):
    """Not here."""
    code = "kUnsupported"


class Closed(Error):
    """The group has been left or closed."""
    code = "kClosed"


_BY_CODE = (Error, TimeoutError, Unavailable, ViewChanged, Mismatch, Cancelled, Evicted, Invalid, ConfigError, Refused,
            SystemFailure, NoMemory, Unsupported, Closed)


def make(code: int, detail: str) -> Error:
    """The exception of a code's number."""
    return _BY_CODE[code](detail)
