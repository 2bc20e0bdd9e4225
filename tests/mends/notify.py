"""Who is told of what: nothing secret, nothing too early, nothing twice, and never at the cost of a job."""

from tests.mends import Mend

_CALLS, _QUEUE = "tests/edges/notify/test_calls.py", "tests/edges/notify/test_queue.py"
_NOTIFIER = "tests/service/test_notifier.py"

MENDS = [
    Mend(
        "notify: a redirect is not followed",
        (),
        "pipeline/edges/notify/calls.py",
        "session.post(url, data=body, headers=headers, allow_redirects=False)",
        "session.post(url, data=body, headers=headers)",
        f"{_CALLS}::test_a_redirect_is_not_followed",
    ),
    Mend(
        "notify: a receiver that hangs is left alone",
        (),
        "pipeline/edges/notify/calls.py",
        "async with asyncio.timeout(limit_s):",
        "async with asyncio.timeout(None):",
        f"{_CALLS}::test_one_that_hangs_is_left_alone_after_the_limit",
    ),
    Mend(
        "notify: the time is signed too",
        (),
        "pipeline/core/notifications/signature.py",
        "b'%d.' % at_s + body",
        "body",
        "tests/test_notifications_page.py::TestVerifying::test_what_is_ours",
    ),
    Mend(
        "notify: config show masks the URL",
        ("foreign-text",),
        "pipeline/settings/settings.py",
        'with_masked_urls(settings.model_dump(mode="json"))',
        'settings.model_dump(mode="json")',
        "tests/settings/test_notify_section.py::TestMasked::test_it_can_be_read_back",
    ),
    Mend(
        "notify: what is refused as a URL is not shown",
        ("foreign-text",),
        "pipeline/settings/problems.py",
        '(section == "notify" and key in _SECRETS_OF_NOTIFY)',
        "False",
        "tests/settings/test_notify_section.py::TestUrls::test_what_may_not_is_not_shown[webhook-ftp://a.example/s3cret]",
    ),
    Mend(
        "notify: a job is told of only when the ledger knows its end",
        (),
        "pipeline/jobs/status/notifications.py",
        "if states[each.id] == _wanted(each)]",
        "if states[each.id] in (_wanted(each), _NOT_ENDED)]",
        f"{_NOTIFIER}::TestEndsOfJobs::test_it_is_told_only_when_the_ledger_knows_it",
    ),
    Mend(
        "notify: what is overdue is told once over restarts",
        (),
        "pipeline/service/notifier.py",
        "            await run_sync(write_told, self._directory, told)\n",
        "            pass\n",
        f"{_NOTIFIER}::TestOverdue::test_it_is_told_once_over_restarts",
    ),
    Mend(
        "notify: a pause that begins again is none that is over",
        (),
        "pipeline/service/notifier.py",
        "< self._steady_s:",
        "< 0.0:",
        f"{_NOTIFIER}::TestPaused::test_it_is_told_once_and_its_end_when_it_lasts",
    ),
    Mend(
        "notify: one that is refused keeps none behind it back",
        (),
        "pipeline/edges/notify/queue.py",
        "if latest is None or (latest.is_refused and refused < _MOST_REFUSED):",
        "if latest is None:",
        f"{_QUEUE}::test_one_that_is_refused_keeps_none_behind_it_back",
    ),
    Mend(
        "notify: a name calls nobody in a chat",
        ("foreign-text",),
        "pipeline/core/notifications/notification.py",
        '{"text": in_chats(self.text)}',
        '{"text": self.text}',
        "tests/core/notifications/test_notification.py::TestInChats::test_a_name_is_no_markup_and_calls_nobody",
    ),
    Mend(
        "notify: nothing is made where the state directory is away",
        ("away",),
        "pipeline/edges/notify/outbox.py",
        "if not self.directory.parent.is_dir():",
        "if False:",
        "tests/edges/notify/test_outbox.py::test_nothing_is_made_where_the_state_directory_is_away",
    ),
    Mend(
        "notify: a trial is told to nobody",
        (),
        "pipeline/jobs/status/notifications.py",
        "if job.settings.notify.is_used and not job.host.is_with_sandbox:",
        "if job.settings.notify.is_used:",
        "tests/e2e/test_notifications.py::TestLoading::test_a_trial_is_told_to_nobody",
    ),
    Mend(
        "notify: a notification is kept before the end of its job is durable",
        (),
        "pipeline/jobs/runner.py",
        "            await keep_notifications(job, report)\n",
        "",
        "tests/e2e/test_notifications.py::TestServing::test_what_a_killed_process_did_not_send_the_next_one_does",
    ),
]
