//! Heartbeats, and who is signalled.

use super::*;
use crate::config::Strictness;

fn beat(next_at: Option<i64>, acts_at: Option<i64>) -> Heartbeat {
    Heartbeat {
        process: ProcessIdentity::current(),
        at: 100_000,
        awake_at: None,
        state: "watching".to_owned(),
        reason: "the run is at work".to_owned(),
        next_at,
        acts_at,
        position: 0,
        polls: false,
        prints: false,
    }
}

#[test]
fn the_next_act_is_what_is_planned_or_else_the_next_look() {
    let planned = beat(Some(105_000), Some(400_000));
    assert_eq!(planned.next_act(110_000), Some(400_000));
    let looking = beat(Some(105_000), None);
    for (now, next) in [
        (100_000, 105_000),
        (104_999, 105_000),
        (105_000, 110_000),
        (142_000, 145_000),
    ] {
        assert_eq!(looking.next_act(now), Some(next), "{now}");
    }
    assert_eq!(planned.next_act(159_000), Some(400_000));
    let passed = beat(Some(105_000), Some(106_000));
    assert_eq!(passed.next_act(106_000), Some(110_000));
    assert_eq!(beat(None, None).next_act(110_000), None);
}

#[test]
fn a_suspend_and_a_clock_that_is_set_are_no_silence() {
    let mut known = beat(Some(105_000), None);
    assert_eq!(known.silence_ms(130_000, Some(7_000)), 30_000);
    known.awake_at = Some(5_000);
    for (now, awake, silence) in [
        (130_000, Some(35_000), 30_000),
        (130_000, None, 30_000),
        // The machine slept, or the clock was set forward, or back.
        (100_000_000, Some(35_000), 30_000),
        (20_000, Some(905_000), 900_000),
        // Not of this reckoning.
        (130_000, Some(4_000), 30_000),
    ] {
        assert_eq!(known.silence_ms(now, awake), silence, "{now} {awake:?}");
    }
}

#[test]
fn whoever_hears_of_no_file_events_is_signalled_and_nobody_else() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let post = Post {
        dir: dir.path().to_owned(),
        stem: "w.1".to_owned(),
    };
    let lock = FileLock::try_acquire(&post.lock_path(), DETACHED).expect("lockable");
    let _lock = lock.expect("free");
    let heard = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = || heard.load(std::sync::atomic::Ordering::SeqCst);
    let counter = std::sync::Arc::clone(&heard);
    crate::process::on_stop_signals(move |_| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    })
    .expect("handlers can be installed");
    let mut stranger = beat(None, None);
    stranger.polls = true;
    stranger.process.start_time.push('0');
    for beat in [beat(None, None), stranger] {
        let text = serde_json::to_vec(&beat).expect("serialisable");
        std::fs::write(post.heartbeat_path(), text).expect("writable");
        post.poke();
    }
    let mut polling = beat(None, None);
    polling.polls = true;
    let text = serde_json::to_vec(&polling).expect("serialisable");
    std::fs::write(post.heartbeat_path(), text).expect("writable");
    post.poke();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while count() == 0 && std::time::Instant::now() < end {
        std::thread::yield_now();
    }
    assert_eq!(count(), 1);
}

#[test]
fn a_heartbeat_that_a_power_cut_emptied_is_none() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let state = dir.path().as_os_str().to_owned();
    let env = |name: &str| (name == "DISPATCH_HOME").then(|| state.clone());
    let home = Home::open(&env, "a test", Strictness::Refuse).expect("a home");
    let post = Post {
        dir: dir.path().to_owned(),
        stem: "w.1".to_owned(),
    };
    assert_eq!(post.heartbeat(&home), None);
    let written = beat(Some(105_000), None);
    post.write_heartbeat(&home, &written).expect("writable");
    assert_eq!(post.heartbeat(&home), Some(written));
    std::fs::write(post.heartbeat_path(), "").expect("writable");
    assert_eq!(post.heartbeat(&home), None);
}

#[test]
fn a_wedged_watcher_promises_nothing_new() {
    let looking = beat(Some(105_000), Some(130_000));
    assert_eq!(looking.next_act(100_000 + STALE_MS), Some(105_000));
}
