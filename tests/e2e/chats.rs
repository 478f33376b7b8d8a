//! Gateways with a chat channel, which a stand-in for the Telegram Bot API plays, and a proxy that loses answers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::gateways::{Gateway, GatewayHouse, Shared, Version};

/// The chat that the stand-in's owner writes from.
pub const CHAT: &str = "12345";

/// The gateway with a chat channel that all tests of this version share. Its agents have a heartbeat, far apart.
pub fn chat_gateway(version: Version) -> Option<&'static Gateway> {
    static OLD: Shared = Shared::new();
    static NEW: Shared = Shared::new();
    let shared = match version {
        Version::Old => &OLD,
        Version::New => &NEW,
    };
    let start = || {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let more = dir.path().join("heartbeat.json");
        let heartbeat = json!({"agents": {"defaults": {"heartbeat": {"every": "1h"}}}});
        std::fs::write(&more, heartbeat.to_string()).expect("writable");
        let more = more.to_str().expect("UTF-8");
        Gateway::try_start(version, "chat", &["--telegram", "--config", more])
    };
    shared.get(start)
}

/// What was sent to a chat so far and holds this text.
pub fn sent(gateway: &Gateway, chat: &str, text: &str) -> Vec<String> {
    let all = calls(gateway, chat);
    let ours = all.into_iter().filter(|sent| sent.contains(text));
    ours.collect()
}

/// Lets the chat answer the next `count` messages to it with this status.
pub fn refuse_messages(gateway: &Gateway, chat: &str, status: u16, count: u32) {
    refuse_messages_after(gateway, chat, 0, status, count);
}

/// As [`refuse_messages`], once `after` messages have gone through.
pub fn refuse_messages_after(gateway: &Gateway, chat: &str, after: u32, status: u16, count: u32) {
    let url = format!("http://127.0.0.1:{}/__fake/fail", gateway.chat_port());
    let order = json!({
        "chat": chat, "method": "sendMessage", "status": status, "count": count, "after": after,
    });
    let asked = ureq::post(&url).content_type("application/json");
    asked.send(order.to_string()).expect("the stand-in answers");
}

/// Everything that was sent to a chat, oldest first.
pub fn calls(gateway: &Gateway, chat: &str) -> Vec<String> {
    let url = format!("http://127.0.0.1:{}/__fake/sent", gateway.chat_port());
    let body = ureq::get(&url)
        .call()
        .expect("the stand-in answers")
        .body_mut()
        .read_to_string()
        .expect("a text");
    let calls: Vec<Value> = serde_json::from_str(&body).expect("JSON");
    let to_chat = calls
        .iter()
        .filter(|call| call["params"]["chat_id"].to_string().trim_matches('"') == chat);
    let text = |call: &Value| call["params"]["text"].as_str().map(str::to_owned);
    to_chat.filter_map(text).collect()
}

/// Stands between `dispatch` and its gateway, and drops the connection instead of the first answer that holds `word`.
pub fn lose_answer(gateway: &Gateway, house: &GatewayHouse, word: &'static [u8]) {
    let mut config = gateway.config();
    let to = u16::try_from(config["gateway"]["port"].as_u64().expect("a number")).expect("a port");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    config["gateway"]["port"] = json!(port);
    house.use_config(&config);
    let is_lost = Arc::new(AtomicBool::new(false));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
                continue;
            };
            let (up_from, up_to) = pair(&client, &server);
            thread::spawn(move || copy(up_from, up_to, |_| true));
            let is_lost = Arc::clone(&is_lost);
            let goes_on = move |bytes: &[u8]| {
                let holds = bytes.windows(word.len()).any(|part| part == word);
                !holds || is_lost.swap(true, Ordering::SeqCst)
            };
            thread::spawn(move || copy(server, client, goes_on));
        }
    });
}

fn pair(one: &TcpStream, other: &TcpStream) -> (TcpStream, TcpStream) {
    let clone = |stream: &TcpStream| stream.try_clone().expect("clonable");
    (clone(one), clone(other))
}

fn copy(mut from: TcpStream, mut to: TcpStream, goes_on: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 256 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..read];
        if !goes_on(bytes) || to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}
