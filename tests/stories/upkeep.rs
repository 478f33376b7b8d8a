//! The operator's commands: `sync`, `watcher-handoff`, `install-timers`, `doctor`, `man`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{FOUND, refuses, tells};
use crate::support::{House, eventually, finish, holder_of};

fn house() -> House {
    let house = House::new();
    house.write_ledger(FOUND);
    house
}

#[test]
fn sync_says_what_it_leaves_to_others() {
    tells(
        &house(),
        r#"
$ dispatch sync --dry-run
{
  "ok": true,
  "dryRun": true,
  "changes": 0,
  "details": [
    {
      "label": "theirs",
      "sessionKey": "agent:main:subagent:31111111-2222-4333-8444-555555555555",
      "action": "skipped",
      "from": "running",
      "to": null,
      "reason": "another tool started it and watches it; take it over by: dispatch watcher-handoff --label theirs"
    }
  ]
}
$ dispatch sync --dry-run --output table
LABEL   WHAT     NOW  WHY
theirs  skipped       another tool started it and watches it; take it over by: dispatch watcher-handoff --label theirs
2> [dispatch] 0 would be changed
$ dispatch sync --output table
LABEL   WHAT     NOW  WHY
theirs  skipped       another tool started it and watches it; take it over by: dispatch watcher-handoff --label theirs
2> [dispatch] 0 changed
$ dispatch sync --no-import --output table
LABEL   WHAT     NOW  WHY
theirs  skipped       another tool started it and watches it; take it over by: dispatch watcher-handoff --label theirs
2> [dispatch] 0 changed
"#,
    );
}

#[test]
fn a_watcher_in_the_foreground_is_left_alone() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("slow", &gate.pass());
    let detached = house.watcher_pid("slow");
    let foreground = house.start("watcher", &["--label", "slow"]);
    let pid = foreground.id();
    eventually("the foreground watcher has the post", || {
        (holder_of(&house.post_lock("slow")) == Some(pid)).then_some(())
    });
    tells(
        &house,
        r#"
$ dispatch watcher-handoff --label slow
{
  "ok": false,
  "scheduled": false,
  "jobId": null,
  "reason": "its watcher (pid PID) prints the result for whoever started it, and is not replaced; end it first, or let it finish",
  "status": "running",
  "label": "slow",
  "generation": MS,
  "oldPid": PID,
  "newPid": null,
  "message": "its watcher (pid PID) prints the result for whoever started it, and is not replaced; end it first, or let it finish"
}
=> 1
$ dispatch watcher-handoff --label slow --output table
2> [dispatch] slow: its watcher (pid PID) prints the result for whoever started it, and is not replaced; end it first, or let it finish
=> 1
$ dispatch watcher-handoff --all --output table
slow: its watcher (pid PID) prints the result for whoever started it, and is not replaced; end it first, or let it finish
$ watcher --label slow
2> [dispatch] label "slow" is watched already by watcher (pid PID); leaving
"#,
    );
    gate.open();
    let ran = finish(foreground).exits(0);
    assert_eq!(
        ran.stderr,
        format!(
            "[dispatch] watcher [slow] taken over from detached watcher (pid {detached})\n[dispatch] watcher [slow] watching: the run is at work\n[dispatch] watcher [slow] concluding: the result is complete\n"
        )
    );
    assert_eq!(
        ran.stdout,
        "🌶️ *dispatch* [slow] completed:\n\nThe command exited with code 0 and printed nothing.\n"
    );
}

#[test]
fn a_fresh_watcher_takes_over() {
    let house = house();
    tells(
        &house,
        r#"
$ dispatch watcher-handoff --all
{
  "ok": true,
  "count": 0,
  "leftAlone": 0,
  "failed": 0,
  "labels": []
}
$ dispatch watcher-handoff --all --output table
no label needs a watcher
$ dispatch watcher-handoff --label built
{
  "ok": true,
  "scheduled": false,
  "jobId": null,
  "reason": "it has ended (done) and owes nothing: it needs no watcher",
  "status": "done",
  "label": "built",
  "generation": 5,
  "oldPid": null,
  "newPid": null,
  "message": "it has ended (done) and owes nothing: it needs no watcher"
}
$ dispatch watcher-handoff --label built --output table
built: it has ended (done) and owes nothing: it needs no watcher
$ dispatch watcher-handoff --label theirs
2> [dispatch] label "theirs" was started by another tool, and cannot be taken over: it went on with an older session, whose earlier replies cannot be told from its own; end it by: dispatch done --label theirs --checklist '{"work_complete":true}'
=> 1
$ dispatch watcher-handoff --label 'of another tool' --output table
of another tool: it is spawn-warning and owes nothing: it needs no watcher
"#,
    );
    let gate = house.gate("gate");
    house.enqueue("slow", &gate.pass());
    house.watcher_pid("slow");
    tells(
        &house,
        r#"
$ dispatch watcher-handoff --label slow --reason upgrade
{
  "ok": true,
  "scheduled": true,
  "jobId": null,
  "reason": "upgrade",
  "status": "running",
  "label": "slow",
  "generation": MS,
  "oldPid": PID,
  "newPid": PID,
  "message": "pid PID has taken over from pid PID"
}
$ dispatch watcher-handoff --label slow --output table
slow: pid PID has taken over from pid PID
$ dispatch watcher-handoff --all --output table
slow: pid PID has taken over from pid PID
"#,
    );
}

#[test]
fn timers_are_shown_first_and_printed_for_cron() {
    let house = house();
    refuses(
        &house,
        r#"
$ dispatch install-timers
{
  "ok": true,
  "files": [
    {
      "path": "ROOT/user/.config/systemd/user/dispatch-recovery.service",
      "action": "write"
    },
    {
      "path": "ROOT/user/.config/systemd/user/dispatch-recovery.timer",
      "action": "write"
    },
    {
      "path": "ROOT/user/.config/systemd/user/dispatch-stuck.service",
      "action": "write"
    },
    {
      "path": "ROOT/user/.config/systemd/user/dispatch-stuck.timer",
      "action": "write"
    }
  ],
  "enabled": null,
  "message": "Nothing was changed: say --yes to do it."
}
$ PATH=/usr/bin:/bin $(command -v dispatch) install-timers --output table
write ROOT/user/.config/systemd/user/dispatch-recovery.service
    # Written by 'dispatch install-timers'; '--remove' takes it away.
    [Unit]
    Description=dispatch: retry, revive and redeliver
    
    [Service]
    Type=oneshot
    KillMode=process
    Environment="DISPATCH_HOME=ROOT/state"
    Environment="PATH=/usr/bin:/bin"
    ExecStart="BIN/529-recovery"
write ROOT/user/.config/systemd/user/dispatch-recovery.timer
    # Written by 'dispatch install-timers'; '--remove' takes it away.
    [Unit]
    Description=dispatch: retry, revive and redeliver
    
    [Timer]
    OnCalendar=*:0/1
    AccuracySec=1s
    
    [Install]
    WantedBy=timers.target
write ROOT/user/.config/systemd/user/dispatch-stuck.service
    # Written by 'dispatch install-timers'; '--remove' takes it away.
    [Unit]
    Description=dispatch: find stuck sessions
    
    [Service]
    Type=oneshot
    KillMode=process
    Environment="DISPATCH_HOME=ROOT/state"
    Environment="PATH=/usr/bin:/bin"
    ExecStart="BIN/stuck-detector" --quiet
write ROOT/user/.config/systemd/user/dispatch-stuck.timer
    # Written by 'dispatch install-timers'; '--remove' takes it away.
    [Unit]
    Description=dispatch: find stuck sessions
    
    [Timer]
    OnCalendar=*:0/5
    AccuracySec=1s
    
    [Install]
    WantedBy=timers.target
systemctl --user enable --now dispatch-recovery.timer dispatch-stuck.timer
Nothing was changed: say --yes to do it.
$ dispatch install-timers --remove --output table
unchanged ROOT/user/.config/systemd/user/dispatch-recovery.service
unchanged ROOT/user/.config/systemd/user/dispatch-recovery.timer
unchanged ROOT/user/.config/systemd/user/dispatch-stuck.service
unchanged ROOT/user/.config/systemd/user/dispatch-stuck.timer
systemctl --user disable --now dispatch-recovery.timer dispatch-stuck.timer
Nothing was changed: say --yes to do it.
$ PATH=/usr/bin:/bin $(command -v dispatch) install-timers --cron
* * * * * DISPATCH_HOME=ROOT/state PATH=/usr/bin:/bin BIN/529-recovery
*/5 * * * * DISPATCH_HOME=ROOT/state PATH=/usr/bin:/bin BIN/stuck-detector --quiet
$ env -u HOME dispatch install-timers
2> [dispatch] neither XDG_CONFIG_HOME nor HOME is set, so there is no place for units; set HOME
=> 1
"#,
    );
    let units = house.root().join("user/.config/systemd/user");
    fs::create_dir_all(&units).expect("creatable");
    fs::write(units.join("dispatch-stuck.timer"), "mine\n").expect("writable");
    refuses(
        &house,
        r#"
$ dispatch install-timers --yes
2> [dispatch] ROOT/user/.config/systemd/user/dispatch-stuck.timer was not written by dispatch; move it away first
=> 1
$ dispatch install-timers --remove --yes --output table
unchanged ROOT/user/.config/systemd/user/dispatch-recovery.service
unchanged ROOT/user/.config/systemd/user/dispatch-recovery.timer
unchanged ROOT/user/.config/systemd/user/dispatch-stuck.service
leave alone (not ours) ROOT/user/.config/systemd/user/dispatch-stuck.timer
systemctl --user disable --now dispatch-recovery.timer dispatch-stuck.timer
Our timers are gone; what somebody else wrote is left.
"#,
    );
}

#[test]
fn timers_that_systemd_does_not_take_can_still_be_started_by_hand() {
    let house = house();
    let bin = house.path("bin");
    fs::create_dir(&bin).expect("creatable");
    fs::write(
        bin.join("systemctl"),
        "#!/bin/sh\necho no bus >&2\nexit 1\n",
    )
    .expect("writable");
    fs::set_permissions(bin.join("systemctl"), fs::Permissions::from_mode(0o755)).expect("ours");
    refuses(
        &house,
        r#"
$ dispatch install-timers --yes
{
  "ok": false,
  "files": [
    {
      "path": "ROOT/user/.config/systemd/user/dispatch-recovery.service",
      "action": "write"
    },
    {
      "path": "ROOT/user/.config/systemd/user/dispatch-recovery.timer",
      "action": "write"
    },
    {
      "path": "ROOT/user/.config/systemd/user/dispatch-stuck.service",
      "action": "write"
    },
    {
      "path": "ROOT/user/.config/systemd/user/dispatch-stuck.timer",
      "action": "write"
    }
  ],
  "enabled": false,
  "message": "The files are written, but systemd's user manager did not take them: no bus; run 'systemctl --user enable --now dispatch-recovery.timer dispatch-stuck.timer' where it runs, or use --cron."
}
=> 1
$ dispatch install-timers --yes --output table
unchanged ROOT/user/.config/systemd/user/dispatch-recovery.service
unchanged ROOT/user/.config/systemd/user/dispatch-recovery.timer
unchanged ROOT/user/.config/systemd/user/dispatch-stuck.service
unchanged ROOT/user/.config/systemd/user/dispatch-stuck.timer
systemctl --user enable --now dispatch-recovery.timer dispatch-stuck.timer
The files are written, but systemd's user manager did not take them: no bus; run 'systemctl --user enable --now dispatch-recovery.timer dispatch-stuck.timer' where it runs, or use --cron.
=> 1
$ dispatch install-timers --remove --yes
{
  "ok": true,
  "files": [
    {
      "path": "ROOT/user/.config/systemd/user/dispatch-recovery.service",
      "action": "remove"
    },
    {
      "path": "ROOT/user/.config/systemd/user/dispatch-recovery.timer",
      "action": "remove"
    },
    {
      "path": "ROOT/user/.config/systemd/user/dispatch-stuck.service",
      "action": "remove"
    },
    {
      "path": "ROOT/user/.config/systemd/user/dispatch-stuck.timer",
      "action": "remove"
    }
  ],
  "enabled": null,
  "message": "The timers are gone."
}
$ dispatch install-timers --remove --yes --output table
unchanged ROOT/user/.config/systemd/user/dispatch-recovery.service
unchanged ROOT/user/.config/systemd/user/dispatch-recovery.timer
unchanged ROOT/user/.config/systemd/user/dispatch-stuck.service
unchanged ROOT/user/.config/systemd/user/dispatch-stuck.timer
systemctl --user disable --now dispatch-recovery.timer dispatch-stuck.timer
The timers are gone.
"#,
    );
}

#[test]
fn doctor_tells_of_every_check_where_it_is_asked_to() {
    let house = House::new();
    tells(
        &house,
        r#"
$ dispatch doctor
{
  "ok": true,
  "checks": [
    {
      "name": "ledger",
      "ok": true,
      "state": "ok",
      "message": "ROOT/state/labels.json: 0 labels"
    },
    {
      "name": "backup",
      "ok": true,
      "state": "ok",
      "message": "as it should be"
    },
    {
      "name": "watchers",
      "ok": true,
      "state": "ok",
      "message": "0 alive"
    },
    {
      "name": "runs",
      "ok": true,
      "state": "ok",
      "message": "each is somebody's"
    },
    {
      "name": "delivery",
      "ok": true,
      "state": "ok",
      "message": "none is parked or late"
    },
    {
      "name": "timers",
      "ok": true,
      "state": "ok",
      "message": "none are installed (dispatch install-timers); the recovery scan has never run here, the stuck detector has never run here"
    },
    {
      "name": "limits",
      "ok": true,
      "state": "ok",
      "message": "enough file events for what runs"
    },
    {
      "name": "leftovers",
      "ok": true,
      "state": "ok",
      "message": "none"
    },
    {
      "name": "disk",
      "ok": true,
      "state": "ok",
      "message": "ROOT has SIZE free"
    },
    {
      "name": "locks",
      "ok": true,
      "state": "ok",
      "message": "none was ever taken"
    },
    {
      "name": "permissions",
      "ok": true,
      "state": "ok",
      "message": "0 files are private to you"
    },
    {
      "name": "events",
      "ok": true,
      "state": "ok",
      "message": "nobody is to be told"
    }
  ]
}
$ dispatch doctor --output table
ok     ledger, backup, watchers, runs, delivery, timers, limits, leftovers, disk, locks, permissions, events (--verbose tells more)
$ dispatch doctor --verbose --output table
ok     ledger: ROOT/state/labels.json: 0 labels
ok     backup: as it should be
ok     watchers: 0 alive
ok     runs: each is somebody's
ok     delivery: none is parked or late
ok     timers: none are installed (dispatch install-timers); the recovery scan has never run here, the stuck detector has never run here
ok     limits: enough file events for what runs
ok     leftovers: none
ok     disk: ROOT has SIZE free
ok     locks: none was ever taken
ok     permissions: 0 files are private to you
ok     events: nobody is to be told
"#,
    );
}

#[test]
fn manual_pages_are_written_where_there_is_a_directory_for_them() {
    let house = House::new();
    fs::write(house.path("file"), "").expect("writable");
    tells(
        &house,
        r#"
$ dispatch man --dir pages
pages/dispatch.1
pages/watcher.1
pages/529-recovery.1
pages/stuck-detector.1
$ dispatch man --dir file
2> [dispatch] cannot make the directory file: File exists (os error 17)
=> 1
$ dispatch man | head -n 1 | wc -l
1
$ dispatch completions fish | head -n 1 | wc -l
1
"#,
    );
}
