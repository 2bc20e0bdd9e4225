"""What was put in place of small files of the state is neither followed nor waited for."""

from tests.mends import Mend

_MAILBOX = "tests/edges/store/test_mailbox.py::test_what_is_no_file_is_neither_waited_for_nor_followed"
_HEARTBEAT = (
    "tests/edges/store/test_heartbeat_file.py::test_what_was_put_in_its_place_is_neither_waited_for_nor_followed"
)

MENDS = [
    Mend(
        "attack: a link in the mailbox is no request",
        ("replaced",),
        "pipeline/edges/durable.py",
        "os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)",
        "os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)",
        f"{_MAILBOX}[request]",
    ),
    Mend(
        "attack: a long request is not read whole",
        ("replaced",),
        "pipeline/edges/durable.py",
        "    if len(content) > max_bytes:",
        "    if False:",
        f"{_MAILBOX}[answer]",
    ),
    Mend(
        "attack: the age of a request is its own, not that of what it leads to",
        ("replaced",),
        "pipeline/edges/store/mailbox.py",
        "file.lstat()",
        "file.stat()",
        f"{_MAILBOX}[request]",
    ),
    Mend(
        "attack: the heartbeat follows no link",
        ("replaced",),
        "pipeline/edges/store/heartbeat_file.py",
        "_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC",
        "_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC",
        _HEARTBEAT,
    ),
    Mend(
        "attack: the heartbeat is a file",
        ("replaced",),
        "pipeline/edges/store/heartbeat_file.py",
        "        if not S_ISREG(os.fstat(descriptor).st_mode):\n            os.close",
        "        if False:\n            os.close",
        _HEARTBEAT,
    ),
    Mend(
        "attack: a link in place of the folder of a job is not followed",
        ("replaced",),
        "pipeline/edges/store/job_folder.py",
        "        if self.directory.is_symlink():",
        "        if False:",
        "tests/edges/store/test_job_folder.py::test_a_link_in_its_place_is_not_followed",
    ),
    Mend(
        "attack: nothing is deleted behind a link",
        ("replaced",),
        "pipeline/service/prune.py",
        "        if folder.is_symlink():",
        "        if False:",
        "tests/service/test_prune.py::test_nothing_is_deleted_behind_a_link",
    ),
    Mend(
        "attack: a pipe in place of the mark is not waited for",
        ("replaced",),
        "pipeline/edges/store/mark.py",
        "content = read_file(path, max_bytes=_MAX_BYTES)",
        "content = os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 1 << 20)",
        "tests/edges/store/test_mark.py::test_a_pipe_in_its_place_is_not_waited_for",
    ),
]
