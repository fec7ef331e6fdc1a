"""Participants whose client is gone, and until when it may come back."""

from meeshy_sfu.server.absences import Absences, take_due

ADA, BOB = ("call-1", "ada"), ("call-1", "bob")


def test_only_those_whose_time_is_over_are_taken_out_and_once() -> None:
    deadlines = {ADA: 10.0, BOB: 20.0}
    assert list(take_due(deadlines, 9.9)) == []
    assert list(take_due(deadlines, 10.0)) == [ADA]
    assert list(take_due(deadlines, 10.0)) == []
    assert deadlines == {BOB: 20.0}


def test_a_client_that_is_back_is_not_waited_for_but_its_path_still_is() -> None:
    absences = Absences()
    for deadlines in (absences.disconnected, absences.awaited, absences.cut_off):
        deadlines.update({ADA: 10.0, BOB: 10.0})
    absences.back(*ADA)
    assert list(absences.disconnected) == list(absences.awaited) == [BOB]
    assert list(absences.cut_off) == [ADA, BOB]
