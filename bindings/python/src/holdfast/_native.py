"""The C library: how it is called, and how its handles live."""

from __future__ import annotations

import collections
import contextlib
import json
import pathlib
import sys
import threading
from types import TracebackType
from typing import Any, Callable, Iterator, TypeVar

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
    if not isinstance(path, (str, pathlib.PurePath)):
        raise TypeError(f"a path must be a str or a pathlib.Path, not {type(path).__name__}")
    if not str(path):
        raise InvalidArgumentError("a path is empty")
    return text(str(path))


def dump(value: Any) -> bytes:
    """A value as JSON. Integers beyond 64 bits are refused: they would become other numbers."""
    try:
        _check_members(value)
        encoded = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except InvalidArgumentError:
        raise
    except UnicodeEncodeError:
        raise InvalidArgumentError("a text must be valid Unicode") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"this is no JSON: {error}") from None
    return encoded


def _check_members(value: Any) -> None:
    """Refuses what json.dumps would change without a word."""
    if isinstance(value, dict):
        for name, member in value.items():
            if not isinstance(name, str):
                raise InvalidArgumentError(f"the names of an object's members are texts, not {type(name).__name__}")
            if not isinstance(member, str):
                _check_members(member)
    elif isinstance(value, (list, tuple)):
        for element in value:
            if not isinstance(element, str):
                _check_members(element)
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise InvalidArgumentError("an integer must be from -2**63 to 2**64-1: use a text for longer ones")


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
    """Raises what a call's code says, or the exception of a callback that made it fail."""
    error: BaseException | None = None
    if code != lib.HF_OK:  # its message is read before anything else is called
        message = ffi.string(lib.hf_error_message()).decode(errors="replace")
        name = ffi.string(lib.hf_code_name(code)).decode()
        error = MemoryError(message) if name == "out_of_memory" else BY_CODE.get(name, InternalError)(message)
    raised = take_raised()
    _close_abandoned()
    if error is not None:
        raise raised or error
    if raised is not None:
        report_unraisable(raised)


def take_raised() -> BaseException | None:
    raised, _thread.raised = getattr(_thread, "raised", None), None
    return raised


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
            result = function(*arguments)
            return None if failed is None else result
        except BaseException as error:
            report(error)
            return failed
        finally:
            _thread.depth -= 1

    def not_entered(kind: object, error: BaseException, trace: object) -> None:
        report(error)

    otherwise = {} if failed is None else {"error": failed}
    return ffi.callback(declaration, guarded, onerror=not_entered, **otherwise)


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
            take_raised()
            _close_abandoned()
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


def report_unraisable(error: BaseException) -> None:
    sys.unraisablehook(_Unraisable(error))  # type: ignore[arg-type]


def lasting(declaration: str, function: Callable[..., Any], failed: Any = None, raises: bool = False) -> Any:
    """A C function for later calls: keep it as long as those may come. What `function` raises is raised
    from the call that fails by it (`raises`), or reported by sys.unraisablehook."""

    def report(error: BaseException) -> None:
        if raises:
            _thread.raised = error
        else:
            report_unraisable(error)

    return _callback(declaration, function, failed, report)


class _Family:
    """The handles that were made from one, and itself: which are open, and what C may call of them.
    Callbacks are freed once C has closed their handle, or one that it was made from."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[int, list[Any]]] = {}  # by number: the parent's, the callbacks

    def add(self, number: int, parent: int) -> None:
        self._open[number] = (parent, [])

    def is_open(self, number: int) -> bool:
        return number in self._open

    def keep(self, number: int, made: Any) -> None:
        self._open[number][1].append(made)

    def closed(self, number: int) -> None:
        self._open.pop(number, None)
        for child, (parent, _) in list(self._open.items()):
            if parent == number:
                self.closed(child)


# Handles that were collected: closed as soon as no callback runs on the thread, and no transaction is open.
_abandoned: collections.deque[tuple[str, Any, int, _Family]] = collections.deque()


def _close_abandoned() -> None:
    if not _abandoned or getattr(_thread, "depth", 0) > 0 or getattr(_thread, "transactions", 0) > 0:
        return
    for _ in range(len(_abandoned)):
        try:
            close, pointer, number, family = _abandoned.popleft()
        except IndexError:
            return
        if family.is_open(number) and getattr(lib, close)(pointer) == lib.HF_OK:
            family.closed(number)  # otherwise its parent is being closed, and frees the rest


class Handle:
    """Something of the library's that is closed. Closing it twice does nothing; closing what it was
    made from closes it, too."""

    _close: str  # the C function's name
    _lasts = False  # until it is closed, or what it was made from, though nobody holds it

    def __init__(self, pointer: Any, parent: Handle | None = None) -> None:
        self._cell = [pointer]  # popping is one step: two threads close it once
        self._parent = parent
        self._number = int(ffi.cast("uintptr_t", pointer))
        self._family: _Family = _Family() if parent is None else parent._family
        self._family.add(self._number, 0 if parent is None else parent._number)

    @property
    def closed(self) -> bool:
        if not self._cell or not self._family.is_open(self._number):
            return True
        return self._parent is not None and self._parent.closed

    @property
    def _pointer(self) -> Any:
        try:
            if not self.closed:
                return self._cell[0]
        except IndexError:
            pass
        raise MisuseError(f"this {type(self).__name__} is closed")

    def _keep(self, made: Any) -> None:
        """Callbacks that C may call as long as this is open."""
        self._family.keep(self._number, made)

    def close(self) -> None:
        was_closed = self.closed
        try:
            pointer = self._cell.pop()
        except IndexError:
            return
        if was_closed:
            return
        _close_abandoned()
        code = getattr(lib, self._close)(pointer)
        if code == lib.HF_OK:
            self._family.closed(self._number)
        elif self._parent is not None and self._parent.closed:
            return  # which closes this one, too
        else:
            self._cell.append(pointer)
        check(code)

    def __reduce__(self) -> Any:
        raise TypeError(f"a {type(self).__name__} cannot be copied")

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            if not self._lasts and self._family.is_open(self._number):
                _abandoned.append((self._close, self._cell.pop(), self._number, self._family))
                _close_abandoned()
        except (AttributeError, IndexError, TypeError):
            pass  # never opened, closed already, or the interpreter ends


class Subscription(Handle):
    """An observer's registration: after close() it is not called any more. Lasts until then, or until
    what it observes is closed."""

    _close = "hf_subscription_close"
    _lasts = True


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
