//! The N-th storage call fails, for every N and in every way: the ledger is whole, old or new, and nothing is left.

mod faulty;

use std::fs;
use std::sync::Arc;

use dispatch::config::Strictness;
use dispatch::home::Home;
use dispatch::ledger::{Ledger, LedgerError, Patience};
use dispatch::record::{Entry, Status};

use self::faulty::{Fault, Faulty};
use super::{TWO, names_in, strays};
use crate::support::{House, program};

/// The house's ground, over this storage.
fn home(house: &House, storage: Option<&Faulty>) -> Home {
    let env = |name: &str| match name {
        "DISPATCH_HOME" => Some(house.state().into_os_string()),
        "DISPATCH_INDEX_PATH" => Some(program("dispatch").into_os_string()),
        _ => None,
    };
    let mut home = Home::open(&env, "a test", Strictness::Refuse).expect("a house has a home");
    if let Some(storage) = storage {
        home.storage = Arc::new(storage.clone());
    }
    home
}

fn add(home: &Home, label: &str) -> Result<(), LedgerError> {
    Ledger::new(home).update(Patience::Command, |book| {
        let mut entry = Entry::new();
        entry.set_status(&Status::Done);
        book.put(label, entry);
    })
}

fn labels(house: &House) -> Vec<String> {
    let book = Ledger::new(&home(house, None))
        .read()
        .expect("the ledger is sound");
    book.labels().map(str::to_owned).collect()
}

/// Runs `work` in a new house with the first, the second, ... call failing, until a run meets no fault any more.
fn for_every_call(fault: Fault, ledger: &str, work: impl Fn(&House, &Faulty, u32)) {
    for n in 1.. {
        let house = House::new();
        house.write_ledger(ledger);
        fs::write(house.state().join("labels.json.bak"), TWO).expect("writable");
        let storage = Faulty::new(fault, n);
        work(&house, &storage, n);
        if storage.calls() < n {
            assert!(n > 10, "an update has more calls than {n}");
            return;
        }
    }
}

#[test]
fn an_update_is_whole_or_not_at_all_whichever_call_fails() {
    for fault in Fault::ALL {
        for_every_call(fault, TWO, |house, storage, n| {
            let case = format!("{fault:?} at call {n}");
            let outcome = add(&home(house, Some(storage)), "new");
            let found = labels(house);
            match &outcome {
                Ok(()) | Err(LedgerError::NotDurable { .. }) => {
                    assert_eq!(found, ["a", "b", "new"], "{case}: {outcome:?}");
                }
                // Whoever dies after the rename has changed the ledger and could not say so.
                Err(_) if fault == Fault::Death => {
                    assert!(found.starts_with(&["a".into(), "b".into()]), "{case}")
                }
                Err(_) => {
                    let text = fs::read_to_string(house.ledger_path()).expect("UTF-8");
                    assert_eq!(text, TWO, "{case}: {outcome:?}");
                }
            }
            if fault == Fault::ShortWrite || storage.calls() < n {
                assert!(outcome.is_ok(), "{case}: {outcome:?}");
            }
            let before = fs::read_to_string(house.ledger_path()).expect("UTF-8");
            add(&home(house, None), "next").unwrap_or_else(|e| panic!("{case}: {e}"));
            assert!(labels(house).contains(&"next".to_owned()), "{case}");
            let backup = fs::read_to_string(house.state().join("labels.json.bak")).expect("UTF-8");
            assert_eq!(backup, before, "{case}");
            assert_eq!(strays(&house.state()), Vec::<String>::new(), "{case}");
        });
    }
}

#[test]
fn a_failed_update_takes_its_temporary_with_it() {
    for fault in [Fault::NoSpace, Fault::Io] {
        for_every_call(fault, TWO, |house, storage, n| {
            if let Err(e) = add(&home(house, Some(storage)), "new") {
                let left = strays(&house.state());
                // Where removing itself is what fails, the next writer sweeps.
                let excused = storage.failed_call() == Some("remove")
                    || matches!(e, LedgerError::NotDurable { .. });
                assert!(
                    left.is_empty() || excused,
                    "{fault:?} at call {n}: {left:?}"
                );
                let said = e.to_string();
                assert!(
                    said.contains("labels.json") || said.contains("state"),
                    "{said}"
                );
                assert!(said.contains("os error"), "{said}");
            }
        });
    }
}

#[test]
fn a_repair_is_whole_or_not_at_all_whichever_call_fails() {
    let broken = TWO.replace("\"broke\"", "\"bro");
    for fault in Fault::ALL {
        for_every_call(fault, &broken, |house, storage, n| {
            let case = format!("{fault:?} at call {n}");
            let outcome = Ledger::new(&home(house, Some(storage))).repair();
            let now = fs::read_to_string(house.ledger_path()).expect("UTF-8");
            let repaired = [TWO, &broken].iter().position(|text| *text == now);
            let whole =
                repaired.unwrap_or_else(|| panic!("{case}: neither old nor new: {now}")) == 0;
            match &outcome {
                Ok(_) | Err(LedgerError::NotDurable { .. }) => {
                    assert!(whole, "{case}: {outcome:?}")
                }
                Err(_) if fault == Fault::Death => {}
                Err(_) => assert!(!whole, "{case}: {outcome:?}"),
            }
            Ledger::new(&home(house, None))
                .repair()
                .unwrap_or_else(|e| panic!("{case}: {e}"));
            let kept = names_in(&house.state())
                .into_iter()
                .filter(|name| name.starts_with("labels.json.broken-"));
            for name in kept {
                let copy = fs::read_to_string(house.state().join(&name)).expect("UTF-8");
                assert_eq!(copy, broken, "{case}: {name}");
            }
            add(&home(house, None), "next").unwrap_or_else(|e| panic!("{case}: {e}"));
            assert_eq!(labels(house), ["a", "b", "next"], "{case}");
            assert_eq!(strays(&house.state()), Vec::<String>::new(), "{case}");
        });
    }
}

#[test]
fn a_first_ledger_written_while_it_is_looked_for_is_no_damage() {
    let house = House::new();
    let writer = home(&house, None);
    let storage = Faulty::between(move || {
        add(&writer, "first").expect("writable");
        add(&writer, "second").expect("writable");
    });
    let book = Ledger::new(&home(&house, Some(&storage)))
        .read()
        .expect("sound");
    assert_eq!(book.labels().collect::<Vec<_>>(), ["first", "second"]);
}
