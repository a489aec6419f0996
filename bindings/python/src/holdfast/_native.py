"""The C library: how it is called, and how its handles live."""

from __future__ import annotations

import json
import pathlib
import threading
import warnings
from types import TracebackType
from typing import Any, Callable, TypeVar

from holdfast._abi import ffi as _ffi
from holdfast.errors import BY_CODE, InternalError, InvalidArgumentError, MisuseError

ffi: Any = _ffi
lib: Any = ffi.dlopen(str(pathlib.Path(__file__).with_name("libholdfast.so")))
NULL: Any = ffi.NULL

_thread = threading.local()
Self = TypeVar("Self", bound="Handle")


def text(value: str) -> bytes:
    """A text as C takes it; its end is a NUL, so that it cannot hold one."""
    if not isinstance(value, str):
        raise TypeError(f"this must be a str, not {type(value).__name__}")
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError("a text must be valid Unicode") from None
    if b"\0" in encoded:
        raise InvalidArgumentError("a text cannot hold a NUL")
    return encoded


def text_or_null(value: str | None) -> Any:
    return NULL if value is None else text(value)


def path_text(path: str | pathlib.PurePath) -> bytes:
    return text(str(path))


def dump(value: Any) -> bytes:
    """A value as JSON. Integers beyond 64 bits are refused: other languages could not read them."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError
        raise InvalidArgumentError(f"this is no JSON: {error}") from None


def take(pointer: Any) -> str:
    """A text that the library gave, which is then freed."""
    try:
        return str(ffi.string(pointer).decode())
    finally:
        lib.hf_free(pointer)


def decode(pointer: Any) -> str:
    """A text that a callback was given."""
    return str(ffi.string(pointer).decode())


def check(code: int) -> None:
    if code == lib.HF_OK:
        return
    message = ffi.string(lib.hf_error_message()).decode(errors="replace")
    name = ffi.string(lib.hf_code_name(code)).decode()
    if name == "out_of_memory":
        raise MemoryError(message)
    raise BY_CODE.get(name, InternalError)(message)


def new(declaration: str) -> Any:
    return ffi.new(declaration)


def text_out(function: Callable[..., int], *arguments: Any) -> str | None:
    """Calls a function whose last argument is a char**."""
    out = ffi.new("char**")
    check(function(*arguments, out))
    return None if out[0] == NULL else take(out[0])


def text_of(function: Callable[..., int], *arguments: Any) -> str:
    """The same, for one that always gives a text."""
    found = text_out(function, *arguments)
    assert found is not None
    return found


def loads_out(out: Any) -> Any:
    """JSON that is in a char** already; the caller frees it."""
    return json.loads(decode(out[0]))


def json_out(function: Callable[..., int], *arguments: Any) -> Any:
    found = text_out(function, *arguments)
    return None if found is None else json.loads(found)


def value_out(declaration: str, function: Callable[..., int], *arguments: Any) -> Any:
    """Calls a function whose last argument points to a plain value: "bool*", "uint64_t*"."""
    out = ffi.new(declaration)
    check(function(*arguments, out))
    return out[0]


class Callbacks:
    """The callbacks of one call. What one raises ends the call, and is raised from it."""

    def __init__(self) -> None:
        self._kept: list[Any] = []
        self._raised: BaseException | None = None

    def make(self, declaration: str, function: Callable[..., Any], failed: Any = None) -> Any:
        """A C function that calls `function`; gives `failed` where that raises."""

        def guarded(*arguments: Any) -> Any:
            _thread.depth = getattr(_thread, "depth", 0) + 1
            try:
                if self._raised is not None:
                    return failed
                return function(*arguments)
            except BaseException as error:  # it goes on from call()
                self._raised = error
                return failed
            finally:
                _thread.depth -= 1

        made = ffi.callback(declaration, guarded)
        self._kept.append(made)
        return made

    def call(self, function: Callable[..., int], *arguments: Any) -> None:
        code = function(*arguments)
        if self._raised is not None:
            raise self._raised
        check(code)


def lasting(declaration: str, function: Callable[..., Any], failed: Any = None) -> Any:
    """A C function for later calls: keep it as long as those may come. What `function` raises is
    reported by sys.unraisablehook."""

    def guarded(*arguments: Any) -> Any:
        _thread.depth = getattr(_thread, "depth", 0) + 1
        try:
            return function(*arguments)
        finally:
            _thread.depth -= 1

    return ffi.callback(declaration, guarded, error=failed)


class Handle:
    """Something of the library's that is closed. Closing it twice does nothing; closing what it was
    made from closes it, too."""

    _close: str  # the C function's name

    def __init__(self, pointer: Any, parent: Handle | None = None) -> None:
        self._raw = pointer
        self._parent = parent
        self._kept: list[Any] = []  # callbacks that the library may call

    @property
    def closed(self) -> bool:
        return self._raw is None or (self._parent is not None and self._parent.closed)

    @property
    def _pointer(self) -> Any:
        if self.closed:
            raise MisuseError(f"this {type(self).__name__} is closed")
        return self._raw

    def close(self) -> None:
        if self.closed:
            self._raw = None
            return
        pointer = self._raw
        check(getattr(lib, self._close)(pointer))
        self._raw = None

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_raw", None) is None or self.closed:
            return
        # Within a callback it might wait for itself.
        if getattr(_thread, "depth", 0) == 0:
            try:
                getattr(lib, self._close)(self._raw)
            except (TypeError, AttributeError):
                pass  # the interpreter ends
        else:
            warnings.warn(f"a {type(self).__name__} was left open", ResourceWarning, stacklevel=2)


class Subscription(Handle):
    """An observer's registration: after close() it is not called any more."""

    _close = "hf_subscription_close"


class CancelFlag(Handle):
    """Ends a long call soon, from another thread: set() it."""

    _close = "hf_cancel_close"

    def __init__(self) -> None:
        super().__init__(value_out("hf_cancel**", lib.hf_cancel_open))

    def set(self) -> None:
        check(lib.hf_cancel_set(self._pointer))


def flag_of(cancel: CancelFlag | None) -> Any:
    return NULL if cancel is None else cancel._pointer


Progress = Callable[[str, int, int], Any]
PROGRESS = "int(void*, const char*, uint64_t, uint64_t)"


def progress_of(callbacks: Callbacks, progress: Progress | None) -> Any:
    """The callback of long work: what it returns false for stops it."""
    if progress is None:
        return NULL

    def report(_: Any, phase: Any, done: int, total: int) -> int:
        assert progress is not None
        return 1 if progress(decode(phase), done, total) is False else 0

    return callbacks.make(PROGRESS, report, 1)


def reply(into: Any, value: Any) -> None:
    check(lib.hf_reply_set(into, dump(value)))
