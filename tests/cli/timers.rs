//! `dispatch install-timers`, and the programs as cron and systemd start them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::support::{House, Ran, eventually, kill_hard, program, run};

/// A house whose `systemctl` writes down what it is asked, and answers as `script` says.
fn house_with_systemctl(script: &str) -> House {
    let house = House::new();
    let bin = house.path("bin");
    fs::create_dir_all(&bin).expect("creatable");
    let systemctl = bin.join("systemctl");
    let asked = house.path("asked");
    let text = format!("#!/bin/sh\necho \"$*\" >> {}\n{script}\n", asked.display());
    fs::write(&systemctl, text).expect("writable");
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).expect("ours");
    house
}

fn install(house: &House, words: &[&str]) -> Ran {
    let path = format!("{}:/usr/bin:/bin", house.path("bin").display());
    let mut command = house.command("dispatch");
    command.env("PATH", path).arg("install-timers").args(words);
    run(command, b"")
}

fn units(house: &House) -> PathBuf {
    house.path("user/.config/systemd/user")
}

const NAMES: [&str; 4] = [
    "dispatch-recovery.service",
    "dispatch-recovery.timer",
    "dispatch-stuck.service",
    "dispatch-stuck.timer",
];

fn actions(ran: &Ran) -> Vec<String> {
    let files = ran.json()["files"].as_array().cloned().expect("files");
    let action = |file: &serde_json::Value| file["action"].as_str().expect("a text").to_owned();
    files.iter().map(action).collect()
}

#[test]
fn nothing_is_done_before_somebody_said_yes() {
    let house = house_with_systemctl("exit 0");
    let shown = install(&house, &["--output", "table"]).exits(0);
    assert!(
        shown.stdout.ends_with(
            "systemctl --user enable --now dispatch-recovery.timer dispatch-stuck.timer\nNothing was changed: say --yes to do it.\n"
        ),
        "{}",
        shown.stdout
    );
    for name in NAMES {
        let line = format!("write {}\n", units(&house).join(name).display());
        assert!(shown.stdout.contains(&line), "{}", shown.stdout);
    }
    assert!(!units(&house).exists());
    assert!(!house.path("asked").exists());
}

#[test]
fn timers_are_installed_once_and_taken_away_again() {
    let house = house_with_systemctl("exit 0");
    let first = install(&house, &["--yes"]).exits(0);
    assert_eq!(actions(&first), ["write"; 4]);
    assert_eq!(first.json()["enabled"], true);
    let service = fs::read_to_string(units(&house).join(NAMES[0])).expect("written");
    let state = format!("Environment=\"DISPATCH_HOME={}\"", house.state().display());
    assert!(service.lines().any(|line| line == state), "{service}");
    assert!(
        service.lines().any(|line| line == "KillMode=process"),
        "{service}"
    );

    let second = install(&house, &["--yes"]).exits(0);
    assert_eq!(actions(&second), ["unchanged"; 4]);
    let asked = house.text("asked");
    let enable = "--user enable --now dispatch-recovery.timer dispatch-stuck.timer";
    let expected = [
        "--user daemon-reload",
        enable,
        "--user daemon-reload",
        enable,
    ];
    assert_eq!(asked.lines().collect::<Vec<_>>(), expected);

    let gone = install(&house, &["--remove", "--yes"]).exits(0);
    assert_eq!(actions(&gone), ["remove"; 4]);
    let left: Vec<_> = fs::read_dir(units(&house)).expect("there").collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(
        house.text("asked").lines().skip(4).collect::<Vec<_>>(),
        [
            "--user disable --now dispatch-recovery.timer dispatch-stuck.timer",
            "--user daemon-reload"
        ]
    );
    let again = install(&house, &["--remove", "--yes"]).exits(0);
    assert_eq!(actions(&again), ["unchanged"; 4]);
}

#[test]
fn a_manager_that_does_not_run_is_told_of_and_the_files_stay() {
    let house =
        house_with_systemctl("echo 'Failed to connect to bus: No medium found' >&2; exit 1");
    let ran = install(&house, &["--yes"]).exits(1);
    assert_eq!(ran.json()["enabled"], false);
    let message = ran.json()["message"].as_str().expect("a text").to_owned();
    assert!(
        message.contains("Failed to connect to bus: No medium found"),
        "{message}"
    );
    assert!(units(&house).join(NAMES[1]).exists());
}

#[test]
fn a_unit_that_somebody_else_wrote_is_left_alone() {
    let house = house_with_systemctl("exit 0");
    fs::create_dir_all(units(&house)).expect("creatable");
    let theirs = units(&house).join(NAMES[2]);
    fs::write(&theirs, "[Service]\nExecStart=/bin/true\n").expect("writable");
    let refused = install(&house, &["--yes"]).exits(1);
    let sentence = format!(
        "[dispatch] {} was not written by dispatch; move it away first\n",
        theirs.display()
    );
    assert_eq!(refused.stderr, sentence);
    assert!(!units(&house).join(NAMES[0]).exists());
    install(&house, &["--remove", "--yes"]).exits(0);
    let text = fs::read_to_string(&theirs).expect("still there");
    assert_eq!(text, "[Service]\nExecStart=/bin/true\n");
}

/// systemd's own check of what we write. It exists on machines with systemd alone.
#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let has_systemd = Command::new("systemd-analyze").arg("--version").output();
    if !has_systemd.is_ok_and(|ran| ran.status.success()) {
        println!("skipped: systemd-analyze is not here");
        return;
    }
    let house = house_with_systemctl("exit 0");
    let odd = house.path("50% $x \"y\" 'z' \\n;");
    let path = format!(
        "{}:{}:/usr/bin:/bin",
        house.path("bin").display(),
        odd.display()
    );
    let mut command = house.command("dispatch");
    command.args(["install-timers", "--yes"]).env("PATH", path);
    command.env("DISPATCH_HOME", odd);
    run(command, b"").exits(0);
    let mut verify = Command::new("systemd-analyze");
    verify.args(["--user", "verify", "--man=no"]);
    verify.args(NAMES.map(|name| units(&house).join(name)));
    verify
        .env("HOME", house.path("user"))
        .env("XDG_RUNTIME_DIR", house.root());
    let ran = run(verify, b"");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
}

#[test]
fn crontab_lines_run_where_nothing_is_set() {
    let house = House::new();
    let printed = house
        .dispatch(&["install-timers", "--cron"])
        .exits(0)
        .stdout;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 2, "{printed}");
    house.enqueue("l", "echo hi");
    house.ended("l");
    for (line, schedule) in lines.iter().zip(["* * * * * ", "*/5 * * * * "]) {
        let command = line.strip_prefix(schedule).expect("a schedule");
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().args(["-c", command]).current_dir("/");
        let ran = run(shell, b"");
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    }
}

/// The command of a crontab's line, as cron hands it to a shell.
fn command_of(line: &str) -> String {
    let fields: Vec<&str> = line.splitn(6, ' ').collect();
    fields[5].replace("\\%", "%")
}

#[track_caller]
fn runs_as_from_cron(house: &House, line: &str) {
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().args(["-c", &command_of(line)]);
    shell
        .env("HOME", house.path("user"))
        .env("PATH", "/usr/bin:/bin");
    run(shell, b"").exits(0);
}

#[test]
fn timers_look_after_the_state_that_a_profile_of_openclaw_leads_to() {
    let house = house_with_systemctl("exit 0");
    let openclaw = house.path("user/.openclaw-work");
    fs::create_dir_all(openclaw.join("dispatch")).expect("creatable");
    let install = |words: &[&str]| {
        let mut command = house.command("dispatch");
        let path = format!("{}:bin:/usr/bin:/bin", house.path("bin").display());
        command.env_remove("DISPATCH_HOME").env("PATH", path);
        command.env("OPENCLAW_PROFILE", "work");
        command.arg("install-timers").args(words);
        let ran = run(command, b"").exits(0);
        assert_eq!(ran.stderr, "");
        ran.stdout
    };
    let variables = [
        format!("DISPATCH_HOME={}/dispatch", openclaw.display()),
        format!("OPENCLAW_STATE_DIR={}", openclaw.display()),
        format!("PATH={}:/usr/bin:/bin", house.path("bin").display()),
    ];
    install(&["--yes"]);
    for name in [NAMES[0], NAMES[2]] {
        let service = fs::read_to_string(units(&house).join(name)).expect("written");
        let given: Vec<&str> = service
            .lines()
            .filter_map(|line| line.strip_prefix("Environment=\"")?.strip_suffix('"'))
            .collect();
        assert_eq!(given, variables);
    }
    let printed = install(&["--cron"]);
    let program = |name| program(name).display().to_string();
    assert_eq!(
        printed,
        format!(
            "* * * * * {0} {1}\n*/5 * * * * {0} {2} --quiet\n",
            variables.join(" "),
            program("529-recovery"),
            program("stuck-detector"),
        )
    );
    for (line, written) in printed.lines().zip(["recovery.json", "stuck.json"]) {
        runs_as_from_cron(&house, line);
        assert!(openclaw.join("dispatch").join(written).exists(), "{line}");
    }
}

#[test]
fn a_watcher_that_timers_revive_finds_the_programs_of_whoever_installed_them() {
    let house = House::new();
    let gate = house.gate("gate");
    let bin = house.path("bin of 50%");
    fs::create_dir_all(&bin).expect("creatable");
    let receiver = bin.join("tell-them");
    fs::write(&receiver, "#!/bin/sh\ngrep -q hi\n").expect("writable");
    fs::set_permissions(&receiver, fs::Permissions::from_mode(0o755)).expect("ours");
    house.configure(&json!({"commands": {"them": ["tell-them"]}}));
    let mut command = house.command("dispatch");
    let path = format!("{}:/usr/bin:/bin", bin.display());
    command.env("PATH", path).args(["install-timers", "--cron"]);
    let printed = run(command, b"").exits(0).stdout;
    let script = format!("{}; echo hi", gate.pass());
    let words = ["enqueue", "--label", "w", "--deliver-to", "command:them"];
    house
        .dispatch(&[&words[..], &["--", "sh", "-c", &script]].concat())
        .exits(0);
    house.runner_pid("w");
    kill_hard(house.watcher_pid("w"));
    runs_as_from_cron(&house, printed.lines().next().expect("a line"));
    house.watcher_pid("w");
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
    eventually("they are told", || {
        (house.entry("w")["deliveries"][0]["state"] == "delivered").then_some(())
    });
}

#[test]
fn what_may_be_secret_is_not_written_and_said_where_to_put() {
    let house = house_with_systemctl("exit 0");
    let install = |words: &[&str], url: &str| {
        let mut command = house.command("dispatch");
        let path = format!("{}:/usr/bin:/bin", house.path("bin").display());
        command.env("PATH", path).arg("install-timers").args(words);
        command.env("OPENCLAW_GATEWAY_URL", url);
        for name in ["LOKI_PUSH_URL", "DISPATCH_WEBHOOK_URL"] {
            command.env(name, "https://me:s3cret@example.org/");
        }
        for name in [
            "DISPATCH_WEBHOOK_SECRET",
            "OPENCLAW_GATEWAY_TOKEN",
            "OPENCLAW_GATEWAY_PASSWORD",
        ] {
            command.env(name, "s3cret");
        }
        command.env("DISPATCH_HOST", "my host");
        run(command, b"").exits(0)
    };
    let told = "\
[dispatch] the timers are not given LOKI_PUSH_URL, which may hold a secret; put it into STATE/config.json as \"events.loki\"
[dispatch] the timers are not given DISPATCH_WEBHOOK_URL, which may hold a secret; put it into STATE/config.json as \"events.webhook.url\"
[dispatch] the timers are not given DISPATCH_WEBHOOK_SECRET, which may hold a secret; put it into STATE/config.json as \"events.webhook.secret\"
[dispatch] the timers are not given OPENCLAW_GATEWAY_TOKEN, which may hold a secret; put it into USER/.openclaw/openclaw.json as \"gateway.auth.token\"
[dispatch] the timers are not given OPENCLAW_GATEWAY_PASSWORD, which may hold a secret; put it into USER/.openclaw/openclaw.json as \"gateway.auth.password\"
";
    let told = told
        .replace("STATE", &house.state().display().to_string())
        .replace("USER", &house.path("user").display().to_string());
    let url = "wss://example.org:1";
    let printed = install(&["--cron"], url);
    assert_eq!(printed.stderr, told);
    for line in printed.stdout.lines() {
        let given = " DISPATCH_HOST='my host' OPENCLAW_GATEWAY_URL=wss://example.org:1 PATH=";
        assert!(line.contains(given), "{line}");
    }
    let hidden = "wss://example.org/?token=s3cret";
    let written = install(&["--yes"], hidden);
    let last = "[dispatch] the timers are not given OPENCLAW_GATEWAY_URL, which may hold a secret; install them with the address alone\n";
    assert_eq!(written.stderr, format!("{told}{last}"));
    for name in NAMES {
        let unit = fs::read_to_string(units(&house).join(name)).expect("written");
        assert!(!unit.contains("s3cret"), "{unit}");
    }
    assert!(!printed.stdout.contains("s3cret"), "{}", printed.stdout);
    // Taking them away needs none of it.
    assert_eq!(install(&["--remove", "--yes"], url).stderr, "");
}

#[test]
fn a_line_that_is_too_long_for_some_crons_is_told() {
    let house = House::new();
    let mut command = house.command("dispatch");
    command.env("PATH", format!("/{}:/usr/bin:/bin", "x".repeat(1000)));
    command.args(["install-timers", "--cron"]);
    let ran = run(command, b"").exits(0);
    for (said, line) in ran.stderr.lines().zip(ran.stdout.lines()) {
        let tail = format!(
            " has {} bytes, and some crons take 998 at most; a shorter PATH makes it shorter",
            line.len()
        );
        assert!(said.ends_with(&tail), "{said}");
    }
    assert_eq!(ran.stderr.lines().count(), 2, "{ran:?}");
}

/// Without a home, every program says what is missing.
#[test]
fn programs_without_any_environment_say_what_is_missing() {
    let cases: [(&str, &[&str]); 3] = [
        ("529-recovery", &[]),
        ("stuck-detector", &[]),
        ("dispatch", &["list"]),
    ];
    for (name, words) in cases {
        let mut command = Command::new(program(name));
        command.env_clear().args(words).current_dir("/");
        let ran = run(command, b"").exits(2);
        assert!(
            ran.stderr.contains("neither DISPATCH_HOME nor HOME is set"),
            "{ran:?}"
        );
    }
}

#[test]
fn flags_that_do_not_go_together_are_refused() {
    let house = House::new();
    house
        .dispatch(&["install-timers", "--cron", "--remove"])
        .exits(2);
}
