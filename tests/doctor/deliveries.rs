//! Deliveries that were given up, and advice that is typed as it stands.

use super::{heed, is_sound, look, sound_house, troubles};
use crate::outbox::{quiet, record_in};

/// Names that agents give, and a shell or a command line takes for something else.
const LABELS: [&str; 7] = [
    "$(touch pwned)",
    "--all",
    "-x y",
    "a b",
    "it's; touch pwned",
    "{a,b}!",
    "ü é",
];

#[test]
fn a_parked_delivery_is_sent_by_the_advice_as_it_stands_whatever_the_label_says() {
    let house = sound_house();
    house.write_config(r#"{"commands": {"mail": ["sh", "-c", "cat >/dev/null; exit 64"]}}"#);
    for label in LABELS {
        let flag = format!("--label={label}");
        house
            .dispatch(&[
                "enqueue",
                &flag,
                "--deliver-to",
                "command:mail",
                "--",
                "echo",
                "hi",
            ])
            .exits(0);
        record_in(&house, label, "result", "parked");
    }
    quiet(&house);
    house.write_config(r#"{"commands": {"mail": ["sh", "-c", "cat >> mail"]}}"#);
    let found = troubles(look(&house), 1);
    assert_eq!(found.len(), LABELS.len(), "{found:#?}");
    for told in &found {
        let start = "mend that, then run: dispatch redeliver --label";
        assert!(told.todo.starts_with(start), "{told:#?}");
        heed(&house, told);
    }
    assert!(!house.path("pwned").exists());
    for label in LABELS {
        record_in(&house, label, "result", "delivered");
    }
    quiet(&house);
    is_sound(&house);
}
