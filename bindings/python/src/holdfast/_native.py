"""The C library: how it is called, and how its handles live."""

from __future__ import annotations

import collections
import contextlib
import json
import pathlib
import re
import sys
import threading
from types import TracebackType
from typing import Any, Callable, Iterator, Mapping, TypeVar

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
    """A value as JSON. Integers beyond 64 bits are refused: they would become other numbers."""
    try:
        encoded = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError("a text must be valid Unicode") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"this is no JSON: {error}") from None
    if _LONG_NUMBER.search(encoded):
        _check_integers(value)
    return encoded


_LONG_NUMBER = re.compile(rb"[0-9]{19}")


def _check_integers(value: Any) -> None:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise InvalidArgumentError("an integer must fit into 64 bits: use a text for longer ones")
    if isinstance(value, Mapping):
        for member in value.values():
            _check_integers(member)
    elif isinstance(value, (list, tuple)):
        for element in value:
            _check_integers(element)


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
    """Raises what a call's code says, or what a callback of it has raised."""
    if getattr(_thread, "depth", 0) == 0:
        raised, _thread.raised = getattr(_thread, "raised", None), None
        if _abandoned and getattr(_thread, "transactions", 0) == 0:
            _close_abandoned()
        if raised is not None:
            raise raised
    if code == lib.HF_OK:
        return
    message = ffi.string(lib.hf_error_message()).decode(errors="replace")
    name = ffi.string(lib.hf_code_name(code)).decode()
    if name == "out_of_memory":
        raise MemoryError(message)
    raise BY_CODE.get(name, InternalError)(message)


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


def _callback(
    declaration: str, function: Callable[..., Any], failed: Any, report: Callable[[BaseException], None]
) -> Any:
    """A C function that calls `function`, and gives `failed` where that raises or cannot be entered."""

    def guarded(*arguments: Any) -> Any:
        _thread.depth = getattr(_thread, "depth", 0) + 1
        try:
            return function(*arguments)
        except BaseException as error:
            report(error)
            return failed
        finally:
            _thread.depth -= 1

    def not_entered(kind: object, error: BaseException, trace: object) -> None:
        report(error)

    result = {} if failed is None else {"error": failed}
    return ffi.callback(declaration, guarded, onerror=not_entered, **result)


class Callbacks:
    """The callbacks of one call. What one raises ends the call, and is raised from it."""

    def __init__(self) -> None:
        self._kept: list[Any] = []
        self._raised: BaseException | None = None

    def make(self, declaration: str, function: Callable[..., Any], failed: Any = None) -> Any:
        def unless_raised(*arguments: Any) -> Any:
            return failed if self._raised is not None else function(*arguments)

        made = _callback(declaration, unless_raised, failed, self._keep)
        self._kept.append(made)
        return made

    def _keep(self, error: BaseException) -> None:
        if self._raised is None:
            self._raised = error

    def call(self, function: Callable[..., int], *arguments: Any) -> None:
        code = function(*arguments)
        if self._raised is not None:
            raise self._raised
        check(code)


@contextlib.contextmanager
def in_transaction() -> Iterator[None]:
    _thread.transactions = getattr(_thread, "transactions", 0) + 1
    try:
        yield
    finally:
        _thread.transactions -= 1


class _Unraisable:
    def __init__(self, error: BaseException) -> None:
        self.exc_type, self.exc_value, self.exc_traceback = type(error), error, error.__traceback__
        self.err_msg, self.object = "in a callback of Holdfast", None


def lasting(declaration: str, function: Callable[..., Any], failed: Any = None, raises: bool = False) -> Any:
    """A C function for later calls: keep it as long as those may come. What `function` raises is raised
    from the call that it is part of (`raises`), or reported by sys.unraisablehook."""

    def report(error: BaseException) -> None:
        if raises:
            _thread.raised = error
        else:
            sys.unraisablehook(_Unraisable(error))  # type: ignore[arg-type]

    return _callback(declaration, function, failed, report)


# Handles whose objects were collected where they could not be closed: (function, pointer, what is kept).
_abandoned: collections.deque[tuple[Any, Any, Any]] = collections.deque()


def _close_abandoned() -> None:
    for _ in range(len(_abandoned)):
        try:
            function, pointer, kept = _abandoned.popleft()
        except IndexError:
            return
        if function(pointer) != lib.HF_OK:
            _never_freed.append(kept)  # C may still call what is in it


_never_freed: list[Any] = []


class Handle:
    """Something of the library's that is closed. Closing it twice does nothing; closing what it was
    made from closes it, too."""

    _close: str  # the C function's name

    def __init__(self, pointer: Any, parent: Handle | None = None) -> None:
        self._cell = [pointer]  # popping is one step: two threads close it once
        self._parent = parent
        self._kept: list[Any] = []  # callbacks that the library may call
        self._children: dict[int, Handle] = {}  # observers, which live until they are closed

    @property
    def closed(self) -> bool:
        return not self._cell or (self._parent is not None and self._parent.closed)

    @property
    def _pointer(self) -> Any:
        try:
            if not self.closed:
                return self._cell[0]
        except IndexError:
            pass
        raise MisuseError(f"this {type(self).__name__} is closed")

    def _adopt(self, child: Handle) -> None:
        self._children[id(child)] = child

    def close(self) -> None:
        try:
            was_closed = self.closed
            pointer = self._cell.pop()
        except IndexError:
            return
        if not was_closed:
            code = getattr(lib, self._close)(pointer)
            if code != lib.HF_OK:
                self._cell.append(pointer)
            check(code)
        if self._parent is not None:
            self._parent._children.pop(id(self), None)
        self._children.clear()
        self._kept.clear()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Where it is collected, a callback may run, or a transaction be open: it is closed after that,
        # and what C may call is kept until then.
        try:
            was_closed = self.closed
            pointer = self._cell.pop()
        except (IndexError, AttributeError):
            return
        if not was_closed:
            _abandoned.append((getattr(lib, self._close), pointer, (self._kept, self._children)))
            if getattr(_thread, "depth", 0) == 0 and getattr(_thread, "transactions", 0) == 0:
                _close_abandoned()


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
