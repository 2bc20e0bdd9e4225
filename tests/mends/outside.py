"""Files and directories of the operator that are of another kind than they ought to be."""

from tests.mends import Mend

_FILE = "tests/cli/test_surroundings.py::TestConfigurationFile"
_DIRECTORIES = "tests/cli/test_surroundings.py::TestDirectories"

MENDS = [
    Mend(
        "outside: a configuration that is a pipe is not read",
        ("operator", "fifo"),
        "pipeline/settings/file_text.py",
        "        if not stat.S_ISREG(os.fstat(descriptor).st_mode):",
        "        if False:",
        f"{_FILE}::test_one_that_is_none[fifo-is a pipe or a device]",
    ),
    Mend(
        "outside: a configuration is not read whole, however long it is",
        ("operator",),
        "pipeline/settings/file_text.py",
        "    if len(content) > MAX_BYTES:",
        "    if False:",
        f"{_FILE}::test_one_that_is_none[huge-is longer than]",
    ),
    Mend(
        "outside: a variable that is nested without end",
        ("operator",),
        "pipeline/settings/environment.py",
        "(SettingsError, RecursionError)",
        "SettingsError",
        f"{_FILE}::test_a_variable_that_is_nested_without_end",
    ),
    Mend(
        "outside: a ledger that is a pipe is not waited for",
        ("operator", "fifo"),
        "pipeline/edges/store/ledger_file.py",
        "    if not is_file:\n",
        "    if False:\n",
        f"{_DIRECTORIES}::test_a_ledger_that_is_no_file[fifo-is no file]",
    ),
    Mend(
        "outside: a link that leads nowhere is no new ledger",
        ("operator", "old-state"),
        "pipeline/edges/store/ledger_file.py",
        "            if path.is_symlink():",
        "            if False:",
        f"{_DIRECTORIES}::test_a_ledger_that_is_no_file[link-nowhere]",
    ),
    Mend(
        "outside: a file of somebody else in the spool is no batch",
        ("operator",),
        "pipeline/edges/store/spool.py",
        " for batch_id in found if batch_id <= _MAX_BATCH_ID}",
        " for batch_id in found}",
        "tests/edges/store/test_spool.py::TestSweep::test_files_of_others_stay_and_are_no_batches",
    ),
    Mend(
        "outside: a lock that is a pipe is not waited for",
        ("operator", "fifo"),
        "pipeline/edges/lock.py",
        "os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)",
        "os.O_RDONLY | os.O_CLOEXEC)",
        f"{_DIRECTORIES}::test_a_lock_that_is_a_pipe",
    ),
    Mend(
        "outside: no memory for a library",
        ("operator",),
        "pipeline/__main__.py",
        "    except (ImportError, MemoryError) as error:",
        "    except KeyError as error:",
        "tests/cli/test_surroundings.py::TestLimits::test_no_memory_for_a_library",
    ),
    Mend(
        "outside: no memory for a library that is imported later",
        ("operator",),
        "pipeline/edges/process/machine.py",
        "    if isinstance(error, ImportError):",
        "    if False:",
        "tests/cli/test_surroundings.py::TestLimits::test_no_memory_for_a_library_that_is_imported_later",
    ),
    Mend(
        "outside: a drop directory that leads to itself",
        ("operator",),
        "pipeline/edges/durable.py",
        "    return Path(os.path.realpath(path))",
        "    return path.resolve()",
        f"{_DIRECTORIES}::test_a_drop_directory_that_leads_to_itself",
    ),
]
