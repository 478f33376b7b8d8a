//! Results that go to a chat through the gateway.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::Value;

use super::chats::{
    CHAT, calls, chat_gateway, lose_answer, refuse_messages, refuse_messages_after, sent,
};
use super::gateways::{GatewayHouse, RUN_PATIENCE, Version, in_a_runs_time};

/// Waits until no record of the label waits for its next try, and returns them.
#[track_caller]
fn told(house: &GatewayHouse, label: &str) -> Vec<Value> {
    house.settled(label);
    let end = Instant::now() + RUN_PATIENCE;
    loop {
        let entry = house.entry(label);
        let records = entry["deliveries"].as_array().expect("a list").clone();
        let ended = |d: &Value| d["state"] == "delivered" || d["state"] == "parked";
        if records.iter().all(ended) {
            return records;
        }
        assert!(Instant::now() < end, "undelivered: {entry:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[rstest]
fn a_result_reaches_its_chat_once(#[values(Version::Old, Version::New)] version: Version) {
    let Some(gateway) = chat_gateway(version) else {
        return;
    };
    let house = gateway.house();
    let prompt = "Tell the chat. @fake reply=\"Told just once.\"";
    let more = ["--deliver-to", CHAT, "--delivery-mode", "announce-always"];
    house.ask("tell", prompt, &more);
    let records = told(&house, "tell");
    let kinds: Vec<&Value> = records.iter().map(|d| &d["kind"]).collect();
    assert_eq!(kinds, ["starting", "result"], "{records:#?}");
    for record in &records {
        assert_eq!(record["state"], "delivered", "{record:#}");
        assert_eq!(record["receipt"]["channel"], "telegram");
        assert_eq!(record["receipt"]["parts"], 1, "{record:#}");
        assert!(record["receipt"]["messageId"].is_string(), "{record:#}");
    }
    assert_eq!(sent(gateway, CHAT, "[tell] starting").len(), 1);
    let results = sent(gateway, CHAT, "Told just once.");
    assert_eq!(results.len(), 1, "{results:?}");
    assert!(results[0].contains("[tell] completed:"), "{results:?}");
    assert!(!results[0].contains("repeat"), "{results:?}");
}

#[rstest]
fn a_long_result_goes_out_whole_and_its_parts_are_counted(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(gateway) = chat_gateway(version) else {
        return;
    };
    let house = gateway.house();
    let chat = "777001";
    house.ask(
        "long",
        "Tell much. @fake long=20000",
        &["--deliver-to", chat],
    );
    let records = told(&house, "long");
    assert_eq!(records[0]["state"], "delivered", "{records:#?}");
    let parts = calls(gateway, chat);
    assert!(parts.len() >= 3, "{} parts", parts.len());
    assert_eq!(records[0]["receipt"]["parts"], parts.len(), "{records:#?}");
    // Where one part ends and the next begins, the channel has a line break less.
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let whole = words(&house.full_text("long"));
    let told = words(&parts.join(" "));
    assert!(told.ends_with(&whole), "{parts:?}");
}

#[rstest]
fn an_answer_that_is_lost_leaves_one_message(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(gateway) = chat_gateway(version) else {
        return;
    };
    let house = gateway.house();
    lose_answer(gateway, &house, b"\"messageId\"");
    let prompt = "Tell it twice. @fake reply=\"This was told before its receipt was lost.\"";
    house.ask("lost", prompt, &["--deliver-to", CHAT]);
    let records = told(&house, "lost");
    assert_eq!(records[0]["state"], "delivered", "{records:#?}");
    assert_eq!(records[0]["attempts"], 2, "{records:#?}");
    assert_eq!(records[0]["mayBeRepeat"], true, "{records:#?}");
    assert_eq!(sent(gateway, CHAT, "before its receipt was lost").len(), 1);
}

/// Waits until the label's only record has been tried and satisfies `wanted`.
#[track_caller]
fn record_when(house: &GatewayHouse, label: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    in_a_runs_time("the record", || {
        let record = house.entry(label)["deliveries"][0].clone();
        wanted(&record).then_some(record)
    })
}

#[rstest]
fn a_chat_that_fails_and_recovers_gets_one_message_soon(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(gateway) = chat_gateway(version) else {
        return;
    };
    let house = gateway.house();
    // A gateway repeats what was refused for its frequency twice by itself.
    for (label, chat, status, calls_each) in
        [("five", "777500", 500, 1), ("many", "777429", 429, 3)]
    {
        refuse_messages(gateway, chat, status, 2 * calls_each);
        let prompt = format!("Tell {label}. @fake reply=\"Told after {status}.\"");
        house.ask(label, &prompt, &["--deliver-to", chat]);
        house.reply(label);
        let waiting = record_when(&house, label, |d| d["state"] == "retrying");
        let why = waiting["lastError"].as_str().expect("a text");
        assert!(why.contains(&format!("({status}: ")), "{why}");
        let wait_ms = waiting["nextAt"].as_i64().zip(waiting["triedAt"].as_i64());
        let wait_ms = wait_ms.map(|(next, tried)| next - tried).expect("times");
        assert!(
            wait_ms < 60_000,
            "the gateway's memory is not waited for: {waiting:#}"
        );
        let record = record_when(&house, label, |d| d["state"] == "delivered");
        assert_eq!(record["attempts"], 3, "{record:#}");
        assert!(record["mayBeRepeat"].is_null(), "{record:#}");
        let all = sent(gateway, chat, &format!("Told after {status}."));
        // The refused ones, and the one that was taken: the gateway has sent none of them again by itself.
        assert_eq!(all.len(), 2 * calls_each as usize + 1, "{all:?}");
        assert!(all.iter().all(|text| !text.contains("repeat")), "{all:?}");
    }
}

#[rstest]
fn a_chat_that_refuses_for_good_parks_the_result_until_it_is_redelivered(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(gateway) = chat_gateway(version) else {
        return;
    };
    let house = gateway.house();
    for (status, chat) in [(403, "777403"), (400, "777400")] {
        refuse_messages(gateway, chat, status, 1);
        let label = format!("refused-{status}");
        let prompt = format!("Tell {status}. @fake reply=\"Told once {status} is over.\"");
        house.ask(&label, &prompt, &["--deliver-to", chat]);
        let records = told(&house, &label);
        assert_eq!(records[0]["state"], "parked", "{records:#?}");
        assert_eq!(records[0]["attempts"], 1, "{records:#?}");
        let why = records[0]["lastError"].as_str().expect("a text");
        assert!(why.starts_with("the gateway refused send: "), "{why}");
        assert!(why.contains(&format!("({status}: ")), "{why}");
        // The bot is let in again; what the gateway remembers of the refusal is of no account.
        let again = house.dispatch(&["redeliver", "--label", &label]).exits(0);
        assert_eq!(again.json()["delivered"], 1, "{again:?}");
        let all = sent(gateway, chat, &format!("Told once {status} is over."));
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all.iter().all(|text| !text.contains("repeat")), "{all:?}");
    }
}

#[rstest]
fn a_text_of_which_a_part_has_arrived_waits_until_the_gateway_has_forgotten_it(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(gateway) = chat_gateway(version) else {
        return;
    };
    let house = gateway.house();
    let chat = "777999";
    refuse_messages_after(gateway, chat, 1, 500, 100);
    house.ask(
        "parts",
        "Tell much. @fake long=20000",
        &["--deliver-to", chat],
    );
    let record = record_when(&house, "parts", |d| d["state"] == "unknown");
    assert!(record["spentKeys"].is_null(), "{record:#}");
    let wait_ms = record["nextAt"].as_i64().zip(record["triedAt"].as_i64());
    let wait_ms = wait_ms.map(|(next, tried)| next - tried).expect("times");
    assert!(wait_ms >= 360_000, "{record:#}");
    // Whoever cannot wait gets it twice, and is told so.
    refuse_messages(gateway, chat, 500, 0);
    let ran = house.dispatch(&["redeliver", "--label", "parts"]).exits(0);
    assert_eq!(ran.json()["deliveries"][0]["was"], "unknown", "{ran:?}");
    let last = calls(gateway, chat).pop().expect("a message");
    assert!(last.contains("(This may be a repeat: try 2"), "{last}");
}

#[rstest]
fn a_chat_that_the_channel_does_not_know_is_parked_with_its_reason(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(gateway) = chat_gateway(version) else {
        return;
    };
    let house = gateway.house();
    let prompt = "Tell nobody. @fake reply=\"Said to nobody.\"";
    house.ask("nobody", prompt, &["--deliver-to", "not a chat"]);
    let records = told(&house, "nobody");
    assert_eq!(records[0]["state"], "parked", "{records:#?}");
    let why = records[0]["lastError"].as_str().expect("a text");
    assert!(why.contains("recipient must be a numeric chat ID"), "{why}");
    // The gateway is asked again, and says the same.
    let again = house.dispatch(&["redeliver", "--label", "nobody"]).exits(1);
    assert_eq!(
        again.json()["deliveries"][0]["state"],
        "parked",
        "{again:?}"
    );
}

#[rstest]
fn a_gateway_without_the_channel_parks_the_result_with_its_words(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let prompt = "Tell a missing channel. @fake reply=\"Nobody heard.\"";
    house.ask("mute", prompt, &["--deliver-to", CHAT]);
    let records = told(&house, "mute");
    assert_eq!(records[0]["state"], "parked", "{records:#?}");
    let why = records[0]["lastError"].as_str().expect("a text");
    assert!(why.starts_with("the gateway refused send: "), "{why}");
    assert!(why.contains("telegram"), "{why}");
    assert_eq!(house.full_text("mute"), "Nobody heard.");
    let list = house.dispatch(&["doctor"]);
    assert!(list.stdout.contains("parked"), "{list:?}");
}
