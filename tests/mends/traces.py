"""What a collector of traces may get to know, and cost."""

from tests.mends import Mend

_OTLP = "pipeline/edges/traces/otlp.py"
_ASKED = "pipeline/edges/traces/asked.py"
_OF_JOBS = "pipeline/edges/traces/of_jobs.py"
_TESTS = "tests/edges/traces/test_otlp.py"

MENDS = [
    Mend(
        "traces: the text of an error is in no span",
        ("foreign-text",),
        _OTLP,
        "record_exception=False",
        "record_exception=True",
        f"{_TESTS}::test_an_error_is_told_by_its_type_alone",
    ),
    Mend(
        "traces: the state of a span does not quote an error",
        ("foreign-text",),
        _OTLP,
        "kept.fail(type(error).__qualname__)",
        "kept.fail(str(error))",
        f"{_TESTS}::test_an_error_is_told_by_its_type_alone",
    ),
    Mend(
        "traces: the end of the process does not wait for a collector that stands still",
        (),
        _OTLP,
        "closing.join(CLOSE_S)",
        "closing.join()",
        f"{_TESTS}::test_the_end_does_not_wait_for_a_collector_that_stands_still",
    ),
    Mend(
        "traces: spans that get lost are told of once",
        (),
        _OTLP,
        "            if not self._lost:\n",
        "            if spans:\n",
        f"{_TESTS}::test_spans_that_get_lost_are_told_of_once",
    ),
    Mend(
        "traces: what the library says by itself is left out of the log",
        (),
        _OTLP,
        "self._library.setLevel(logging.CRITICAL)",
        "self._library.setLevel(logging.DEBUG)",
        "tests/e2e/test_traces.py::test_the_service_tells_once_that_spans_get_lost",
    ),
    Mend(
        "traces: nothing is imported that nobody wants",
        (),
        _ASKED,
        "    if endpoint is None:\n",
        "    from pipeline.edges.traces import otlp  # noqa: F401\n    if endpoint is None:\n",
        "tests/cli/test_startup.py::test_a_load_imports_what_it_needs_to_begin",
    ),
    Mend(
        "traces: without the extra, exports are loaded all the same",
        (),
        _ASKED,
        "isinstance(endpoint, str) and not _is_installed()",
        "isinstance(endpoint, str) and False",
        "tests/e2e/test_traces.py::test_without_the_extra_it_says_so_and_loads",
    ),
    Mend(
        "traces: a batch that was split is no failure",
        (),
        _OF_JOBS,
        "        if state not in _WELL:\n            span.fail(state)\n",
        "        span.fail(state)\n",
        "tests/edges/traces/test_of_jobs.py::test_which_ends_are_failures",
    ),
]
