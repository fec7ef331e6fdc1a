"""What the logs of faults say was done, and when a verdict has said it too."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.errors import UsageError
from simulator.selftest.case import OBJECTIVES, Case, Size
from simulator.selftest.cases import cases
from simulator.selftest.evidence import Evidence, read_evidence
from simulator.selftest.judge import judge
from simulator.selftest.proxy import LOG_COLUMNS
from simulator.selftest.run import choose
from simulator.slo import DEFAULTS, Slo
from simulator.summary import figure_paths

S, MS = 1_000_000_000, 1_000_000
WINDOW = (10 * S, 20 * S)


def act(at_ns: int, **values: Any) -> dict[str, Any]:
    return {
        "fault": 0, "unixUs": at_ns // 1000, "receiver": 0, "ssrc": 1, "timestamp": at_ns, "stamped": True, **values
    }  # fmt: skip


def row(at_ns: int, *, sent_ns: int | None = None, fault: int = -1, **values: Any) -> list[Any]:
    known = {
        "at_ns": at_ns, "direction": "down", "leg": 0, "media": "audio", "ssrc": 1, "sequence": 1, "timestamp": 1,
        "fault": fault, "sent_ns": at_ns if sent_ns is None else sent_ns, **values,
    }  # fmt: skip
    return [known[name] for name in LOG_COLUMNS]


def evidence(acts: list[Any] = [], rows: list[Any] = [], reach: list[Any] = []) -> Evidence:  # noqa: B006
    return read_evidence(WINDOW, {"acts": acts, "reach": reach}, {"columns": LOG_COLUMNS, "rows": rows})


def test_a_share_is_of_those_with_a_stamp_unless_all_are_asked_for() -> None:
    found = evidence(
        [act(11 * S), act(12 * S, stamped=False), act(12 * S, fault=1)],
        reach=[{"packets": 10, "stamped": 4}, {"packets": 2, "stamped": 2}],
    )
    assert (found.share(0), found.share(0, stamped=False), found.share(1)) == (0.25, 0.2, 0.5)
    assert (found.count(), found.count(0), found.count(0, stamped=True)) == (3, 2, 1)


def test_what_was_done_outside_the_measured_time_does_not_count() -> None:
    found = evidence([act(9 * S), act(15 * S), act(21 * S)], [row(9 * S), row(15 * S), row(21 * S)])
    assert found.count() == 1
    assert len(found.datagrams(direction="down")) == 1


def test_packets_of_one_frame_are_one_frame_to_each_receiver() -> None:
    same = {"timestamp": 5}
    found = evidence([act(11 * S, **same), act(11 * S, **same), act(11 * S, receiver=1, **same), act(11 * S)])
    assert found.frames() == 3


def test_a_timestamp_that_is_altered_jumps_there_and_back_and_only_there_at_the_end() -> None:
    def altered(first: int, packets: int, at_ns: int) -> list[dict[str, Any]]:
        return [
            act(at_ns + n * 20 * MS, timestamp=(first + n * 960) % (1 << 32), ssrc=first % 2)
            for n in range(packets)
        ]

    # One packet, then three across the end of the 32 bits; of another stream all until the end.
    acts = [*altered(0, 1, 11 * S), *altered((1 << 32) - 960, 3, 12 * S), *altered(1, 50, 19 * S)]
    assert evidence(acts).jumps(0, 960) == 2 + 2 + 1
    assert evidence([act(11 * S, stamped=False)]).jumps(0, 960) == 0


def test_a_stall_lasts_from_the_packet_before_to_the_one_behind_it() -> None:
    acts = [act(12 * S + n * 20 * MS) for n in range(50)]
    later = [act(15 * S + n * 20 * MS) for n in range(10)]
    # 50 packets 20 ms apart: 980 ms, and one packet's time at each end.
    assert evidence(acts + later).stall_ms(0, 20.0) == pytest.approx(1020)


def test_a_stall_at_the_end_lasts_until_the_end() -> None:
    acts = [act(18 * S + n * 20 * MS) for n in range(100)]
    assert evidence(acts).stall_ms(0, 20.0) == pytest.approx(2020)


def test_loss_hold_and_silence_are_read_from_when_datagrams_were_passed_on() -> None:
    rows = [row(11 * S + n * 20 * MS) for n in range(10)]
    rows += [row(11 * S + (10 + n) * 20 * MS, sent_ns=0, fault=0) for n in range(10)]
    rows += [
        row(11 * S + (20 + n) * 20 * MS, sent_ns=11 * S + (20 + n) * 20 * MS + 50 * MS) for n in range(10)
    ]
    found = evidence(rows=rows)
    assert found.lost(direction="down", media="audio") == pytest.approx(1 / 3)
    assert found.lost(direction="up", media="audio") == 0
    other = [row(11 * S + n * 20 * MS, leg=1) for n in range(30)]
    both = evidence(rows=rows + other)
    assert both.lost(direction="down", media="audio") == pytest.approx(1 / 6)
    assert both.most_lost(direction="down", media="audio") == pytest.approx(1 / 3)
    assert both.most_lost(direction="up", media="audio") == 0
    assert found.touched(direction="down") == 10
    assert found.held_ms(direction="down", media="audio", quantile=0.9) == pytest.approx(50)
    assert found.variation_ms(direction="down", media="audio", quantile=0.9) == pytest.approx(50)
    # From the last packet until the end of the measured time.
    assert found.silence_ms(direction="down", media="audio") == pytest.approx(20_000 - 11_630)


def test_a_datagram_is_late_if_one_that_came_later_was_passed_on_before() -> None:
    rows = [row(11 * S + n * 20 * MS) for n in range(10)]
    rows[3] = row(11 * S + 60 * MS, sent_ns=11 * S + 110 * MS)
    assert evidence(rows=rows).late_share(direction="down") == pytest.approx(0.1)


def test_what_came_of_paused_producers_is_their_share_of_the_frames_of_all() -> None:
    rows = [
        row(11 * S + n * 20 * MS, direction="up", leg=leg, timestamp=n)
        for n in range(20)
        for leg in range(4)
        for _ in range(2)
    ]
    network = {"columns": LOG_COLUMNS, "rows": rows}
    found = read_evidence(WINDOW, {}, network, paused=[(0, "audio", 11 * S, 11 * S + 190 * MS)])
    assert found.paused_frames(4) == 10


CASE = Case(
    fault="withhold",
    size="10%",
    named_by=("foreign_frames",),
    shown_by=(Size(figure="delivered.ratio", done=lambda e: e.share(0), missing=True),),
)
DONE = evidence([act(11 * S)], reach=[{"packets": 10, "stamped": 10}])


def summary(**values: Any) -> dict[str, Any]:
    broken = {"expression": "foreign_frames==0", "value": 1, "limit": 0, "passed": False}
    return {"verdict": "fail", "reasons": [], "slo": [broken], "delivered": {"ratio": 0.9}, **values}


def test_a_fault_is_named_if_its_objective_is_broken_and_its_size_is_shown() -> None:
    assert judge(CASE, summary(), DONE).outcome == "named"
    assert judge(CASE, summary(delivered={"ratio": 0.896}), DONE).outcome == "named", "within 5 %"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"slo": []}, "foreign_frames broke no objective"),
        ({"delivered": {"ratio": 0.89}}, "delivered.ratio is 0.11 where 0.1"),
        ({"delivered": {"ratio": None}}, "not measured"),
        ({"delivered": None}, "not measured"),
        ({"verdict": "pass"}, "the verdict is pass"),
        ({"verdict": "error", "reasons": ["broke off"]}, "the verdict is error: broke off"),
    ],
)
def test_a_fault_is_missed_otherwise_and_the_sentence_says_why(changed: dict[str, Any], said: str) -> None:
    result = judge(CASE, summary(**changed), DONE)
    assert result.outcome == "missed"
    assert said in result.sentence()


def test_a_void_run_has_neither_named_nor_missed() -> None:
    assert judge(CASE, summary(verdict="void", reasons=["too slow"]), DONE).outcome == "void"


def test_a_healthy_server_must_pass() -> None:
    healthy = cases()[0]
    assert judge(healthy, summary(verdict="pass", slo=[]), DONE).outcome == "named"
    assert judge(healthy, summary(), DONE).outcome == "missed"


def test_every_case_names_figures_that_there_are_and_that_have_an_objective() -> None:
    known = figure_paths()
    own = [Slo.parse(text).path for text in OBJECTIVES]
    for case in cases():
        assert case.shown_by or case.fault in ("healthy",), case.name
        for size in case.shown_by:
            assert size.figure in known, (case.name, size.figure)
        for figure in case.named_by:
            assert any(path.startswith(figure) for path in [*own, *(s.path for s in DEFAULTS)]), (
                case.name,
                figure,
            )


def test_each_case_has_a_name_of_its_own_and_a_fault_has_several_sizes() -> None:
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names)
    assert len(names) > 50


def test_the_healthy_server_is_the_first_whatever_is_chosen() -> None:
    every = cases()
    assert choose(every, short=True, faults=[])[0] is every[0]
    only = choose(every, short=False, faults=["swap"])
    assert {case.fault for case in only} == {"healthy", "swap"}
    assert choose(every, short=False, faults=["none"]) == [every[0]]
    with pytest.raises(UsageError, match="no fault 'swop'; it has: none, withhold"):
        choose(every, short=False, faults=["swop"])
