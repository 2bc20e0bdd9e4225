"""The file operations of a program, as strace sees them: each call with its times, arguments and data."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

#: What changes files or names, makes changes durable, or decides which file a descriptor stands for.
CALLS = (
    *("open", "openat", "creat", "close", "dup", "dup2", "dup3", "lseek"),
    *("write", "writev", "pwrite64", "ftruncate", "truncate", "fsync", "fdatasync"),
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"),
)
_BEGUN = re.compile(r"(\d+) +(\d+\.\d+) (\w+)\((.*)")
_ENDED = re.compile(r"(.*)\) += (-?\d+)(?: .*)?$", re.DOTALL)
#: Longer than any write of the exports of these tests; strace keeps a buffer of that size for each call.
_LONGEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that had an effect. Times are seconds since 1970; strings of `arguments` are bytes."""

    began: float
    ended: float
    name: str
    arguments: tuple[bytes | str, ...]
    result: int

    def number(self, place: int) -> int:
        """A number among its arguments."""
        return int(self.arguments[place], 0)

    def path(self, place: int) -> str:
        """A path among its arguments."""
        value = self.arguments[place]
        assert isinstance(value, bytes), (self.name, self.arguments)
        return value.decode()


def traced(log: Path, command: Sequence[str], *, inject: str = "") -> list[str]:
    """The command under strace, which writes `log`; `inject`: what happens to one of its calls, in strace's words."""
    # With the filter, which makes it faster, strace would do nothing to any call.
    injecting = f"-einject={inject}" if inject else "--seccomp-bpf"
    how = ["-f", "-q", injecting, "-ttt", "-xx", "-s", str(_LONGEST_BYTES), "-o", str(log)]
    return ["strace", *how, f"-etrace={','.join(CALLS)}", *command]


def calls_in(log: Path) -> list[Call]:
    """The calls of a log that succeeded, in the order in which they took effect."""
    found = list(_read(log))
    # The number of a file that is being closed may be given to another one before the call is seen to end.
    return sorted(found, key=lambda call: call.began if call.name == "close" else call.ended)


def _read(log: Path) -> Iterator[Call]:
    begun: dict[str, tuple[float, str, str]] = {}
    for line in log.read_text().splitlines():
        thread, _, rest = line.partition(" ")
        if match := re.match(r" *(\d+\.\d+) <\.\.\. (\w+) resumed>(.*)", rest):
            began, name, text = begun.pop(thread)
            text, ended = text + match[3], float(match[1])
        elif match := _BEGUN.match(line):
            began = ended = float(match[2])
            name, text = match[3], match[4]
            if text.endswith("<unfinished ...>"):
                begun[thread] = began, name, text.removesuffix("<unfinished ...>").rstrip()
                continue
        else:
            continue
        if (done := _ENDED.match(text)) and int(done[2]) >= 0:
            yield Call(began, ended, name, tuple(map(_argument, done[1].split(", "))), int(done[2]))


def _argument(text: str) -> bytes | str:
    if not text.startswith('"'):
        return text
    assert text.endswith('"'), f"cut short: {text[-20:]}"
    return bytes.fromhex(text[1:-1].replace("\\x", ""))
