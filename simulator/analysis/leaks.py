"""Leaks of a run, and rows of its database that contradict what the bots recorded. Each finding names the thing.

Pure: compares what stack/inspector.py found with the tables of samples.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from simulator.analysis.figures import computes
from simulator.analysis.raw_run import RawRun
from simulator.samples.end_state import (
    FILES,
    SOCKETS,
    TASKS,
    CallRow,
    ChangeRow,
    EndState,
    ParticipantRow,
    Resources,
    Service,
)
from simulator.summary import Leaks

BRIEF_TASKS = frozenset({"AsyncSocket._send_ping"})
"""Tasks that end by themselves: the timer of a ping outlives its socket by one interval."""
SFU_FIELDS = (
    "sfu_send_transport_id",
    "sfu_recv_transport_id",
    "sfu_audio_producer_id",
    "sfu_video_producer_id",
    "sfu_screen_producer_id",
)
OVER = frozenset({"ended", "failed"})
GONE = frozenset({"disconnected", "failed"})
LEAVING_S = 20.0
"""The gateway notices within this that a participant is gone, also one that was cut off while the gateway restarted."""
CLOCK_S = 0.5
"""How far the bot's time of a request and that of the gateway's row may be apart."""
TOLD_S = 3.0
"""A participant who is in the call for this long before and after a change is notified of it."""
FAULT_S = 8.0
"""For this long after a fault participants may miss a notification, and rows may be of requests without an answer."""
_USER = "person-"


def is_settled(found: EndState) -> bool:
    """Return whether nothing is left that could still close."""
    return (
        not found.rooms
        and all(call.status in OVER for call in found.calls)
        and all(excess(service) <= limit for service in found.services for excess, limit in _EXCESS)
    )


@computes("leftovers")
def leaks(raw: RawRun) -> Leaks | None:
    """Compare the end state with the start and with what the bots recorded; None if the run was not inspected."""
    found = raw.end_state
    if found is None:
        return None
    findings: list[str] = [f"call {call} still has a room on the media server" for call in found.rooms]
    live = [call for call in found.calls if call.status not in OVER]
    findings += [f"call {c.call_id} is still {c.status} in the database" for c in live]
    here = [p for p in found.participants if p.status not in GONE or p.left_at is None]
    findings += [f"{p.user} is still {p.status} in call {p.call_id} in the database" for p in here]
    findings += [line for service in found.services for line in _held(service)]
    contradictions = list(_contradictions(raw, found))
    growth = {s.name: s.after.rss_bytes - s.before.rss_bytes for s in found.services}
    return Leaks(
        rooms=len(found.rooms),
        calls=len(live),
        people=len(here),
        sockets=max((sockets(s) for s in found.services), default=0),
        files=max((files(s) for s in found.services), default=0),
        tasks=max((tasks(s) for s in found.services), default=0),
        contradictions=len(contradictions),
        media_growth_bytes=growth.get("media"),
        gateway_growth_bytes=growth.get("gateway"),
        findings=findings + contradictions,
    )


def sockets(service: Service) -> int:
    """Return how many more sockets a service has than at its start."""
    return service.after.sockets - service.before.sockets


def files(service: Service) -> int:
    """Return how many more open files other than sockets a service has than at its start."""
    return service.after.files - service.before.files


def tasks(service: Service) -> int:
    """Return how many more tasks a service has than at its start, without those that end by themselves."""
    return task_count(service.after) - task_count(service.before)


def task_count(held: Resources) -> int:
    """Count the tasks of a service, without those that end by themselves."""
    return sum(number for name, number in held.tasks.items() if name not in BRIEF_TASKS)


_EXCESS = ((sockets, SOCKETS), (files, FILES), (tasks, TASKS))


def _more_tasks(service: Service) -> Counter[str]:
    more = Counter(service.after.tasks)
    more.subtract(service.before.tasks)
    return Counter({name: n for name, n in more.items() if n and name not in BRIEF_TASKS})


def _held(service: Service) -> Iterator[str]:
    who = {"media": "the media server", "gateway": "the gateway"}.get(service.name, service.name)
    if sockets(service) > SOCKETS:
        yield f"{who} has {sockets(service)} more sockets open than at its start"
    if files(service) > FILES:
        yield f"{who} has {files(service)} more files open than at its start"
    if tasks(service) > TASKS:
        most = ", ".join(f"{number} {name}" for name, number in _more_tasks(service).most_common(3))
        yield f"{who} has {tasks(service)} more tasks than at its start, most of them {most}"


def _contradictions(raw: RawRun, found: EndState) -> Iterator[str]:
    faults = (raw.tables["deaths"]["unix_ns"].to_numpy(dtype="float64") / 1e9).tolist()
    changes: dict[str, list[ChangeRow]] = defaultdict(list)
    for change in found.changes:
        changes[change.call_id].append(change)
    participants: dict[str, list[ParticipantRow]] = defaultdict(list)
    for row in found.participants:
        participants[row.call_id].append(row)
    counts = {row.call_id: row for row in found.metrics}
    lived = {str(call_id): part for call_id, part in raw.tables["arrivals"].groupby("call_id")}
    notified = {str(call_id): part for call_id, part in raw.tables["transitions"].groupby("call_id")}
    known = {call.call_id for call in found.calls}
    for call_id in sorted(lived.keys() - known):
        yield f"call {call_id}, which bots were in, is not in the database"
    for call in found.calls:
        arrivals = lived.get(call.call_id, raw.tables["arrivals"].iloc[0:0])
        rows = notified.get(call.call_id, raw.tables["transitions"].iloc[0:0])
        yield from _of_call(call, changes[call.call_id])
        yield from _of_changes(call.call_id, changes[call.call_id], rows, arrivals, faults)
        yield from _of_participants(call, participants[call.call_id], arrivals, faults)
        metrics = counts.get(call.call_id)
        if metrics is None:
            yield f"call {call.call_id} has no row in call_metrics"
        elif metrics.total_participants != len(participants[call.call_id]):
            yield (
                f"call {call.call_id} had {metrics.total_participants} participants by call_metrics, "
                f"but {len(participants[call.call_id])} by call_participants"
            )


def _of_call(call: CallRow, changes: list[ChangeRow]) -> Iterator[str]:
    """Compare a call's row with its own mode changes."""
    mode = "p2p"
    for change in changes:
        if change.old != mode:
            yield f"call {call.call_id} has a change from {change.old} in call_metrics while it was {mode}"
        mode = change.new
    if call.mode != mode:
        yield f"call {call.call_id} is {call.mode} in call_sessions, but its changes lead to {mode}"
    counted = sum(change.old != change.new for change in changes)
    if call.mode_change_count != counted:
        yield (
            f"call {call.call_id} changed {call.mode_change_count} times by call_sessions, "
            f"but {counted} times by call_metrics"
        )
    if call.status in OVER and (call.ended_at is None or call.end_reason is None):
        yield f"call {call.call_id} is {call.status} without the time or the reason of its end"
    if call.mode == "p2p" and call.sfu_room_id is not None:
        yield f"call {call.call_id} is p2p, but keeps room {call.sfu_room_id}"


def _of_changes(
    call_id: str,
    changes: list[ChangeRow],
    notified: pd.DataFrame,
    arrivals: pd.DataFrame,
    faults: list[float],
) -> Iterator[str]:
    """Compare the mode changes that participants were notified of with those of the database."""
    outcomes_of: dict[int, set[tuple[str, str, bool]]] = defaultdict(set)
    known: dict[int, set[str]] = defaultdict(set)
    when: dict[int, float] = {}
    for row in notified.to_dict("records"):
        if int(row["completed_ns"]) > 0:
            epoch = int(row["epoch"])
            outcomes_of[epoch].add((str(row["old"]), str(row["new"]), bool(row["success"])))
            when[epoch] = int(row["completed_ns"]) / 1e9
            # Who finds a change on coming back is given no reason for it, and guesses the mode before.
            if row["reason"]:
                known[epoch].add(str(row["old"]))
    left = list(changes)
    for epoch in sorted(outcomes_of):
        outcomes = outcomes_of[epoch]
        if len({(new, success) for _, new, success in outcomes}) > 1:
            yield f"call {call_id}: participants were notified differently of epoch {epoch}: {sorted(outcomes)}"
            continue
        _, new, success = next(iter(outcomes))
        olds = known[epoch]
        if not success:
            continue
        # Where nobody knows the mode before, the database does.
        place = next(
            (
                i
                for i, change in enumerate(left)
                if change.new == new
                and (change.old in olds or len(olds) != 1)
                and _near(change.at, when[epoch])
            ),
            None,
        )
        if place is None:
            yield (
                f"call {call_id}: participants were notified that epoch {epoch} moved them to {new}, but call_metrics "
                "has no such change"
            )
        else:
            left = left[:place] + left[place + 1 :]
    for change in left:
        stayed = any(
            start <= change.at - TOLD_S and change.at + TOLD_S <= end for start, end in _stays(arrivals)
        )
        if stayed and not _near_a_fault(change.at, faults):
            yield (
                f"call {call_id}: call_metrics has a change from {change.old} to {change.new} that no participant was notified of"
            )


def _of_participants(
    call: CallRow, rows: list[ParticipantRow], arrivals: pd.DataFrame, faults: list[float]
) -> Iterator[str]:
    """Compare who joined and left with the rows of participants."""
    last: dict[str, dict[Any, Any]] = {}
    for arrival in arrivals.sort_values("started_ns").to_dict("records"):
        last[f"{_USER}{int(arrival['bot'])}"] = arrival
    by_user = Counter(row.user for row in rows)
    for user, number in by_user.items():
        if number > 1:
            yield f"{user} has {number} rows in call {call.call_id}"
    for user in sorted(last.keys() - by_user.keys()):
        yield f"{user} was in call {call.call_id}, but has no row in call_participants"
    for row in rows:
        if row.sfu_fields and call.status in OVER:
            yield f"{row.user} keeps {', '.join(row.sfu_fields)} in call {call.call_id}, which is over"
        stay = last.get(row.user)
        if stay is None:
            if not _near_a_fault(row.joined_at, faults):
                yield f"{row.user} has a row in call {call.call_id}, but no bot joined"
            continue
        if row.left_at is None or _near_a_fault(row.joined_at, faults):
            continue
        came, went = int(stay["started_ns"]) / 1e9, int(stay["left_ns"]) / 1e9
        if not came - CLOCK_S <= row.joined_at <= went + CLOCK_S:
            yield f"{row.user} joined call {call.call_id} {row.joined_at - came:+.1f} s from when the bot did"
        if not went - CLOCK_S <= row.left_at <= went + LEAVING_S:
            yield f"{row.user} left call {call.call_id} {row.left_at - went:+.1f} s from when the bot did"


def _stays(arrivals: pd.DataFrame) -> list[tuple[float, float]]:
    flowing = arrivals[arrivals["flowing_ns"] > 0]
    return [
        (int(start) / 1e9, int(end) / 1e9)
        for start, end in flowing[["flowing_ns", "left_ns"]].itertuples(index=False)
    ]


def _near(one_s: float, other_s: float) -> bool:
    return abs(one_s - other_s) <= TOLD_S


def _near_a_fault(at_s: float, faults: Iterable[float]) -> bool:
    return any(-1.0 <= at_s - fault <= FAULT_S for fault in faults)
