//! Each row of the routing table, and what no key may bring about.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::session::key::same_key;

const FORMS: [WakeForm; 2] = [WakeForm::Session, WakeForm::SessionOrAgent];

fn routing(main_key: &str, scope: &str, wake: WakeForm) -> Routing {
    Routing::new(&json!({"mainKey": main_key, "scope": scope}), wake)
}

fn wake(key: &str) -> Call {
    Call::WakeSession(key.to_owned())
}

#[rstest]
// Main sessions and channels are woken themselves.
#[case("agent:main:main", "agent:main:main")]
#[case("agent:ops:main", "agent:ops:main")]
#[case("agent:main:telegram:group:-1001", "agent:main:telegram:group:-1001")]
#[case(
    "agent:main:discord:channel:123:thread:9",
    "agent:main:discord:channel:123:thread:9"
)]
#[case("agent:main:dashboard:1f", "agent:main:dashboard:1f")]
#[case("Agent:Main:Telegram:Direct:7", "Agent:Main:Telegram:Direct:7")]
// A cron run and what is below it belong to the agent's main session.
#[case("agent:main:cron:nightly:run:1f", "agent:main:main")]
#[case("agent:ops:cron:nightly:run:1f", "agent:ops:main")]
#[case("agent:ops:cron:a:b:run:1f", "agent:ops:main")]
#[case("agent:ops:CRON:nightly:Run:1f", "agent:ops:main")]
#[case("agent:ops:cron:nightly:run:1f:subagent:2a", "agent:ops:main")]
#[case(
    "agent:ops:cron:nightly:run:1f:subagent:2a:subagent:3b",
    "agent:ops:main"
)]
// A cron job's own session is not one of its runs.
#[case("agent:ops:cron:nightly", "agent:ops:cron:nightly")]
#[case("agent:ops:cron:nightly:run:", "agent:ops:cron:nightly:run:")]
// White space around a key is none of it.
#[case("  agent:main:main\n", "agent:main:main")]
fn with_a_session_for_each_sender(#[case] requester: &str, #[case] queue: &str) {
    for form in FORMS {
        let route = routing("main", "per-sender", form).route(requester);
        assert_eq!((route.queue.as_str(), route.by), (queue, wake(queue)));
    }
}

#[rstest]
#[case("agent:ops:cron:nightly:run:1f", "agent:ops:work")]
#[case("agent:ops:work", "agent:ops:work")]
#[case("agent:ops:WORK", "agent:ops:work")]
#[case("agent:ops:main", "agent:ops:work")]
#[case("agent:ops:telegram:direct:7", "agent:ops:telegram:direct:7")]
fn with_a_main_key_of_its_own(#[case] requester: &str, #[case] queue: &str) {
    for form in FORMS {
        let route = routing(" Work ", "per-sender", form).route(requester);
        assert_eq!((route.queue.as_str(), route.by), (queue, wake(queue)));
    }
}

#[rstest]
#[case("agent:ops:cron:nightly:run:1f")]
#[case("agent:ops:cron:nightly:run:1f:subagent:2a")]
#[case("agent:ops:main")]
fn with_one_session_for_everybody(#[case] requester: &str) {
    let older = routing("main", "Global", WakeForm::Session).route(requester);
    assert_eq!(
        (older.queue.as_str(), older.by),
        ("global", wake("agent:ops:main"))
    );
    let newer = routing("main", "global", WakeForm::SessionOrAgent).route(requester);
    assert_eq!(
        (newer.queue.as_str(), newer.by),
        ("global", Call::WakeAgent("ops".to_owned()))
    );
}

#[test]
fn a_channel_passes_through_where_everybody_has_one_session_too() {
    for form in FORMS {
        let key = "agent:ops:telegram:group:-1001";
        let route = routing("main", "global", form).route(key);
        assert_eq!((route.queue.as_str(), route.by), (key, wake(key)));
    }
}

#[rstest]
#[case("")]
#[case("main")]
#[case("global")]
#[case("subagent:1")]
#[case("cron:nightly:run:1f")]
#[case("agent:")]
#[case("agent::main")]
#[case("agent:main")]
#[case("telegram:12345")]
fn a_key_that_is_no_agents_is_not_scoped(#[case] requester: &str) {
    for (scope, form) in [("global", FORMS[0]), ("per-sender", FORMS[1])] {
        let route = routing("main", scope, form).route(requester);
        assert_eq!((route.queue.as_str(), &route.by), (requester, &Call::Wake));
        assert_eq!(
            route.by.params("Done.", "k"),
            json!({"mode": "now", "text": "Done."})
        );
    }
}

/// Both generations: `wake sessionKey cannot target a subagent session`.
#[rstest]
#[case("agent:main:subagent:1f")]
#[case("agent:main:SubAgent:1f:subagent:2a")]
fn a_sub_agent_is_sent_a_message(#[case] requester: &str) {
    for (scope, form) in [("global", FORMS[1]), ("per-sender", FORMS[0])] {
        let route = routing("main", scope, form).route(requester);
        assert_eq!(route.queue, requester);
        assert_eq!(route.by.method(), "sessions.send");
        assert_eq!(
            route.by.params("Done.", "k"),
            json!({"key": requester, "message": "Done.", "idempotencyKey": "k"})
        );
    }
}

#[test]
fn a_wake_names_its_session_or_its_agent() {
    let session = wake("agent:ops:main");
    assert_eq!(session.method(), "wake");
    assert_eq!(
        session.params("Done.", "k"),
        json!({"mode": "now", "text": "Done.", "sessionKey": "agent:ops:main"})
    );
    assert_eq!(
        Call::WakeAgent("ops".to_owned()).params("Done.", "k"),
        json!({"mode": "now", "text": "Done.", "agentId": "ops"})
    );
}

#[test]
fn a_heartbeat_without_a_target_stays_inside() {
    let config = json!({"agents": {
        "defaults": {"heartbeat": {"target": "None"}},
        "list": [{"id": "Ops", "heartbeat": {"target": "last"}}, {"id": "qa"}, {"heartbeat": {}}]
    }});
    let routing = routing("main", "per-sender", FORMS[1]).with_heartbeats(&config);
    assert!(routing.route("agent:main:main").internal);
    assert!(routing.route("agent:qa:main").internal);
    assert!(routing.route("main").internal);
    assert!(!routing.route("agent:OPS:main").internal);
    let silent = Routing::new(&Value::Null, FORMS[0]);
    assert!(!silent.route("agent:main:main").internal);
    assert!(
        !silent
            .with_heartbeats(
                &json!({"agents": {"defaults": {"heartbeat": {"target": "telegram"}}}})
            )
            .route("agent:main:main")
            .internal
    );
}

#[test]
fn settings_that_cannot_be_used_have_their_defaults() {
    let default = Routing::new(&Value::Null, FORMS[0]);
    for session in [
        json!({}),
        json!([]),
        json!({"mainKey": 7, "scope": ["global"]}),
        json!({"mainKey": "  ", "scope": "per-sender"}),
        json!({"scope": "globally"}),
    ] {
        assert_eq!(Routing::new(&session, FORMS[0]), default, "{session}");
    }
}

proptest! {
    #[test]
    fn no_key_panics_and_none_reaches_another_agent(
        any in "\\PC{0,40}",
        pieces in "(agent|Agent|ops|main|cron|run|subagent|global|:|é| ){0,14}",
        main_key in "(main|work|é|:|agent:other:x){0,2}",
        global in any::<bool>(),
        newer in any::<bool>(),
    ) {
        let scope = if global { "global" } else { "per-sender" };
        let routing = routing(&main_key, scope, FORMS[usize::from(newer)]);
        for text in [any, pieces] {
            let route = routing.route(&text);
            let _ = route.by.params("x", "k");
            let Ok(key) = SessionKey::parse(text.trim()) else {
                prop_assert_eq!(route.by, Call::Wake);
                continue;
            };
            match &route.by {
                Call::WakeSession(to) | Call::Send(to) => {
                    let to = SessionKey::parse(to).map_err(|e| TestCaseError::fail(e.to_string()))?;
                    prop_assert_eq!(to.agent_id(), key.agent_id());
                }
                Call::WakeAgent(id) => prop_assert_eq!(id, key.agent_id()),
                Call::Wake => prop_assert!(false, "{} lost its agent", text),
            }
            // What is routed once is at its place.
            if route.queue != GLOBAL_QUEUE {
                let again = routing.route(&route.queue);
                prop_assert!(same_key(&again.queue, &route.queue), "{} {}", again.queue, route.queue);
            }
        }
    }
}

#[test]
fn the_queue_of_everybody_has_a_name_only_where_there_is_one() {
    for form in FORMS {
        assert!(routing("main", "global", form).is_global_queue(" Global "));
        assert!(!routing("main", "global", form).is_global_queue("agent:main:main"));
        assert!(!routing("main", "per-sender", form).is_global_queue("global"));
    }
}
