//! The fallback selection: another model or account, tried once when the model's side failed. Pure.

use crate::failure::policy::allows_fallback;
use crate::record::{Entry, Failure, FallbackUse, Selection};

/// The fallback that the label was enqueued with and has not used: what it leaves unset is as before. One that changes
/// nothing is none.
pub fn unused(entry: &Entry) -> Option<Selection> {
    let primary = entry.primary_selection();
    let own = |name: &str| entry.text(name).map(str::to_owned);
    let fallback = Selection {
        model: own("fallbackModel").or_else(|| primary.model.clone()),
        auth_profile: own("fallbackAuthProfile").or_else(|| primary.auth_profile.clone()),
    };
    (entry.fallback_use().is_none() && fallback != primary).then_some(fallback)
}

/// The fallback that this failure calls for.
pub fn called_for(entry: &Entry, failure: &Failure) -> Option<Selection> {
    unused(entry).filter(|_| allows_fallback(failure))
}

/// Makes the attempt that begins the one with the fallback.
pub fn begin(entry: &mut Entry, selection: Selection, failure: &Failure) {
    entry.set_fallback_use(&FallbackUse {
        attempt: entry.attempt(),
        selection,
        primary_error: failure.message.clone(),
        error: None,
    });
}

/// Notes how the attempt with the fallback failed, if that was the one.
pub fn note_failure(entry: &mut Entry, failure: &Failure) {
    let used = entry.fallback_use();
    if let Some(mut used) = used.filter(|used| used.attempt == entry.attempt()) {
        used.error = Some(failure.message.clone());
        entry.set_fallback_use(&used);
    }
}

/// The message of a label's last failure: where the fallback failed, too, it names both.
pub fn last_message(entry: &Entry, failure: &Failure) -> String {
    let Some(used) = entry.fallback_use() else {
        return failure.message.clone();
    };
    let (primary, fallback) = match used.attempt == entry.attempt() {
        true => (&used.primary_error, &failure.message),
        false => (
            &failure.message,
            used.error.as_ref().unwrap_or(&failure.message),
        ),
    };
    format!(
        "both selections failed: {}: {primary}; the fallback {}: {fallback}",
        entry.primary_selection(),
        used.selection
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::FailureKind;

    fn entry(model: Option<&str>, fallback: Option<&str>, profile: Option<&str>) -> Entry {
        let mut entry = Entry::new();
        entry.set("model", model);
        entry.set("fallbackModel", fallback);
        entry.set("fallbackAuthProfile", profile);
        entry
    }

    fn failure(kind: FailureKind, message: &str) -> Failure {
        Failure::new(kind, message, 0)
    }

    #[test]
    fn a_dimension_left_unset_keeps_the_primary_and_no_change_is_no_fallback() {
        let select = |model: Option<&str>, profile: Option<&str>| {
            Some(Selection {
                model: model.map(str::to_owned),
                auth_profile: profile.map(str::to_owned),
            })
        };
        assert_eq!(unused(&entry(Some("a/1"), None, None)), None);
        assert_eq!(unused(&entry(Some("a/1"), Some("a/1"), None)), None);
        assert_eq!(
            unused(&entry(Some("a/1"), Some("b/2"), None)),
            select(Some("b/2"), None)
        );
        assert_eq!(
            unused(&entry(None, Some("b/2"), None)),
            select(Some("b/2"), None)
        );
        let other_account = unused(&entry(Some("a/1"), None, Some("work")));
        assert_eq!(other_account, select(Some("a/1"), Some("work")));
        let mut same = entry(Some("a/1"), None, Some("work"));
        same.set("authProfile", "work");
        assert_eq!(unused(&same), None);
    }

    #[test]
    fn a_failure_of_the_models_side_calls_for_it_once_and_no_other_does() {
        let mut e = entry(Some("a/1"), Some("b/2"), None);
        for kind in [
            FailureKind::Overload,
            FailureKind::Auth,
            FailureKind::ContextLength,
        ] {
            assert!(called_for(&e, &failure(kind, "m")).is_some(), "{kind:?}");
        }
        for kind in [
            FailureKind::SessionTakeover,
            FailureKind::GatewayRestart,
            FailureKind::Command,
            FailureKind::Unknown,
        ] {
            assert_eq!(called_for(&e, &failure(kind, "m")), None, "{kind:?}");
        }
        e.set("attempt", 2);
        let selection = unused(&e).expect("one");
        begin(&mut e, selection, &failure(FailureKind::Auth, "m"));
        assert_eq!(e.selection().model.as_deref(), Some("b/2"));
        assert_eq!(called_for(&e, &failure(FailureKind::Auth, "m")), None);
        e.set("attempt", 3);
        assert_eq!(e.selection().model.as_deref(), Some("a/1"));
    }

    #[test]
    fn when_both_failed_the_last_message_names_both_whichever_came_last() {
        let mut e = entry(None, Some("b/2"), None);
        let last = failure(FailureKind::Auth, "no such key");
        assert_eq!(last_message(&e, &last), "no such key");
        e.set("attempt", 2);
        let selection = unused(&e).expect("one");
        begin(&mut e, selection, &failure(FailureKind::Overload, "529"));
        let both = "both selections failed: the agent's model: 529; the fallback b/2: no such key";
        assert_eq!(last_message(&e, &last), both);
        note_failure(&mut e, &last);
        e.set("attempt", 3);
        note_failure(&mut e, &failure(FailureKind::Overload, "529 again"));
        let both =
            "both selections failed: the agent's model: 529 again; the fallback b/2: no such key";
        assert_eq!(
            last_message(&e, &failure(FailureKind::Overload, "529 again")),
            both
        );
    }
}
