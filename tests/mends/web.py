"""Who may look at the service, and what is told of the token for that."""

from tests.mends import Mend

_TESTS = "tests/settings/test_web_section.py"

MENDS = [
    Mend(
        "web: where others can reach the service, a token is required",
        (),
        "pipeline/settings/sections/web.py",
        "and not is_loopback(host)",
        "and False",
        f"{_TESTS}::test_elsewhere_a_token_is_required[0.0.0.0]",
    ),
    Mend(
        "web: a token in place of its file is not shown, in whatever section",
        ("foreign-text",),
        "pipeline/settings/problems.py",
        'if key == "token_file" or (',
        'if (key == "token_file" and section == "target") or (',
        f"{_TESTS}::test_a_token_in_place_of_its_file_is_not_shown[Bearer hunter2]",
    ),
    Mend(
        "web: what a service listens to does not change under it",
        (),
        "pipeline/service/reload.py",
        '        ("web", "token_file"),\n',
        "",
        "tests/e2e/test_routes.py::TestHangup::test_what_cannot_change_while_it_runs_is_named",
    ),
]
