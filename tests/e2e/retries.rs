//! Runs that are tried again on real gateways, which first try again by themselves.

use rstest::rstest;
use serde_json::{Value, json};

use super::gateways::{Gateway, Version};
use crate::support::kill_hard;

#[rstest]
fn an_overloaded_run_is_tried_again_in_its_session_and_answers(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(gateway) = Gateway::start(version, "overloaded") else {
        return;
    };
    let house = gateway.house();
    house.configure(&json!({"retry": {"overloadSeconds": 3600, "rateLimitSeconds": 3600}}));
    gateway.force("error=529", 10_000);
    house.ask("busy", "Count the sheep.", &[]);
    let first = house.waits_for_its_retry("busy");
    assert_eq!(first["failure"]["kind"], "overload", "{first:#}");
    gateway.force("reply=\"Twelve.\"", 1);
    // Whoever watches when the retry is due makes it.
    kill_hard(house.watcher_pid("busy"));
    house.change_ledger(|ledger| ledger["busy"]["retryAt"] = json!("2026-01-01T00:00:00.000Z"));
    house.recover();
    assert_eq!(house.reply("busy"), "Twelve.");
    let entry = house.entry("busy");
    assert_eq!(
        (&entry["attempt"], &entry["retryCount"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(entry["sessionKey"], first["sessionKey"]);
    let again = house.model_requests("This is a retry (attempt 2)");
    assert_eq!(again.len(), 1, "{again:?}");
    let prompt = again[0]["prompt"].to_string();
    assert!(prompt.contains("Count the sheep."), "{prompt}");

    // Another model is asked at once where the first one's side failed.
    gateway.force("error=400", 1);
    house.ask(
        "other",
        "Second wind.",
        &["--fallback-model", "fake/fake-2"],
    );
    house.reply("other");
    let models: Vec<Value> = house
        .model_requests("Second wind.")
        .iter()
        .map(|request| request["model"].clone())
        .collect();
    assert_eq!(models, [json!("fake-1"), json!("fake-2")]);
    let entry = house.entry("other");
    assert_eq!(
        (&entry["attempt"], &entry["retryCount"]),
        (&json!(2), &json!(null))
    );
}

/// The older generation takes no account for a session; the newer one refuses a run whose account it does not have, so that
/// the refusal shows that it was asked for.
#[rstest]
fn another_account_is_asked_for_where_the_gateway_takes_one(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let flags = ["--fallback-auth-profile", "fake:work"];
    let prompt = "Under another name. @fake error=400";
    if version == Version::Old {
        let refused = house.try_to_ask("named", prompt, &flags).exits(2);
        let why = "takes no profile";
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
        assert_eq!(house.model_requests(prompt).len(), 0);
        return;
    }
    house.ask("named", prompt, &flags);
    let entry = house.settled("named");
    assert_eq!(
        (&entry["status"], &entry["attempt"]),
        (&json!("error"), &json!(2))
    );
    assert_eq!(entry["failure"]["kind"], "auth", "{entry:#}");
    let why = entry["error"].as_str().expect("a reason");
    assert!(
        why.starts_with("both selections failed: the agent's model: "),
        "{why}"
    );
    assert!(
        why.contains("as fake:work: The selected auth profile is unavailable"),
        "{why}"
    );
}

/// The gateway tries again by itself: what it brings to its end needs no retry of ours. The older generation calls such a
/// run failed while its session holds the reply. The newer one tries for a minute only, the run's start included, so that
/// on a slow machine few of its tries come in.
#[rstest]
fn what_the_gateway_itself_tried_again_with_success_is_a_result(
    #[values((Version::Old, 1), (Version::Old, 3), (Version::New, 1))] given: (Version, usize),
) {
    let (version, errors) = given;
    let Some(house) = version.house() else { return };
    let prompt = format!("Wait {errors} times. @fake error=529 errors={errors} reply=\"Here.\"");
    house.configure(&json!({"retry": {"overloadSeconds": 1}}));
    house.ask("again", &prompt, &[]);
    assert_eq!(house.reply("again"), "Here.");
    let entry = house.entry("again");
    let mut asked = house.model_requests(&format!("Wait {errors} times."));
    asked.retain(|request| !request["prompt"].to_string().contains("This is a retry"));
    let counts = (&entry["attempt"], &entry["retryCount"]);
    match asked.len() > errors {
        true => assert_eq!(counts, (&json!(1), &json!(null)), "{entry:#}"),
        // Each of its tries met an error before it gave up.
        false => assert_ne!(counts.0, &json!(1), "{entry:#}"),
    }
}
