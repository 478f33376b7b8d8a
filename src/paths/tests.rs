//! Where files are found: tables of environments.

use super::*;

fn paths(vars: &[(&str, &str)]) -> Paths {
    let vars: Vec<(String, String)> = vars
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let env = move |name: &str| {
        vars.iter()
            .find(|(k, _)| k == name)
            .map(|(_, v)| OsString::from(v))
    };
    Paths::from_environment(&env).expect("a home is set")
}

#[test]
fn the_state_directory_follows_the_order_of_the_design() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let h = home.path().to_str().expect("UTF-8");
    let plain = paths(&[("HOME", h)]);
    assert_eq!(plain.home, home.path().join(".local/state/dispatch"));
    assert_eq!(
        paths(&[("HOME", h), ("XDG_STATE_HOME", "/x")]).home,
        Path::new("/x/dispatch")
    );
    std::fs::create_dir(home.path().join(".openclaw")).expect("creatable");
    assert_eq!(
        paths(&[("HOME", h)]).home,
        home.path().join(".openclaw/dispatch")
    );
    let labels = paths(&[("HOME", h), ("DISPATCH_LABELS_PATH", "/l/my.json")]);
    assert_eq!(labels.home, Path::new("/l"));
    assert_eq!(labels.labels, Path::new("/l/my.json"));
    let both = paths(&[
        ("DISPATCH_HOME", "/d"),
        ("DISPATCH_LABELS_PATH", "/l/my.json"),
    ]);
    assert_eq!(
        (both.home, both.labels),
        (PathBuf::from("/d"), PathBuf::from("/l/my.json"))
    );
}

#[test]
fn each_variable_wins_over_what_stands_below_it() {
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str, &'a str);
    let table: [Row; 10] = [
        (
            &[],
            "/h/.local/state/dispatch",
            "/h/.local/state/dispatch/labels.json",
            "/h/.local/state/dispatch/config.json",
        ),
        (
            &[("XDG_STATE_HOME", "/x")],
            "/x/dispatch",
            "/x/dispatch/labels.json",
            "/x/dispatch/config.json",
        ),
        (
            &[("DISPATCH_STATE_DIR", "/s")],
            "/s",
            "/s/labels.json",
            "/s/config.json",
        ),
        (
            &[("DISPATCH_STATE_DIR", "/s"), ("XDG_STATE_HOME", "/x")],
            "/s",
            "/s/labels.json",
            "/s/config.json",
        ),
        (
            &[("DISPATCH_STATE_DIR", "/s"), ("DISPATCH_HOME", "/d")],
            "/d",
            "/d/labels.json",
            "/d/config.json",
        ),
        (
            &[
                ("DISPATCH_STATE_DIR", "/s"),
                ("DISPATCH_LABELS_PATH", "/l/my.json"),
            ],
            "/s",
            "/l/my.json",
            "/s/config.json",
        ),
        (
            &[
                ("DISPATCH_STATE_DIR", "/s"),
                ("DISPATCH_LABELS_PATH", "my.json"),
            ],
            "/s",
            "/s/my.json",
            "/s/config.json",
        ),
        (
            &[("DISPATCH_LABELS_PATH", "/l/my.json")],
            "/l",
            "/l/my.json",
            "/l/config.json",
        ),
        (
            &[
                ("DISPATCH_LABELS_PATH", "/l/my.json"),
                ("DISPATCH_HOME", "/d"),
            ],
            "/d",
            "/l/my.json",
            "/d/config.json",
        ),
        (
            &[("DISPATCH_CONFIG_DIR", "/c"), ("DISPATCH_HOME", "/d")],
            "/d",
            "/d/labels.json",
            "/c/config.json",
        ),
    ];
    for (vars, home, labels, config) in table {
        let vars = [&[("HOME", "/h")], vars].concat();
        let p = paths(&vars);
        let found = (p.home.as_path(), p.labels.as_path(), p.config.as_path());
        let expected = (Path::new(home), Path::new(labels), Path::new(config));
        assert_eq!(found, expected, "{vars:?}");
    }
}

#[test]
fn artifacts_and_the_references_ledger_have_variables_of_their_own() {
    let plain = paths(&[("HOME", "/h"), ("DISPATCH_HOME", "/d")]);
    assert_eq!(
        plain.artifacts,
        Path::new("/d/artifacts/dispatch-completions")
    );
    assert_eq!(
        plain.reference_labels,
        Path::new("/h/.openclaw/scheduler/dispatch/labels.json")
    );
    let named = paths(&[
        ("HOME", "/h"),
        ("SCHEDULER_ARTIFACTS_DIR", "/a"),
        ("OPENCLAW_SCHEDULER_HOME", "/sched"),
    ]);
    assert_eq!(named.artifacts, Path::new("/a/dispatch-completions"));
    assert_eq!(
        named.reference_labels,
        Path::new("/sched/dispatch/labels.json")
    );
}

#[test]
fn what_detached_children_are_given_is_absolute() {
    let p = paths(&[
        ("HOME", "/h"),
        ("DISPATCH_STATE_DIR", "/s"),
        ("DISPATCH_LABELS_PATH", "my.json"),
    ]);
    let labels = ("DISPATCH_LABELS_PATH", PathBuf::from("/s/my.json"));
    assert!(p.exports.contains(&labels), "{:?}", p.exports);
    let here = std::env::current_dir().expect("there is one");
    let p = paths(&[("HOME", "/h"), ("DISPATCH_LABELS_PATH", "my.json")]);
    assert_eq!(p.labels, here.join("my.json"));
}

#[test]
fn a_shell_is_told_what_it_needs_to_find_the_same_files() {
    let told = |vars: &[(&str, &str)]| -> Vec<String> {
        let paths = paths(vars);
        let variables = paths.variables().into_iter();
        variables
            .map(|(name, path)| format!("{name}={}", path.display()))
            .collect()
    };
    assert_eq!(
        told(&[("HOME", "/nowhere")]),
        ["DISPATCH_HOME=/nowhere/.local/state/dispatch"]
    );
    assert_eq!(
        told(&[("HOME", "/h"), ("DISPATCH_LABELS_PATH", "/l/labels.json")]),
        ["DISPATCH_HOME=/l"]
    );
    let all = [
        ("DISPATCH_HOME", "/d"),
        ("DISPATCH_LABELS_PATH", "/l/my.json"),
        ("DISPATCH_CONFIG_DIR", "/c"),
        ("SCHEDULER_ARTIFACTS_DIR", "/a"),
        ("OPENCLAW_CONFIG_PATH", "/o.json"),
    ];
    let lines = all.map(|(name, value)| format!("{name}={value}"));
    assert_eq!(told(&all), lines);
    let again: Vec<(&str, &str)> = lines.iter().filter_map(|l| l.split_once('=')).collect();
    assert_eq!(told(&again), lines);
}

#[test]
fn a_process_that_has_its_users_home_alone_is_told_where_everything_is() {
    let told = |vars: &[(&str, &str)]| -> Vec<String> {
        let variables = paths(vars).settled().into_iter();
        variables
            .map(|(name, path)| format!("{name}={}", path.display()))
            .collect()
    };
    let home = ("HOME", "/nowhere");
    let usual = "DISPATCH_HOME=/nowhere/.local/state/dispatch";
    assert_eq!(told(&[home]), [usual]);
    assert_eq!(
        told(&[home, ("OPENCLAW_PROFILE", "work")]),
        [usual, "OPENCLAW_STATE_DIR=/nowhere/.openclaw-work"]
    );
    assert_eq!(
        told(&[home, ("OPENCLAW_HOME", "/o"), ("OPENCLAW_PROFILE", "work")]),
        [usual, "OPENCLAW_HOME=/o"]
    );
    assert_eq!(
        told(&[home, ("OPENCLAW_STATE_DIR", "/s"), ("DISPATCH_HOME", "/d")]),
        ["DISPATCH_HOME=/d", "OPENCLAW_STATE_DIR=/s"]
    );
    assert_eq!(told(&[("DISPATCH_HOME", "/d")]), ["DISPATCH_HOME=/d"]);
}

#[test]
fn empty_variables_count_as_unset() {
    let p = paths(&[
        ("HOME", "/h"),
        ("DISPATCH_HOME", ""),
        ("XDG_STATE_HOME", ""),
    ]);
    assert_eq!(p.home, Path::new("/h/.local/state/dispatch"));
}

#[test]
fn openclaw_is_found_by_directory_home_or_profile() {
    assert_eq!(
        paths(&[("HOME", "/h"), ("OPENCLAW_PROFILE", "work")]).openclaw_config,
        Path::new("/h/.openclaw-work/openclaw.json")
    );
    assert_eq!(
        paths(&[("HOME", "/h"), ("OPENCLAW_HOME", "/o")]).openclaw_state,
        Path::new("/o/.openclaw")
    );
    assert_eq!(
        paths(&[("HOME", "/h"), ("OPENCLAW_STATE_DIR", "/s")]).openclaw_state,
        Path::new("/s")
    );
}

#[test]
fn what_has_moved_is_found_under_its_own_name_and_nothing_else_is() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let here = dir.path().to_str().expect("UTF-8");
    let paths = paths(&[("DISPATCH_HOME", here)]);
    let write = |path: PathBuf| {
        std::fs::create_dir_all(crate::storage::parent_of(&path)).expect("creatable");
        std::fs::write(path, "x").expect("writable");
    };
    let (artifact, prompt) = (
        paths.artifacts.join("a.txt"),
        paths.prompts().join("w/r.txt"),
    );
    write(artifact.clone());
    write(prompt.clone());
    write(paths.home.join("config.json"));
    write(paths.home.join("old/artifacts/dispatch-completions/a.txt"));
    let found = |recorded: &str| paths.found(recorded.as_ref());
    for (recorded, now) in [
        (
            "/gone/artifacts/dispatch-completions/a.txt",
            Some(&artifact),
        ),
        ("/gone/prompts/w/r.txt", Some(&prompt)),
        ("/gone/artifacts/dispatch-completions/b.txt", None),
        ("/gone/prompts/w/../r.txt", None),
        ("/gone/prompts/v/r.txt", None),
        ("/gone/config.json", None),
        ("dispatch-completions/..", None),
        ("a sentence", None),
        ("", None),
    ] {
        let expected = now.map_or(Path::new(recorded), PathBuf::as_path);
        assert_eq!(found(recorded), expected, "{recorded}");
    }
    // What still is where it was is read there.
    let old = paths.home.join("old/artifacts/dispatch-completions/a.txt");
    assert_eq!(paths.found(&old), old);
}
