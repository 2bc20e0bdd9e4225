"""What holds off whatever a server says."""

from tests.mends import Mend

_CLIENT = "pipeline/edges/target/client.py"
_URL = "pipeline/core/target/status_url.py"
_REPLIES = "pipeline/core/target/replies.py"
_MESSAGES = "pipeline/core/target/messages.py"
_ERRORS = "pipeline/edges/target/call_errors.py"
_URLS = "tests/core/target/test_status_url.py"
_PARSED = "tests/core/target/test_replies.py"
_CALLS = "tests/edges/target/test_call_errors.py"
_HOSTILE = "tests/e2e/test_hostile_answers.py"
_LOG = "tests/edges/test_log.py"
_SESSION = "pipeline/edges/target/session.py"
_GIVEN_UP = "tests/edges/target/test_given_up.py::test_a_post_that_was_given_up_does_not_leave_when_its_peer_reads_on"
_POLLER = "tests/edges/target/test_status_poller.py"

MENDS = [
    Mend(
        "a status URL is written as RFC 3986 has it",
        ("status-url",),
        _URL,
        'r"(?:[a-z0-9\\-._~!$&()*+,;=:@/{more}]|%[0-9a-f]{{2}})*"',
        'r"[^?#{{}}]*" if "{more}" else "{more}"',
        f"{_URLS}::test_a_hostile_url_is_not_asked_for",
    ),
    Mend(
        "the host of a status URL is one that there can be",
        ("status-url",),
        _URL,
        "if not is_host(host) or not 0 < port",
        "if not 0 < port",
        f"{_URLS}::test_a_hostile_url_is_not_asked_for",
    ),
    Mend(
        "a status URL is not too long",
        ("status-url", "cost"),
        _URL,
        "if len(returned) > MAX_URL_CHARS:",
        "if not returned:",
        f"{_URLS}::test_a_hostile_url_is_not_asked_for",
    ),
    Mend(
        "a status URL is of ASCII",
        ("status-url",),
        _URL,
        "    re.ASCII | re.IGNORECASE,",
        "    re.IGNORECASE,",
        f"{_URLS}::test_a_hostile_url_is_not_asked_for",
    ),
    Mend(
        "what was not sent of a POST that was given up is dropped",
        (),
        _SESSION,
        "conn.add_callback(partial(self._drop_unsent, conn.transport))",
        "_ = partial(self._drop_unsent, conn.transport)",
        f"{_GIVEN_UP}[silent-http]",
    ),
    Mend(
        "what the kernel keeps of it is dropped too",
        (),
        _SESSION,
        "if in_kernel or transport",
        "if transport",
        f"{_GIVEN_UP}[silent-http]",
    ),
    Mend(
        "the wait for a status grows with answers only",
        (),
        "pipeline/edges/target/status_poller.py",
        "2.0 * unknown_at)",
        "2.0 * (asked_at or 0.0) if unknown_at else 0.0)",
        f"{_POLLER}::test_one_that_is_not_known_yet_is_asked_for_soon_after_an_outage",
    ),
    Mend(
        "any error of a POST is its outcome",
        ("status-url", "network"),
        _CLIENT,
        """        except Exception as error:
            if""",
        """        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if""",
        f"{_CALLS}::test_any_error_is_the_outcome_of_its_call",
    ),
    Mend(
        "any error of a status GET is its outcome",
        ("status-url", "network"),
        _CLIENT,
        """        except Exception as error:  # noqa: BLE001 - of whatever kind, it is the outcome of this call only
            return""",
        """        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return""",
        f"{_CALLS}::test_any_error_is_the_outcome_of_its_call",
    ),
    Mend(
        "the text of a library's error is not told",
        ("foreign-text",),
        _ERRORS,
        'return f"{kind_of(error)} ({reason})" if reason else kind_of(error)',
        "return str(error) or kind_of(error)",
        f"{_HOSTILE}::test_a_load",
    ),
    Mend(
        "a message that is not known is not told",
        ("foreign-text",),
        _MESSAGES,
        'f"a message{about} that is not known ({len(message):,} characters; see {ANSWERS_FILE} in the job\'s folder)",',
        "message,",
        f"{_HOSTILE}::test_a_load",
    ),
    Mend(
        "what follows a known beginning is not told",
        ("foreign-text",),
        _MESSAGES,
        "            return beginning, message",
        "            return message, message",
        f"{_HOSTILE}::test_a_load",
    ),
    Mend(
        "the phrase of a status is that of the standard",
        ("foreign-text", "terminal"),
        _CLIENT,
        "        return Refused(_told(status))",
        '        return Refused(f"HTTP {status} {response.reason}")',
        f"{_HOSTILE}::test_a_load",
    ),
    Mend(
        "a status URL is not quoted",
        ("foreign-text",),
        _CLIENT,
        "StatusLost(url.why, said=returned_url)",
        "StatusLost(returned_url)",
        f"{_HOSTILE}::test_a_load",
    ),
    Mend(
        "the token is left out of what is kept of an answer",
        ("foreign-text",),
        _CLIENT,
        "        return replace(outcome, **texts)",
        "        return outcome",
        f"{_HOSTILE}::test_a_load",
    ),
    Mend(
        "the token is left out of the log",
        ("foreign-text",),
        "pipeline/edges/log.py",
        "        SecretsLeftOut(),\n",
        "",
        f"{_LOG}::test_the_token_is_left_out_of_whatever_comes_by",
    ),
    Mend(
        "libraries that log are not quoted",
        ("foreign-text",),
        "pipeline/edges/log.py",
        "        libraries.addHandler(_OfLibraries(logging.WARNING))",
        "        pass",
        f"{_LOG}::test_libraries_are_not_quoted",
    ),
    Mend(
        "what Target said is for the owner's eyes for as long as rejects are",
        ("foreign-text",),
        "pipeline/core/drop/retention.py",
        '"answers.jsonl", ',
        "",
        "tests/core/drop/test_retention.py::test_kinds",
    ),
    Mend(
        "sections of an answer are found in linear time",
        ("cost",),
        _REPLIES,
        "    at = 0\n    while (start",
        '    yield re.sub(r"(<!\\[CDATA\\[.*?\\]\\]>)|&(?!amp;)", lambda m: m[1] or "&amp;", text, flags=re.DOTALL)\n'
        "    return\n    at = 0\n    while (start",
        f"{_PARSED}::test_reading_an_answer_takes_no_longer_than_its_length_tells",
    ),
    Mend(
        "a namespace is not put before each name",
        ("cost",),
        _REPLIES,
        'expat.ParserCreate("utf-8")',
        'expat.ParserCreate("utf-8", "}")',
        f"{_PARSED}::test_accepted",
    ),
    Mend(
        "an id counts once",
        ("count",),
        _REPLIES,
        "            tuple(failed),\n",
        '            tuple(filter(None, ids["failed"])),\n',
        f"{_PARSED}::test_an_id_counts_once_as_the_worst_that_is_said_of_it",
    ),
    Mend(
        "an id that failed did not succeed as well",
        ("count",),
        _REPLIES,
        "len(succeeded.keys() - failed.keys() - unknown.keys())",
        "len(succeeded)",
        f"{_PARSED}::test_an_id_counts_once_as_the_worst_that_is_said_of_it",
    ),
    Mend(
        "an id that is in no row is no failed row",
        ("count",),
        "pipeline/core/batches/book.py",
        "            strays += 1",
        "            rows.add(forms[0])",
        "tests/core/batches/test_book.py::test_an_id_counts_once_and_as_a_row_of_the_batch_only_if_it_is_one",
    ),
]
