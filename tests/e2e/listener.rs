//! A connection that hears what a gateway tells everybody.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

use super::gateways::RUN_PATIENCE;

/// A connection of the test itself.
pub struct Listener {
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
}

impl Listener {
    /// Connects; from then on nothing is missed.
    pub fn connect(url: &str, token: &str) -> Self {
        let (socket, _) = tungstenite::connect(url).expect("the gateway listens");
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            let slice = Some(Duration::from_millis(500));
            stream.set_read_timeout(slice).expect("settable");
        }
        let mut listener = Self { socket };
        let hello = json!({"type": "req", "id": "hello", "method": "connect", "params": {
            "minProtocol": 4,
            "maxProtocol": 4,
            "client": {"id": "gateway-client", "version": "0", "platform": "test", "mode": "backend"},
            "role": "operator",
            "scopes": ["operator.admin"],
            "auth": {"token": token},
        }});
        let sent = listener.socket.send(Message::text(hello.to_string()));
        sent.expect("the gateway reads");
        let greeted = listener.waits_for(|frame| frame["id"] == "hello");
        assert_eq!(greeted["ok"], true, "{greeted}");
        listener
    }

    /// Waits until the gateway has taken this much of an agent's reply.
    pub fn hears(&mut self, words: &str) {
        self.waits_for(|frame| {
            let text = match frame["event"].as_str() {
                Some("agent") if frame["payload"]["stream"] == "assistant" => {
                    frame["payload"]["data"]["text"].as_str()
                }
                _ => None,
            };
            text.is_some_and(|text| text.contains(words))
        });
    }

    fn waits_for(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + RUN_PATIENCE;
        while Instant::now() < end {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let frame: Value = serde_json::from_str(&text).expect("frames are JSON");
                    if is_it(&frame) {
                        return frame;
                    }
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(e))
                    if matches!(
                        e.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(e) => panic!("the connection broke: {e}"),
            }
        }
        panic!("in vain");
    }
}
