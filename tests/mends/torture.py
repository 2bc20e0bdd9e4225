"""What a sender knows when the network breaks, and what it makes of its own files when their bytes are any."""

from tests.mends import Mend

_CLIENT = "pipeline/edges/target/client.py"
_NETWORK = "tests/faults/test_network.py"

MENDS = [
    Mend(
        "network: an attempt whose body was begun is not in doubt",
        ("network",),
        "pipeline/edges/target/sealed_body.py",
        "        self.has_begun = True\n",
        "        self.has_begun = False\n",
        f"{_NETWORK}::test_what_a_sender_knows_after_each_trouble[reset_in_body-Ambiguous-False]",
    ),
    Mend(
        "network: every attempt that fails is in doubt",
        ("network",),
        "pipeline/edges/target/sealed_body.py",
        "        self.has_begun = self.is_altered = False\n",
        "        self.has_begun, self.is_altered = True, False\n",
        f"{_NETWORK}::test_nothing_was_sent_where_no_connection_was_made[refused]",
    ),
    Mend(
        "network: a POST has no limit of time",
        ("network",),
        _CLIENT,
        "timeout=aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_S)",
        "timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)",
        f"{_NETWORK}::test_what_a_sender_knows_after_each_trouble[silent_taken-Ambiguous-True]",
    ),
    Mend(
        "fuzz: counts of held rows that cannot be are taken",
        ("altered-state",),
        "pipeline/edges/store/held_log.py",
        "    if not (0 <= rows <= len(blob) and 0 <= gone <= len(blob)):\n",
        "    if False:\n",
        "tests/edges/store/test_held_log.py::test_counts_that_no_change_has",
    ),
    Mend(
        "fuzz: a schema of the ledger that is no UTF-8 is our bug",
        ("altered-state",),
        "pipeline/edges/store/ledger_file.py",
        "    except UnicodeDecodeError as error:\n",
        "    except ZeroDivisionError as error:\n",
        "tests/edges/store/test_ledger.py::test_a_schema_that_is_no_utf8_is_a_damaged_ledger",
    ),
    Mend(
        "ids: that of a new job may be another job's",
        ("set-aside",),
        "pipeline/jobs/job.py",
        "if each not in job_ids and ledger.job(each) is None)",
        "if each not in job_ids)",
        "tests/jobs/test_job.py::test_exports_that_are_alike_get_ids_of_their_own",
    ),
]
