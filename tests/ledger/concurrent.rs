//! Many processes at once.

use std::process::Stdio;
use std::thread;

use serde_json::{Value, json};

use super::{COMPLETE, done, strays};
use crate::support::{House, finish};

#[test]
fn forty_signals_at_once_on_unregistered_labels_are_all_kept() {
    let house = House::new();
    let labels: Vec<String> = (0..40).map(|n| format!("label-{n}")).collect();
    let children: Vec<_> = labels
        .iter()
        .map(|label| {
            house
                .command("dispatch")
                .args(["done", "--label", label, "--checklist", COMPLETE])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the program starts")
        })
        .collect();
    for child in children {
        assert_eq!(finish(child).exits(0).json()["status"], "done");
    }
    let ledger = house.ledger();
    assert_eq!(ledger.as_object().map(|book| book.len()), Some(40));
    for label in &labels {
        assert_eq!(ledger[label]["status"], "done", "{label}");
        assert_eq!(ledger[label]["rev"], 1, "{label}");
    }
    assert_eq!(strays(&house.state()), Vec::<String>::new());
}

/// How many processes write, and how often each.
const WRITERS: usize = 8;
const ROUNDS: usize = 25;

#[test]
fn eight_writers_with_mixed_changes_lose_none() {
    let house = House::new();
    let failed: serde_json::Map<String, Value> = (0..WRITERS)
        .flat_map(|w| (0..ROUNDS).map(move |r| format!("failed-{w}-{r}")))
        .map(|label| {
            let entry =
                json!({"generation": 7, "rev": 3, "status": "error", "vendor": {"of": label}});
            (label, entry)
        })
        .collect();
    house.write_ledger(serde_json::to_vec_pretty(&failed).expect("serialisable"));
    thread::scope(|scope| {
        for w in 0..WRITERS {
            let house = &house;
            scope.spawn(move || (0..ROUNDS).for_each(|r| one_change(house, w, r)));
        }
    });
    let ledger = house.ledger();
    for w in 0..WRITERS {
        for r in 0..ROUNDS {
            let label = format!("failed-{w}-{r}");
            let entry = &ledger[&label];
            assert_eq!(entry["vendor"]["of"], json!(label));
            let expected = match r % 4 {
                0 => (json!("done"), json!(4)),
                _ => (json!("error"), json!(3)),
            };
            assert_eq!(
                (entry["status"].clone(), entry["rev"].clone()),
                expected,
                "{label}"
            );
            let is_new = r % 4 == 1;
            let new = &ledger[format!("new-{w}-{r}")];
            assert_eq!(new["status"] == "done", is_new, "{w} {r}");
        }
        assert_eq!(ledger[format!("shared-{}", w % 2)]["rev"], 1);
    }
    assert_eq!(strays(&house.state()), Vec::<String>::new());
}

/// A failed label becomes done, a new one appears, a stale signal is turned away, or all signal the same label.
fn one_change(house: &House, w: usize, r: usize) {
    let failed = format!("failed-{w}-{r}");
    match r % 4 {
        0 => done(house, &failed).exits(0),
        1 => done(house, &format!("new-{w}-{r}")).exits(0),
        2 => house
            .dispatch(&[
                "done",
                "--label",
                &failed,
                "--checklist",
                COMPLETE,
                "--generation",
                "6",
            ])
            .exits(1),
        _ => done(house, &format!("shared-{}", w % 2)).exits(0),
    };
}
