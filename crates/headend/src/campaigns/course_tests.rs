use super::*;
use crate::campaigns::plan::{Plan, Stage, tests_plan};

const TARGET: Digest384 = Digest384([0xAB; 48]);
const OLD: Digest384 = Digest384([1; 48]);

fn meter(serial: usize) -> MeterId {
    MeterId::new(*b"MSL", serial as u64).unwrap()
}

fn at(seconds: i64) -> UnixMillis {
    UnixMillis(1_000_000_000 + seconds * 1000)
}

fn course(count: usize, plan: Plan) -> Course {
    let record = CampaignRecord {
        id: 1,
        plan,
        created_by: "a clerk".into(),
        created_at: at(0),
        state: CampaignState::Running,
        reason: None,
        changed_at: at(0),
        stage: 0,
        settled_at: None,
        forgiven: 0,
    };
    let member = |rank: usize| MemberRecord {
        meter: meter(rank),
        rank: rank as u32,
        state: MemberState::Waiting,
        reason: None,
        changed_at: at(0),
        boots: None,
    };
    let mut course = Course::new(record, (0..count).map(member).collect(), TARGET, at(0));
    (0..count).for_each(|serial| course.set_online(meter(serial), true, at(0)));
    course
}

fn staged(percents: &[f64], soak_seconds: u64) -> Plan {
    let stages = percents.iter().map(|&percent| Stage { percent, soak_seconds }).collect();
    Plan { stages, ..tests_plan() }
}

fn says(image: Digest384, is_confirmed: bool, boots: u32) -> AttestedRecord {
    let sequence = if image == TARGET { 2 } else { 1 };
    AttestedRecord {
        boot_chain: vec![],
        boot_key: vec![],
        is_simulated: true,
        image,
        version: format!("v{sequence}"),
        sequence,
        is_confirmed,
        boots,
        highest: if is_confirmed { sequence } else { 1 },
        root_version: 1,
        slots: [(OLD, 1), (TARGET, 2)],
        at: at(0),
    }
}

/// Everything that a meter does when all goes well.
fn updates(course: &mut Course, serial: usize, now: UnixMillis) {
    course.set(meter(serial), MemberState::Ready, None, now);
    course.order(meter(serial), Some(7), now);
    course.attested(meter(serial), &says(TARGET, true, 8), now);
}

#[test]
fn stages_go_on_after_their_soak_and_only_then() {
    let mut course = course(10, staged(&[10.0, 50.0, 100.0], 60));
    assert_eq!(course.launch(at(0)), vec![meter(0)]);
    assert_eq!(course.launch(at(0)), vec![]);
    assert_eq!(course.judge(at(1)), None);
    updates(&mut course, 0, at(10));
    assert_eq!(course.judge(at(10)), None);
    assert_eq!(course.judge(at(69)), None, "it soaks");
    assert_eq!(course.judge(at(70)), Some(Verdict::NextStage));
    assert_eq!(course.launch(at(70)).len(), 4);
    (1..5).for_each(|serial| updates(&mut course, serial, at(80)));
    assert_eq!(course.judge(at(80)), None);
    assert_eq!(course.judge(at(140)), Some(Verdict::NextStage));
    course.launch(at(140));
    (5..10).for_each(|serial| updates(&mut course, serial, at(150)));
    assert_eq!(course.judge(at(150)), Some(Verdict::Finished));
    assert_eq!(course.counts().of(MemberState::Done), 10);
    assert!(course.is_over());
}

#[test]
fn only_so_many_are_in_transfer_at_once_and_a_place_that_gets_free_is_taken() {
    let mut course = course(9, Plan { in_flight: 3, ..tests_plan() });
    assert_eq!(course.launch(at(0)).len(), 3);
    assert_eq!(course.turn(meter(0), at(0)), Some(MemberState::Transferring));
    assert_eq!(course.turn(meter(3), at(0)), None);
    // One hangs up, one is through.
    course.set_online(meter(0), false, at(1));
    course.set(meter(1), MemberState::Ready, None, at(1));
    assert_eq!(course.launch(at(1)), vec![meter(3), meter(4)]);
    // Who comes back goes on before those who never had a turn, once there is a place.
    course.set_online(meter(0), true, at(2));
    assert_eq!(course.turn(meter(0), at(2)), None);
    course.set(meter(2), MemberState::Failed, None, at(2));
    assert_eq!(course.launch(at(2)), vec![meter(0)]);
}

#[test]
fn attack_what_a_meter_reports_counts_for_nothing_only_its_attestation_does() {
    let mut course = course(1, tests_plan());
    course.launch(at(0));
    course.order(meter(0), Some(7), at(1));
    assert_eq!(course.counts().of(MemberState::Done), 0);
    // On probation is not done.
    course.attested(meter(0), &says(TARGET, false, 8), at(2));
    assert_eq!(course.counts().of(MemberState::Done), 0);
    assert_eq!(course.member(meter(0)).unwrap().state, MemberState::Probation);
    course.attested(meter(0), &says(TARGET, true, 8), at(3));
    assert_eq!(course.counts().of(MemberState::Done), 1);
    // It attested the image once, and another one afterwards.
    course.attested(meter(0), &says(OLD, true, 9), at(4));
    assert_eq!(course.counts().of(MemberState::Failed), 1);
}

#[test]
fn a_meter_that_goes_back_to_its_former_image_has_failed_and_the_campaign_stops() {
    let mut course = course(10, Plan { max_failed_percent: 5.0, ..staged(&[10.0, 100.0], 0) });
    course.launch(at(0));
    course.order(meter(0), Some(7), at(1));
    course.attested(meter(0), &says(OLD, true, 7), at(2));
    assert_eq!(course.judge(at(2)), None, "it has not started yet");
    course.attested(meter(0), &says(OLD, true, 8), at(3));
    let Some(Verdict::Stopped(reason)) = course.judge(at(3)) else { panic!("it goes on") };
    assert!(reason.contains("1 of the 1 meters") && reason.contains("went back"), "{reason}");
    assert_eq!(course.record.state, CampaignState::Stopped);
    assert_eq!(course.launch(at(4)), vec![]);
    // Somebody has looked, and accepts that one failed. Nothing is known of the image then.
    course.resume(at(5));
    let verdict = course.judge(at(5));
    assert!(matches!(verdict, Some(Verdict::Stopped(reason)) if reason.contains("without one meter")));
}

#[test]
fn who_is_away_for_too_long_holds_nobody_up_and_is_updated_when_it_calls() {
    let mut course = course(3, Plan { patience_seconds: 100, ..tests_plan() });
    course.launch(at(0));
    updates(&mut course, 0, at(1));
    course.set_online(meter(1), false, at(1));
    course.order(meter(2), Some(1), at(1));
    course.set_online(meter(2), false, at(1));
    assert_eq!(course.judge(at(101)), None);
    let stopped = course.judge(at(102));
    assert_eq!(course.member(meter(1)).unwrap().state, MemberState::Unreached);
    let lost = course.member(meter(2)).unwrap();
    assert_eq!(lost.state, MemberState::Failed, "told to start the image, and not heard of since");
    assert!(lost.reason.as_ref().unwrap().contains("100 s"), "{lost:?}");
    assert!(matches!(stopped, Some(Verdict::Stopped(_))));
    course.resume(at(103));
    course.set_online(meter(1), true, at(103));
    assert_eq!(course.launch(at(103)), vec![meter(1)]);
    // And what came back after all is counted as what it attests.
    course.attested(meter(2), &says(TARGET, true, 2), at(104));
    assert_eq!(course.counts().of(MemberState::Done), 2);
}

#[test]
fn paused_nothing_is_sent_and_aborted_only_those_told_to_start_are_followed() {
    let mut course = course(3, tests_plan());
    course.launch(at(0));
    course.order(meter(0), Some(1), at(1));
    course.set_state(CampaignState::Paused, None, at(2));
    assert_eq!([0, 1].map(|serial| course.turn(meter(serial), at(2))), [Some(MemberState::Ordered), None]);
    assert_eq!(course.launch(at(2)), vec![]);
    course.resume(at(3));
    assert_eq!(course.launch(at(3)).len(), 2);
    course.abort(Some("wrong version".into()), at(4));
    assert_eq!(course.counts().of(MemberState::LeftOut), 2);
    assert!(!course.is_over());
    course.attested(meter(0), &says(TARGET, true, 2), at(5));
    assert!(course.is_over());
}

#[test]
fn nothing_is_sent_outside_of_the_window_or_started_before_its_time() {
    let plan = Plan { activate_at_ms: Some(at(100).0), ..tests_plan() };
    let mut course = course(2, plan);
    course.launch(at(0));
    course.set(meter(0), MemberState::Ready, None, at(1));
    assert_eq!(course.turn(meter(0), at(99)), None);
    assert_eq!(course.turn(meter(0), at(100)), Some(MemberState::Ready));
    // 1970-01-12T13:46:40Z is where `at` begins.
    course.record.plan.window = Some(crate::campaigns::plan::Window::parse("01:00-05:00", None).unwrap());
    assert_eq!([0, 1].map(|serial| course.turn(meter(serial), at(100))), [None, None]);
}

#[test]
fn an_image_that_is_not_for_a_meter_is_skipped_and_a_passing_failure_is_tried_again() {
    let mut course = course(2, tests_plan());
    course.launch(at(0));
    let newer = AttestedRecord { highest: 5, ..says(OLD, true, 1) };
    course.attested(meter(0), &newer, at(1));
    assert_eq!(course.member(meter(0)).unwrap().state, MemberState::Skipped);
    for _ in 1..TRIES {
        course.failed_for_now(meter(1), "busy".into(), at(2));
    }
    assert_eq!(course.member(meter(1)).unwrap().state, MemberState::Transferring);
    course.failed_for_now(meter(1), "busy".into(), at(2));
    assert_eq!(course.member(meter(1)).unwrap().state, MemberState::Failed);
}

#[test]
fn what_was_not_written_stays_unwritten_until_that_very_row_is() {
    let mut course = course(2, tests_plan());
    course.launch(at(0));
    let (record, rows) = course.unwritten();
    assert_eq!((record.is_none(), rows.len()), (true, 2));
    course.set(meter(0), MemberState::Ready, None, at(1));
    course.written(None, &rows);
    let (_, rest) = course.unwritten();
    assert_eq!(rest.iter().map(|row| row.meter).collect::<Vec<_>>(), vec![meter(0)]);
}
