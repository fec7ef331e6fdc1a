use super::*;

fn video() -> StreamRx {
    let mut stream = StreamRx::new(0, 0, 0, MediaKind::Video, false, true);
    stream.source = Source::first(0);
    stream
}

fn push(stream: &mut StreamRx, sequence: u16, len: usize, now: Micros) -> Accepted {
    accept(stream, sequence, len, false, now)
}

fn accept(stream: &mut StreamRx, sequence: u16, len: usize, repair: bool, now: Micros) -> Accepted {
    let packet = Incoming {
        sequence,
        timestamp: 0,
        marker: false,
        codec: 0,
        len,
        level: None,
        has_passthrough: false,
        repair,
        arrived: now,
    };
    stream.accept(&packet, None, &PassthroughExtensions::default(), now)
}

fn index(accepted: Accepted) -> u64 {
    match accepted {
        Accepted::Forward(index) => index,
        other => panic!("not forwarded: {other:?}"),
    }
}

#[test]
fn padding_only_packets_leave_no_gap() {
    let mut stream = video();
    let first = index(push(&mut stream, 10, 100, 0));
    assert_eq!(push(&mut stream, 12, 0, 0), Accepted::PaddingOnly);
    assert_eq!(index(push(&mut stream, 13, 100, 0)), first + 2);
    assert_eq!(
        index(push(&mut stream, 11, 100, 0)),
        first + 1,
        "late, but before the dropped one"
    );
}

#[test]
fn padding_that_comes_late_fills_the_hole_it_left() {
    let mut stream = video();
    let first = index(push(&mut stream, 10, 100, 0));
    assert_eq!(index(push(&mut stream, 12, 100, 0)), first + 2);
    assert_eq!(index(push(&mut stream, 11, 0, 0)), first + 1);
    let slot = *stream.ring.get(first + 1).expect("stored");
    assert_eq!(stream.ring.payload(&slot, 0), [1]);
    assert_ne!(slot.flags & FILLER, 0);
}

#[test]
fn duplicates_are_refused() {
    let mut stream = video();
    push(&mut stream, 10, 100, 0);
    assert_eq!(push(&mut stream, 10, 100, 0), Accepted::Late);
    assert_eq!(stream.counters.packets, 1);
}

#[test]
fn a_far_jump_is_no_loss() {
    let mut stream = video();
    let first = index(push(&mut stream, 10, 100, 0));
    let before = stream.source_of(first);
    let beyond = index(push(&mut stream, 20_000, 100, 0));
    assert_eq!(beyond, first + 19_990);
    assert_eq!(stream.lost(), 0);
    assert!(stream.key_frames.deadline().is_some());
    assert_eq!(
        stream.source_of(first),
        before,
        "what waits is of the old run"
    );
    assert_eq!(stream.source_of(beyond), before.next());
    assert_eq!(push(&mut stream, 11, 100, 0), Accepted::Late);
    assert_eq!(
        stream.source_of(beyond),
        before.next(),
        "and nothing goes back"
    );
}

#[test]
fn a_retransmission_moves_no_sequence_numbers() {
    let mut stream = video();
    push(&mut stream, 10, 100, 0);
    let late = accept(&mut stream, 20_000, 100, true, 0);
    assert_eq!(late, Accepted::Late);
    assert!(matches!(
        push(&mut stream, 11, 100, 0),
        Accepted::Forward(_)
    ));
}

#[test]
fn repairs_of_one_source_do_not_lower_the_score_of_the_next() {
    let mut stream = video();
    for sequence in (0..100u16).filter(|sequence| *sequence == 0 || sequence % 2 == 1) {
        push(&mut stream, sequence, 100, 0);
    }
    stream.mark_active(Accepted::PaddingOnly, 0);
    let nack = stream.nack.as_mut().expect("asks for what is lost");
    nack.take(20_000, None, |_| true);
    for sequence in (2..100u16).step_by(2) {
        push(&mut stream, sequence, 100, 30_000);
    }
    assert_eq!(stream.counters.repaired, 49);
    stream.replace(2, 40_000);
    for sequence in 0..100 {
        push(&mut stream, sequence, 100, 40_000);
    }
    stream.update_score();
    assert_eq!(stream.score.value(), 10);
}

#[test]
fn reports_count_what_is_missing() {
    let mut stream = video();
    assert_eq!(stream.report(), None);
    for sequence in [0u16, 1, 2, 4, 5, 6, 7] {
        push(&mut stream, sequence.wrapping_sub(2), 100, 0);
    }
    let report = stream.report().expect("media came");
    assert_eq!((report.fraction_lost, report.cumulative_lost), (32, 1));
    assert_eq!(report.highest, 0x1_0005);
    push(&mut stream, 1, 100, 0);
    let report = stream.report().expect("media came");
    assert_eq!((report.fraction_lost, report.cumulative_lost), (0, 0));
}

#[test]
fn a_lossy_stream_scores_less_and_only_changes_are_reported() {
    let mut stream = video();
    push(&mut stream, 0, 100, 0);
    stream.mark_active(Accepted::PaddingOnly, 0);
    for sequence in (1..101).filter(|sequence| sequence % 10 != 5) {
        push(&mut stream, sequence, 100, 0);
    }
    // 90 of 100: ((90 - 10) / 90)^4 * 10 = 6.2
    assert!(stream.update_score());
    assert_eq!(stream.score.value(), 6);
    for sequence in (101..201).filter(|sequence| sequence % 10 != 5) {
        push(&mut stream, sequence, 100, 0);
    }
    assert!(!stream.update_score(), "the same again");
    stream.mark_inactive();
    assert!(!stream.update_score(), "a silent stream is not judged");
    assert_eq!(stream.score.value(), 0);
}

#[test]
fn rtx_is_ahead_of_its_source_for_two_seconds_at_most() {
    let mut stream = video();
    push(&mut stream, 10, 100, 0);
    stream.replace_rtx(7, 0);
    assert!(!stream.is_rtx_ahead(0), "the first one");
    stream.replace_rtx(8, 1_000_000);
    assert!(stream.is_rtx_ahead(2_999_999));
    assert!(!stream.is_rtx_ahead(3_000_000));
}

#[test]
fn a_new_source_forgets_the_rtx_of_the_old_one_unless_it_was_announced_or_runs_ahead() {
    // Media was received, the RTX SSRC was announced, the RTX SSRC has changed already: is it forgotten?
    for (heard, announced, ahead, forgotten) in [
        (true, false, false, true),
        (true, true, false, false),
        (true, false, true, false),
        (false, false, false, false),
        (false, true, false, false),
    ] {
        let mut stream = video();
        stream.rtx_announced = announced;
        stream.rtx_ssrc = Some(7);
        if heard {
            push(&mut stream, 10, 100, 0);
        }
        if ahead {
            stream.replace_rtx(8, 0);
        }
        let told = stream.replace(5, 1000);
        let case = (heard, announced, ahead);
        assert_eq!(told, forgotten, "{case:?}");
        assert_eq!(stream.rtx_ssrc.is_none(), forgotten, "{case:?}");
    }
}

#[test]
fn a_new_source_is_numbered_from_the_cycle_after_the_next() {
    let mut stream = video();
    assert_eq!(index(push(&mut stream, 10, 100, 0)), CYCLE + 10);
    stream.replace(5, 0);
    assert_eq!(index(push(&mut stream, 3, 100, 0)), 3 * CYCLE + 3);
    stream.replace(6, 0);
    assert_eq!(index(push(&mut stream, 7, 100, 0)), 5 * CYCLE + 7);
}

#[test]
fn reports_count_from_the_jump_on_what_is_missing_behind_it() {
    let mut stream = video();
    for sequence in [10, 11, 13] {
        push(&mut stream, sequence, 100, 0);
    }
    for sequence in [20_000, 20_001, 20_003] {
        push(&mut stream, sequence, 100, 0);
    }
    assert_eq!(stream.newest_index(), Some(CYCLE + 20_003));
    let report = stream.report().expect("media came");
    assert_eq!(report.cumulative_lost, 2);
    assert_eq!(report.fraction_lost, 64, "2 of 8");
    assert_eq!(report.highest, 20_003);
}

#[test]
fn an_original_that_arrives_after_its_repair_is_neither_repaired_nor_lost() {
    let mut stream = video();
    for sequence in [10, 13] {
        push(&mut stream, sequence, 100, 0);
    }
    assert_eq!(stream.lost(), 2);
    accept(&mut stream, 11, 100, true, 0);
    assert_eq!((stream.lost(), stream.counters.repaired), (1, 1));
    assert_eq!(push(&mut stream, 11, 100, 0), Accepted::Late);
    assert_eq!((stream.lost(), stream.counters.repaired), (1, 0));
    let report = stream.report().expect("media came");
    assert_eq!(report.cumulative_lost, 1);
}

#[test]
fn a_bye_is_handled_again_after_a_second() {
    let mut stream = video();
    push(&mut stream, 0, 100, 0);
    stream.mark_active(Accepted::PaddingOnly, 0);
    assert!(stream.on_bye(0), "from 10 to 0");
    stream.mark_active(Accepted::PaddingOnly, 500_000);
    assert!(!stream.on_bye(999_999));
    assert_eq!(stream.score.value(), 10);
    assert!(stream.on_bye(1_000_000));
}
