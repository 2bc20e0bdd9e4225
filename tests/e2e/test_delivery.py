"""Whole loads into a sandbox that makes trouble: every profile ends right, or the report says which rows may not be."""

from pathlib import Path
from typing import Any, ClassVar

import pytest

from pipeline.sandbox import Fault, FaultPlan, MistakeKind
from pipeline.sandbox.faults import POST_FAULTS, STATUS_FAULTS
from tests.simulation.staged import deliver
from tests.tools.support import Delivery, profiles_after, read_lines

#: Seven ids over and over, so that every batch but the first two has to wait for an earlier one. What the first rows
#: set no later row repeats, so it must be carried along.
REPEATING = [f"u{n % 7},tier{n}," if n < 9 else f"u{n % 7},,{n}" for n in range(24)]
FOUR_ROWS = {"max_rows": 4}
OVERRIDES = ("merge", "replace")


def wrong_ids(delivery: Delivery, *lines: str) -> set[str]:
    """Ids whose profile is not what the export says."""
    expected = profiles_after(*lines)
    assert delivery.profiles.keys() <= expected.keys()
    return {profile_id for profile_id, profile in expected.items() if delivery.profiles.get(profile_id) != profile}


def assert_honest(delivery: Delivery, *lines: str) -> None:
    """No more profiles are wrong than rows were reported lost, and nothing was done that a sender must never do."""
    rows = delivery.rows
    assert len(wrong_ids(delivery, *lines)) <= rows["failed"] + rows["unconfirmed"], rows
    assert delivery.sandbox.mistakes == []
    assert rows["unsent"] == 0
    assert_same_bytes(delivery)


def assert_same_bytes(delivery: Delivery) -> None:
    """Target got nothing but sealed batches, however often it got one."""
    assert {post["sha256"] for post in delivery.posts} <= {batch["sha256"] for batch in delivery.batches}
    for batch in delivery.batches:
        taken = [post for post in delivery.posts if post["sha256"] == batch["sha256"]]
        assert len(taken) <= batch["attempts"]
        assert {(post["rows"], post["bytes"]) for post in taken} <= {(batch["rows"], batch["bytes"])}


@pytest.mark.parametrize("override", OVERRIDES)
def test_without_a_fault(tmp_path: Path, override: str) -> None:
    delivery = deliver(tmp_path, *REPEATING, options={"override": override}, batch=FOUR_ROWS)
    assert delivery.profiles == profiles_after(*REPEATING)
    assert delivery.report["state"] == "done"
    assert delivery.rows["confirmed"] + delivery.rows["superseded"] == 24
    assert_honest(delivery, *REPEATING)


class TestFaultsOfPosts:
    #: The batches that meet these end without being confirmed; all others are delivered in the end.
    FINAL: ClassVar = {Fault.STATUS_LOST: "unconfirmed", Fault.FAIL_ROWS: "complete"}
    REPEATED: ClassVar = {
        Fault.HTTP_500,
        Fault.HTTP_500_TAKEN,
        Fault.HTTP_502,
        Fault.RESET_BEFORE_BODY,
        Fault.RESET_DURING_BODY,
        Fault.RESET_AFTER_BODY_LOST,
        Fault.RESET_AFTER_BODY_TAKEN,
        Fault.HANG_LOST,
        Fault.HANG_TAKEN,
        Fault.GARBAGE_LOST,
        Fault.GARBAGE_TAKEN,
        Fault.STUCK,
    }

    @pytest.mark.parametrize("override", OVERRIDES)
    @pytest.mark.parametrize("fault", sorted(POST_FAULTS))
    def test_one(self, tmp_path: Path, fault: Fault, override: str) -> None:
        faults = FaultPlan(posts={1: fault}, slow_bytes_s=100.0)
        delivery = deliver(tmp_path, *REPEATING, faults=faults, options={"override": override}, batch=FOUR_ROWS)
        assert_honest(delivery, *REPEATING)
        assert [met["fault"] for met in delivery.sandbox.state()["faults_met"]] == [fault]  # type: ignore[attr-defined]
        rows = delivery.rows
        if fault not in self.FINAL:
            assert delivery.profiles == profiles_after(*REPEATING)
            assert rows["failed"] == rows["unconfirmed"] == 0
            expected = {"complete", "split"} if fault in (Fault.REFUSE, Fault.REFUSE_EMPTY) else {"complete"}
            assert {batch["state"] for batch in delivery.batches} == expected
        else:
            hit = [batch for batch in delivery.batches if batch.get("why")]
            assert [batch["state"] for batch in hit] == [self.FINAL[fault]]
            lost = 1 if fault is Fault.FAIL_ROWS else hit[0]["rows"]
            assert rows["failed"] + rows["unconfirmed"] == lost
            assert (delivery.report["state"], delivery.report["exit_code"]) == ("incomplete", 76)
        again = sum(batch["attempts"] - 1 for batch in delivery.batches)
        assert again == (fault in self.REPEATED), "throttled attempts are not counted, all others are"

    def test_taken_although_lost_is_not_overtaken_by_its_late_copy(self, tmp_path: Path) -> None:
        """The copy of the first attempt is applied last of all, but before its hold ends."""
        lines = ["a,old,1", "b,old,1", "c,1,1", "a,new,", "b,new,"]
        delivery = deliver(
            tmp_path,
            *lines,
            faults=FaultPlan(posts={1: Fault.HTTP_500_TAKEN}),
            options={"apply_min_s": 0.0, "apply_max_s": 20.0, "seed": 3},
            batch={"max_rows": 2},
            settle={"ambiguous_hold_s": 25.0},
        )
        assert delivery.profiles == profiles_after(*lines)
        assert delivery.sandbox.mistakes == []
        assert [post["fault"] for post in delivery.posts] == [Fault.HTTP_500_TAKEN, None, None, None]

    def test_throttling_costs_no_attempt(self, tmp_path: Path) -> None:
        faults = FaultPlan(posts={1: Fault.THROTTLE_503, 2: Fault.THROTTLE_429})
        delivery = deliver(tmp_path, "a,1,1", faults=faults, upload={"attempts": 1})
        assert delivery.report["state"] == "done"
        assert delivery.batches[0]["attempts"] == 1
        assert 61 <= delivery.report["seconds"] < 90, (
            "a whole minute after the first, and a second as the other asks for"
        )

    def test_all_attempts_used(self, tmp_path: Path) -> None:
        faults = FaultPlan(post_chances={Fault.HTTP_500: 1.0})
        delivery = deliver(tmp_path, "a,1,1", "b,1,1", faults=faults, upload={"attempts": 3})
        assert delivery.rows["unconfirmed"] == 2
        assert [(batch["state"], batch["attempts"]) for batch in delivery.batches] == [("unconfirmed", 3)]
        assert delivery.batches[0]["why"] == ("all 3 attempts used, none with a usable answer, the last: HTTP 500")
        assert delivery.sandbox.calls["posts"] == 3
        assert delivery.report["exit_code"] == 76


class TestRefusals:
    """A refused batch is split until the rows that Target will not take are found; all others are delivered."""

    LINES = tuple(f"u{n},t{n},{n}" for n in range(8))

    def test_once_by_chance(self, tmp_path: Path) -> None:
        """Both halves are taken: no row is lost, and none is sent in any other body than one of the two."""
        delivery = deliver(tmp_path, *self.LINES, faults=FaultPlan(posts={1: Fault.REFUSE}))
        assert [(batch["rows"], batch["state"]) for batch in delivery.batches] == [
            (8, "split"),
            (4, "complete"),
            (4, "complete"),
        ]
        assert [post["rows"] for post in delivery.posts] == [4, 4]
        assert delivery.rows["confirmed"] == 8
        assert delivery.report["exit_code"] == 0
        assert_honest(delivery, *self.LINES)

    def test_down_to_a_row(self, tmp_path: Path) -> None:
        """Whole, first half, its first half and the first row of it: that row is rejected, with Target's words.

        Parts queue up behind one another, so the other part of each is posted in between.
        """
        faults = FaultPlan(posts=dict.fromkeys((1, 2, 4, 6), Fault.REFUSE))
        lines = ["ü 0,gold,1", *self.LINES[1:]]
        delivery = deliver(tmp_path, *lines, faults=faults, upload={"concurrency": 1}, export={"max_rejects": 1})
        by_state = sorted((batch["state"], batch["rows"]) for batch in delivery.batches)
        assert [rows for state, rows in by_state if state == "failed"] == [1]
        assert [batch.get("rejected") for batch in delivery.batches if batch["state"] == "failed"] == [1]
        assert sum(rows for state, rows in by_state if state == "complete") == 7
        assert delivery.rows["rejected"] == 1
        assert delivery.rows["confirmed"] == 7
        assert delivery.rows["failed"] == delivery.rows["unconfirmed"] == 0
        assert delivery.report["rejects"]["by_reason"] == {"target.refused": 1}
        assert (delivery.report["state"], delivery.report["exit_code"]) == ("done", 0)
        (reject,) = read_lines(delivery.folder / "rejects.jsonl")
        (missing,) = profiles_after(*lines).keys() - delivery.profiles.keys()
        line = next(number for number, text in enumerate(lines, 2) if text.startswith(missing + ","))
        assert (reject["id"], reject["line"], reject["reason"]) == (missing, line, "target.refused")
        assert reject["message"] == "Batch could not be queued"
        assert reject["raw"].count(",") == 2
        assert_same_bytes(delivery)
        assert delivery.sandbox.mistakes == []

    def test_behind_what_was_rejected_before(self, tmp_path: Path) -> None:
        delivery = deliver(
            tmp_path,
            ",x,1",
            "a,1,1",
            "b,1,1",
            faults=FaultPlan(posts=dict.fromkeys((1, 2, 4), Fault.REFUSE)),
            export={"max_rejects": 2},
            upload={"concurrency": 1},
        )
        rejects = read_lines(delivery.folder / "rejects.jsonl")
        assert [(reject["line"], reject["reason"]) for reject in rejects] == [
            (2, "local.empty_id"),
            (3, "target.refused"),
        ]
        assert (delivery.rows["rejected"], delivery.rows["confirmed"]) == (2, 1)
        assert delivery.report["rejects"]["by_reason"] == {"local.empty_id": 1, "target.refused": 1}

    def test_after_an_unknown_end_its_row_may_be_there(self, tmp_path: Path) -> None:
        """The attempt before may have been taken, and was: the row is rejected all the same, or goes on."""
        faults = FaultPlan(posts={1: Fault.RESET_AFTER_BODY_TAKEN, 2: Fault.REFUSE})
        delivery = deliver(tmp_path, "a,1,1", faults=faults)
        assert delivery.profiles == {"a": {"tier": "1", "ltv": "1"}}
        assert delivery.rows["confirmed"] == delivery.rows["failed"] == 0
        assert delivery.rows["unconfirmed"] + delivery.rows["rejected"] + delivery.rows.get("pending", 0) == 1

    def test_halves_inherit_what_may_be_taken(self, tmp_path: Path) -> None:
        """A copy of the whole may be applied until the hold ends, so later rows wait for it although it was split."""
        lines = ["a,old,1", "b,old,1", "c,1,1", "d,1,1", "e,1,1", "a,new,", "b,new,"]
        delivery = deliver(
            tmp_path,
            *lines,
            faults=FaultPlan(posts={1: Fault.HTTP_500_TAKEN, 2: Fault.REFUSE}),
            options={"apply_min_s": 0.0, "apply_max_s": 20.0, "seed": 3},
            batch={"max_rows": 4},
            settle={"ambiguous_hold_s": 25.0},
            upload={"concurrency": 1},
        )
        assert delivery.profiles == profiles_after(*lines)
        # The copy of the whole may be waiting yet when the halves come: the same values, so no harm.
        assert {mistake.kind for mistake in delivery.sandbox.mistakes} <= {MistakeKind.CLASH}
        assert delivery.posts[-1]["accepted_s"] >= 25.0
        assert [post["fault"] for post in delivery.posts].count(Fault.HTTP_500_TAKEN) == 1

    def test_an_id_that_comes_again_waits_for_the_halves(self, tmp_path: Path) -> None:
        lines = ["a,old,1", "b,old,1", "a,new,", "b,new,"]
        delivery = deliver(
            tmp_path,
            *lines,
            faults=FaultPlan(posts={1: Fault.REFUSE}),
            options={"override": "replace"},
            batch={"max_rows": 2},
        )
        assert delivery.profiles == profiles_after(*lines)
        assert_honest(delivery, *lines)

    def test_a_refused_row_does_not_spread(self, tmp_path: Path) -> None:
        """What Target refused may be what it refused it for, so a later row of the id goes without it."""
        lines = ["a,poison,1", "b,1,1", "a,,2"]
        delivery = deliver(
            tmp_path,
            *lines,
            faults=FaultPlan(posts={1: Fault.REFUSE, 3: Fault.REFUSE}),
            batch={"max_rows": 1},
            upload={"concurrency": 1},
            export={"max_rejects": 1},
        )
        assert delivery.profiles == {"a": {"ltv": "2"}, "b": {"tier": "1", "ltv": "1"}}
        assert (delivery.rows["rejected"], delivery.rows["confirmed"]) == (1, 2)

    def test_every_batch(self, tmp_path: Path) -> None:
        """It is not the rows: that ends the run, and nothing is said of any row but that it was not sent."""
        delivery = deliver(tmp_path, *self.LINES * 8, faults=FaultPlan(post_chances={Fault.REFUSE: 1.0}))
        assert (delivery.report["state"], delivery.report["exit_code"]) == ("unfinished", 77)
        assert "Target refuses everything (Batch could not be queued)" in delivery.report["error"]
        assert "api_version" in delivery.report["error"]
        assert delivery.sandbox.calls["posts"] <= 13
        assert delivery.profiles == {}
        assert delivery.rows["confirmed"] == delivery.rows["failed"] == delivery.rows["rejected"] == 0

    def test_twelve_in_a_row_are_borne(self, tmp_path: Path) -> None:
        """One batch of one row each; the count begins anew with each that is accepted."""
        refused = {number for number in range(1, 26) if number != 13}
        lines = [f"u{n},t,{n}" for n in range(27)]
        delivery = deliver(
            tmp_path,
            *lines,
            faults=FaultPlan(posts=dict.fromkeys(refused, Fault.REFUSE)),
            batch={"max_rows": 1},
            upload={"concurrency": 1},
            export={"max_rejects": 24},
        )
        assert delivery.report["state"] == "done"
        # Those that waited are sent once more after the acceptance.
        assert delivery.rows["rejected"] + delivery.rows["confirmed"] == 27
        assert delivery.rows["confirmed"] == len(delivery.profiles) >= 3


class TestFaultsOfStatuses:
    @pytest.mark.parametrize("fault", sorted(STATUS_FAULTS))
    def test_one(self, tmp_path: Path, fault: Fault) -> None:
        delivery = deliver(tmp_path, *REPEATING, faults=FaultPlan(statuses={1: fault}), batch=FOUR_ROWS)
        assert_honest(delivery, *REPEATING)
        assert delivery.profiles == profiles_after(*REPEATING)
        assert all(batch["attempts"] == 1 for batch in delivery.batches)
        lost = [batch for batch in delivery.batches if batch["state"] != "complete"]
        assert [batch["state"] for batch in lost] == (["unconfirmed"] if fault is Fault.STATUS_LOST else [])
        assert delivery.rows["unconfirmed"] == sum(batch["rows"] for batch in lost)

    def test_a_lost_status_is_never_sent_again(self, tmp_path: Path) -> None:
        delivery = deliver(tmp_path, "a,1,1", faults=FaultPlan(posts={1: Fault.STATUS_LOST}))
        assert delivery.rows["unconfirmed"] == 1
        assert delivery.sandbox.calls["posts"] == 1
        assert "does not know the batch" in delivery.batches[0]["why"]

    def test_one_that_target_does_not_know_keeps_no_other_back_for_long(self, tmp_path: Path) -> None:
        """Also where it was not known, and then nothing answered for a while. The window lets one be under way."""
        silence = dict.fromkeys(range(2, 14), Fault.STATUS_500)
        delivery = deliver(
            tmp_path,
            *("a,1,1", "b,1,1"),
            faults=FaultPlan(statuses={1: Fault.STATUS_LOST, **silence}),
            batch={"max_rows": 1},
            settle={"status_window": 1, "deadline_s": 86_400.0},
        )
        assert (delivery.rows["unconfirmed"], delivery.rows["confirmed"]) == (1, 1)
        assert delivery.report["seconds"] < 300.0

    @pytest.mark.parametrize("applied", [0.0, 1.0])
    def test_stuck_is_sent_once_more_and_no_more(self, tmp_path: Path, applied: float) -> None:
        faults = FaultPlan(post_chances={Fault.STUCK: 1.0}, stuck_applied_chance=applied)
        delivery = deliver(tmp_path, "a,1,1", faults=faults)
        assert delivery.rows["unconfirmed"] == 1
        assert [batch["attempts"] for batch in delivery.batches] == [2]
        assert len(delivery.posts) == 2
        assert len({post["sha256"] for post in delivery.posts}) == 1
        assert delivery.profiles == ({"a": {"tier": "1", "ltv": "1"}} if applied else {})

    def test_deadline(self, tmp_path: Path) -> None:
        delivery = deliver(
            tmp_path, "a,1,1", options={"apply_min_s": 500.0, "apply_max_s": 500.0}, settle={"deadline_s": 10.0}
        )
        assert delivery.rows["unconfirmed"] == 1
        assert delivery.batches[0]["why"] == "not complete 10 s after it was accepted"
        assert 10.0 <= delivery.report["seconds"] < 60.0
        assert delivery.sandbox.calls["posts"] == 1

    def test_a_status_on_a_host_that_is_not_allowed(self, tmp_path: Path) -> None:
        delivery = deliver(tmp_path, "a,1,1", options={"status_base_url": "http://mboxedge45.example.com"})
        assert delivery.rows["unconfirmed"] == 1
        why = "the status URL is on a host and port that [target] status_hosts does not allow"
        assert delivery.batches[0]["why"] == f"{why} (see answers.jsonl in the job's folder)"
        assert "//mboxedge45.example.com/" in (delivery.folder / "answers.jsonl").read_text()
        assert delivery.sandbox.calls["statuses"] == 0

    @pytest.mark.parametrize("concurrency", [1, 4])
    def test_a_wrong_token_ends_it(self, tmp_path: Path, concurrency: int) -> None:
        token = tmp_path / "token"
        token.write_text("wrong")
        delivery = deliver(
            tmp_path,
            *REPEATING,
            options={"token": "right"},
            batch=FOUR_ROWS,
            target={"token_file": str(token)},
            upload={"concurrency": concurrency},
        )
        assert delivery.report["exit_code"] == 77
        assert delivery.profiles == {}
        assert delivery.rows["confirmed"] == delivery.rows["failed"] == 0
        assert delivery.sandbox.calls["posts"] <= 2 * concurrency
        # Other POSTs under way were let end: of none it is in doubt whether it was taken.
        assert delivery.rows["unconfirmed"] == 0


class TestFailedRows:
    def test_those_named_are_written_down_with_their_lines(self, tmp_path: Path) -> None:
        lines = ["a,1,1", "b,1,1", "ü &%,1,1", "d,1,1", "e,1,1"]
        faults = FaultPlan(post_chances={Fault.FAIL_ROWS: 1.0}, failing_ids=frozenset({"b", "ü &%", "e"}))
        delivery = deliver(tmp_path, *lines, faults=faults, batch={"max_rows": 3})
        expected = {
            ("export.csv", 3, 1, "b", "target.failed"),
            ("export.csv", 4, 1, "ü &%", "target.failed"),
            ("export.csv", 6, 2, "e", "target.failed"),
        }
        written = read_lines(delivery.folder / "failed.jsonl")
        assert {(row["file"], row["line"], row["batch"], row["id"], row["reason"]) for row in written} == expected
        assert len(written) == 3
        assert (delivery.rows["failed"], delivery.rows["confirmed"]) == (3, 2)
        assert delivery.profiles.keys() == {"a", "d"}

    def test_the_line_of_a_merged_row_is_its_latest(self, tmp_path: Path) -> None:
        faults = FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_ids=frozenset({"a"}))
        delivery = deliver(tmp_path, "a,1,", "b,1,1", "a,,2", faults=faults)
        (row,) = read_lines(delivery.folder / "failed.jsonl")
        assert row["line"] == 4
        assert delivery.rows["superseded"] == 1

    def test_only_counted_where_target_names_none(self, tmp_path: Path) -> None:
        faults = FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=2)
        delivery = deliver(tmp_path, "a,1,1", "b,1,1", "c,1,1", faults=faults, options={"failed_rows_listed": 0})
        assert (delivery.rows["failed"], delivery.rows["confirmed"]) == (2, 1)
        assert not (delivery.folder / "failed.jsonl").exists()

    def test_a_failed_row_does_not_spread(self, tmp_path: Path) -> None:
        lines = ["a,poison,1", "b,kept,1", "c,1,1", "a,,2", "b,,2"]
        faults = FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_ids=frozenset({"a"}))
        delivery = deliver(
            tmp_path,
            *lines,
            faults=faults,
            options={"override": "replace"},
            batch={"max_rows": 2},
            upload={"concurrency": 1},
        )
        assert delivery.profiles["a"] == {"ltv": "2"}
        assert delivery.profiles["b"] == {"tier": "kept", "ltv": "2"}

    def test_unknown_to_the_old_version(self, tmp_path: Path) -> None:
        """v1 creates no profiles: those not found are failed."""
        delivery = deliver(tmp_path, "a,1,1", "b,1,1", target={"api_version": "v1"})
        assert delivery.rows["failed"] == 2
        assert delivery.profiles == {}


class TestOrder:
    @pytest.mark.parametrize("override", OVERRIDES)
    def test_an_id_in_every_batch(self, tmp_path: Path, override: str) -> None:
        """Each row sets an attribute of its own: all of them are there in the end, whatever a later batch does."""
        names = [f"p{n}" for n in range(6)]
        lines = [f"a{','.join([''] + [f'v{n}' if n == m else '' for m in range(6)])}" for n in range(6)]
        header = ",".join(["id", *names])
        delivery = deliver(
            tmp_path,
            *(line for pair in zip(lines, [f"b{n},x,,,,," for n in range(6)], strict=True) for line in pair),
            header=header,
            options={"override": override},
            batch={"max_rows": 1},
        )
        assert delivery.profiles["a"] == {f"p{n}": f"v{n}" for n in range(6)}
        assert delivery.sandbox.mistakes == []

    @pytest.mark.parametrize("override", OVERRIDES)
    def test_attributes_are_carried_past_a_batch_that_nobody_can_tell_of(self, tmp_path: Path, override: str) -> None:
        faults = FaultPlan(posts={1: Fault.STATUS_LOST})
        delivery = deliver(
            tmp_path,
            *("a,gold,", "b,1,1", "a,,2"),
            faults=faults,
            options={"override": override},
            batch={"max_rows": 1},
            upload={"concurrency": 1},
        )
        assert delivery.profiles["a"] == {"tier": "gold", "ltv": "2"}
        assert (delivery.rows["unconfirmed"], delivery.rows["confirmed"]) == (1, 2)

    def test_an_unknown_end_holds_its_own_ids_only(self, tmp_path: Path) -> None:
        lines = ["a1,old,1", "a2,old,1", "a3,old,1", "b1,old,1", "b2,old,1", "b3,old,1"]
        lines += ["c1,1,1", "b1,new,1", "a1,new,1"]
        delivery = deliver(
            tmp_path,
            *lines,
            faults=FaultPlan(posts={1: Fault.HTTP_500}),
            batch={"max_rows": 3},
            upload={"concurrency": 1},
            settle={"ambiguous_hold_s": 60.0},
        )
        assert delivery.profiles == profiles_after(*lines)
        # Three batches as they were read, then b1 by itself, then a1 when the hold has ended.
        assert [post["rows"] for post in delivery.posts] == [3, 3, 1, 1, 1]
        *_, second_b, second_a = delivery.posts
        assert second_b["accepted_s"] < 50.0
        assert second_a["accepted_s"] >= 60.0

    def test_held_rows_at_their_cap(self, tmp_path: Path) -> None:
        """The reader waits rather than hold more; nothing is lost by it."""
        lines = [f"u{n % 3},t{n},{n}" for n in range(40)]
        delivery = deliver(
            tmp_path, *lines, options={"override": "replace"}, batch={"max_rows": 1}, tracker={"held_max_rows": 1}
        )
        assert delivery.profiles == profiles_after(*lines)
        assert_honest(delivery, *lines)

    def test_rows_that_fit_in_no_common_batch(self, tmp_path: Path) -> None:
        """Merging two of one id would break `max_bytes`, so they go one after the other."""
        lines = [f"a,{'x' * 600},", f"a,,{'y' * 600}"]
        delivery = deliver(tmp_path, *lines, batch={"max_bytes": 1_024})
        assert delivery.profiles == profiles_after(*lines)
        assert [batch["rows"] for batch in delivery.batches] == [1, 1]
        assert all(batch["bytes"] <= 1_024 for batch in delivery.batches)


class TestStatusWindow:
    """The sandbox forgets all but the last ten statuses, as an old page of Adobe's says of Target."""

    LINES = tuple(f"u{n},t{n},{n}" for n in range(60))

    def forgetful(
        self,
        directory: Path,
        *lines: str,
        window: int,
        concurrency: int,
        faults: FaultPlan | None = None,
        longest_s: float = 30.0,
    ) -> Delivery:
        return deliver(
            directory,
            *lines,
            faults=faults,
            options={"statuses_kept": 10, "apply_min_s": 0.0, "apply_max_s": longest_s, "seed": 56},
            batch={"max_rows": 1},
            settle={"status_window": window},
            upload={"concurrency": concurrency},
        )

    def test_no_status_is_forgotten_within_it(self, tmp_path: Path) -> None:
        delivery = self.forgetful(tmp_path, *self.LINES, window=10, concurrency=1)
        assert delivery.rows["confirmed"] == 60
        assert len(delivery.posts) == 60
        assert delivery.profiles == profiles_after(*self.LINES)

    def test_statuses_are_forgotten_beyond_it(self, tmp_path: Path) -> None:
        """Else the test above would show nothing."""
        delivery = self.forgetful(tmp_path, *self.LINES, window=60, concurrency=1, longest_s=200.0)
        assert delivery.rows["unconfirmed"] > 0
        assert delivery.profiles == profiles_after(*self.LINES)

    def test_a_post_that_others_overtake(self, tmp_path: Path) -> None:
        """The first POST arrives last of ten and settles first: nine that arrived before it are still waited for.

        With this seed the first batch accepted is applied late and the tenth soon.
        """
        faults = FaultPlan(posts={1: Fault.SLOW}, slow_bytes_s=2.0)
        delivery = self.forgetful(tmp_path, *self.LINES[:14], window=10, concurrency=10, faults=faults, longest_s=60.0)
        assert delivery.rows["confirmed"] == 14


@pytest.mark.parametrize("seed", range(4))
def test_all_kinds_of_faults_at_once(tmp_path: Path, seed: int) -> None:
    chances: dict[str, Any] = {
        "post_chances": dict.fromkeys(sorted(POST_FAULTS - {Fault.SLOW}), 0.025),
        "status_chances": dict.fromkeys(sorted(STATUS_FAULTS - {Fault.STATUS_OVERSIZED}), 0.02),
    }
    lines = [f"u{n * n % 23},{f'tier{n}' if n % 2 else ''},{'' if n % 3 == 0 and n % 2 else n}" for n in range(80)]
    delivery = deliver(
        tmp_path,
        *lines,
        faults=FaultPlan(seed=seed, **chances),
        options={"override": OVERRIDES[seed % 2], "seed": seed},
        batch=FOUR_ROWS,
    )
    rows = delivery.rows
    if OVERRIDES[seed % 2] == "merge":
        assert_honest(delivery, *lines)
    assert delivery.sandbox.mistakes == []
    assert rows["unsent"] == 0
    assert_same_bytes(delivery)


def test_rejected_empty_and_superseded_rows_are_told_apart(tmp_path: Path) -> None:
    lines = ["a,1,1", ",1,1", "b,,", "a,2,", "c/d,1,1", "e,1", "f,1,1"]
    delivery = deliver(tmp_path, *lines, export={"max_rejects": 10})
    assert delivery.rows == {
        "read": 7,
        "confirmed": 2,
        "superseded": 1,
        "unchanged": 0,
        "excluded": 0,
        "rejected": 3,
        "empty": 1,
        "failed": 0,
        "unconfirmed": 0,
        "unsent": 0,
    }
    rejects = read_lines(delivery.folder / "rejects.jsonl")
    assert [(reject["line"], reject["reason"]) for reject in rejects] == [
        (3, "local.empty_id"),
        (6, "local.id_character"),
        (7, "local.field_count"),
    ]
    assert delivery.profiles == {"a": {"tier": "2", "ltv": "1"}, "f": {"tier": "1", "ltv": "1"}}
