use super::*;

fn registered() -> Runtimes {
    let runtime = |models: &[&str]| Runtime {
        command: vec!["agent".to_owned()],
        models: models.iter().map(|model| (*model).to_owned()).collect(),
        ..Runtime::default()
    };
    Runtimes::new([
        ("claude".to_owned(), runtime(&["anthropic/*", "claude-*"])),
        ("codex".to_owned(), runtime(&["openai/*", "*-codex"])),
        ("plain".to_owned(), runtime(&[])),
    ])
}

/// A call that says nothing of what runs it, in a new session.
fn silent(registered: &Runtimes) -> Asked<'_> {
    Asked {
        flag: None,
        has_command: false,
        variable: None,
        wants_fallback: false,
        agent: "ops",
        of_agent: None,
        model: None,
        session: None,
        chose_local: true,
        registered,
        config: Path::new("/c/config.json"),
    }
}

/// The id of what is chosen, or the sentence of the refusal.
fn outcome(asked: &Asked<'_>) -> String {
    match choose(asked) {
        Ok(chosen) => chosen.id().to_owned(),
        Err(why) => why.to_string(),
    }
}

/// Flag, command, variable, the agent's, model.
type Row<'a> = (
    Option<&'a str>,
    bool,
    Option<&'a str>,
    Option<&'a str>,
    Option<&'a str>,
);

fn table(rows: &[(Row<'_>, &str)], session: Option<Session<'_>>) {
    let runtimes = registered();
    for ((flag, has_command, variable, of_agent, model), expected) in rows {
        let asked = Asked {
            flag: *flag,
            has_command: *has_command,
            variable: *variable,
            of_agent: *of_agent,
            model: *model,
            session,
            ..silent(&runtimes)
        };
        assert_eq!(outcome(&asked), *expected, "{asked:?}");
    }
}

#[test]
fn the_nearest_choice_counts() {
    let opus = Some("anthropic/opus");
    let (claude, codex) = (Some("claude"), Some("codex"));
    let rows: &[(Row<'_>, &str)] = &[
        ((codex, false, claude, claude, opus), "codex"),
        ((None, false, codex, claude, opus), "codex"),
        ((None, false, None, codex, opus), "codex"),
        ((None, false, None, None, opus), "claude"),
        ((None, false, None, None, Some("GPT-5-Codex")), "codex"),
        // To leave the choice to the model is a choice, too.
        ((Some("auto"), false, codex, codex, opus), "claude"),
        ((None, false, Some("auto"), codex, opus), "claude"),
        ((None, false, None, Some("auto"), opus), "claude"),
        // So is a command.
        ((None, true, codex, codex, opus), "command"),
        ((None, true, Some("gone"), Some("gone"), opus), "command"),
        ((Some("auto"), true, codex, codex, opus), "command"),
        ((Some("command"), true, codex, codex, opus), "command"),
        // A runtime that claims no model is had by its id alone.
        ((Some("plain"), false, None, None, opus), "plain"),
    ];
    table(rows, None);
}

#[test]
fn what_was_chosen_by_its_id_is_there_or_refused() {
    let opus = Some("anthropic/opus");
    let unknown = |by: &str, id: &str, todo: &str| {
        format!(
            "{by}: the configuration /c/config.json names no \"{id}\" under \"runtimes\"; {todo}"
        )
    };
    let no_command = |by: &str| {
        format!(
            "{by}: the runtime \"command\" runs what stands after --, and nothing does: add -- COMMAND [ARG...]"
        )
    };
    let rows: &[(Row<'_>, &str)] = &[
        (
            (Some("claud"), false, None, None, opus),
            &unknown("--runtime", "claud", "did you mean claude?"),
        ),
        (
            (Some("Claude"), false, None, None, opus),
            &unknown("--runtime", "Claude", "did you mean claude?"),
        ),
        (
            (Some("comand"), true, None, None, None),
            &unknown("--runtime", "comand", "did you mean command?"),
        ),
        (
            (Some("gemini"), true, None, None, None),
            &unknown("--runtime", "gemini", "add it"),
        ),
        (
            (Some(""), false, None, None, opus),
            &unknown("--runtime", "", "give an id, or leave it out"),
        ),
        (
            (None, false, Some("pi"), Some("claude"), opus),
            &unknown("OPENCLAW_AGENT_RUNTIME", "pi", "add it"),
        ),
        (
            (None, false, None, Some("codx"), opus),
            &unknown("\"agents.ops.runtime\"", "codx", "did you mean codex?"),
        ),
        (
            (Some("claude"), true, None, None, opus),
            "--runtime claude brings its own command, and another stands after --; leave one of the two out",
        ),
        (
            (Some("command"), false, None, None, opus),
            &no_command("--runtime"),
        ),
        (
            (None, false, Some("command"), None, opus),
            &no_command("OPENCLAW_AGENT_RUNTIME"),
        ),
        (
            (None, false, None, Some("command"), opus),
            &no_command("\"agents.ops.runtime\""),
        ),
    ];
    table(rows, None);
}

#[test]
fn where_nothing_is_chosen_the_refusal_says_what_to_give() {
    let runtimes = registered();
    let none = Runtimes::default();
    let cases = [
        (
            silent(&none),
            "the local backend needs a command to run: add -- COMMAND [ARG...], or register a runtime under \"runtimes\" in /c/config.json",
        ),
        (
            Asked {
                chose_local: false,
                model: Some("gemini-3"),
                ..silent(&runtimes)
            },
            "no gateway is configured, so the local backend is chosen, and it needs a command to run, for no registered runtime's \"models\" match gemini-3: add -- COMMAND [ARG...], or --runtime ID (registered: claude, codex, plain)",
        ),
    ];
    for (asked, expected) in cases {
        assert_eq!(outcome(&asked), expected);
    }
}

#[test]
fn a_session_goes_on_with_the_runtime_that_it_began_with() {
    let pinned = |runtime| {
        Some(Session {
            key: "agent:main:s",
            runtime,
        })
    };
    let (codex, gpt) = (Some("codex"), Some("openai/gpt"));
    let other = |by: &str, pinned: &str| {
        format!(
            "{by}: the session agent:main:s is pinned to the runtime \"{pinned}\"; leave it out, or start a fresh session"
        )
    };
    let gone = "the session agent:main:s is pinned to the runtime \"gone\", which is not registered under \"runtimes\" in /c/config.json any more; add it, or start a fresh session";
    table(
        &[
            ((None, false, codex, codex, gpt), "claude"),
            ((Some("auto"), false, codex, None, gpt), "claude"),
            ((Some("claude"), false, None, None, None), "claude"),
            (
                (codex, false, None, None, None),
                &other("--runtime codex", "claude"),
            ),
            (
                (Some("command"), false, None, None, None),
                &other("--runtime command", "claude"),
            ),
            (
                (None, true, None, None, None),
                &other("the command after --", "claude"),
            ),
            (
                (Some("auto"), true, None, None, None),
                &other("the command after --", "claude"),
            ),
        ],
        pinned("claude"),
    );
    table(
        &[
            ((None, false, codex, codex, gpt), gone),
            ((Some("gone"), false, None, None, None), gone),
            (
                (codex, false, None, None, None),
                &other("--runtime codex", "gone"),
            ),
        ],
        pinned("gone"),
    );
    table(
        &[
            ((None, true, codex, codex, gpt), "command"),
            (
                (codex, false, None, None, None),
                &other("--runtime codex", "command"),
            ),
            (
                (None, false, codex, codex, gpt),
                "the session agent:main:s is pinned to the runtime \"command\", which runs what stands after --: add -- COMMAND [ARG...], or start a fresh session",
            ),
        ],
        pinned("command"),
    );
}

#[test]
fn a_fallback_variable_is_refused_where_a_runtime_is_chosen() {
    let runtimes = registered();
    let refused = "OPENCLAW_AGENT_HARNESS_FALLBACK is set, but a runtime never falls back to another; unset it, and name the runtime that you want with --runtime";
    for (flag, has_command, expected) in [
        (None, false, refused),
        (Some("claude"), false, refused),
        (Some("command"), true, refused),
        (Some("auto"), true, refused),
        (None, true, "command"),
    ] {
        let asked = Asked {
            flag,
            has_command,
            wants_fallback: true,
            ..silent(&runtimes)
        };
        assert_eq!(outcome(&asked), expected, "{flag:?}");
    }
}
