//! One connection to a gateway: handshake, calls, answers in any order.

use std::collections::HashMap;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::failure::Facts;
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{HandshakeError, Message, WebSocket, client_tls_with_config};

use super::frame::{Frame, Refused};
use super::observation::Observations;
use super::{Endpoint, GatewayError, Generation, Secret};

/// The protocol that this client speaks; both generations of gateways do.
const PROTOCOL: u32 = 4;

/// The most bytes of one message that is read.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// The most bytes of a request where the gateway does not say; both generations say this.
const MAX_REQUEST_BYTES: usize = 25 * 1024 * 1024;

/// A connection that has shaken hands.
pub(super) struct Socket {
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    /// Answers to calls that somebody else on this connection waits for, by id.
    early: HashMap<String, Result<Value, Refused>>,
    generation: Generation,
    version: String,
    observations: Observations,
    session_defaults: Value,
    /// The most bytes of a request that the gateway takes: it would break the connection over a longer one.
    max_request: usize,
}

impl Socket {
    /// Connects and shakes hands. A gateway that is starting is waited for, within `limit`.
    ///
    /// # Errors
    /// Nothing answers, or the gateway refuses.
    pub(super) fn connect(endpoint: &Endpoint, limit: Duration) -> Result<Self, GatewayError> {
        let end = Instant::now() + limit;
        loop {
            match Self::shake_hands(endpoint, end) {
                Err(GatewayError::Refused { method, refused }) => {
                    let pause = refused.retry_after();
                    match pause.filter(|pause| Instant::now() + *pause < end) {
                        Some(pause) => std::thread::sleep(pause),
                        None => return Err(GatewayError::Refused { method, refused }),
                    }
                }
                other => return other,
            }
        }
    }

    fn shake_hands(endpoint: &Endpoint, end: Instant) -> Result<Self, GatewayError> {
        let unreachable = |why: String| GatewayError::Unreachable {
            url: endpoint.url.clone(),
            why,
        };
        let request = (&endpoint.url).into_client_request().map_err(|e| {
            GatewayError::Configuration(format!(
                "the gateway's address {} is no URL: {e}",
                endpoint.url
            ))
        })?;
        let stream = open(&endpoint.url, left(end)).map_err(|e| unreachable(e.to_string()))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let (socket, _) =
            client_tls_with_config(request, stream, Some(config), None).map_err(|e| match e {
                HandshakeError::Interrupted(_) => unreachable(
                    "it took the connection and did not go on with it in time; it may be very busy"
                        .to_owned(),
                ),
                HandshakeError::Failure(e) => unreachable(e.to_string()),
            })?;
        let mut client = Self {
            socket,
            next_id: 0,
            early: HashMap::new(),
            generation: Generation::Files,
            version: String::new(),
            observations: Observations::default(),
            session_defaults: Value::Null,
            max_request: MAX_REQUEST_BYTES,
        };
        let auth = match &endpoint.secret {
            Secret::Token(token) => json!({"token": token}),
            Secret::Password(password) => json!({"password": password}),
            Secret::None => json!({}),
        };
        let params = json!({
            "minProtocol": PROTOCOL,
            "maxProtocol": PROTOCOL,
            "client": {
                "id": "gateway-client",
                "version": env!("CARGO_PKG_VERSION"),
                "platform": std::env::consts::OS,
                "mode": "backend",
            },
            "role": "operator",
            "scopes": ["operator.admin"],
            "auth": auth,
        });
        let hello = client.call("connect", &params, left(end))?;
        client.version = hello
            .pointer("/server/version")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        client.generation = generation_of(&hello);
        client.session_defaults = hello
            .pointer("/snapshot/sessionDefaults")
            .cloned()
            .unwrap_or_default();
        let told = hello.pointer("/policy/maxPayload").and_then(Value::as_u64);
        client.max_request = told
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(MAX_REQUEST_BYTES);
        Ok(client)
    }

    /// Which generation the gateway is.
    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    /// The gateway's version as it names it.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// How the gateway routes what comes for a session; null where it does not tell.
    pub(super) fn session_defaults(&self) -> &Value {
        &self.session_defaults
    }

    /// What the events that came by so far told of a run's last error, in typed fields.
    pub(super) fn observed(&self, run_id: &str) -> Facts {
        self.observations.of(run_id)
    }

    /// Listens to what this run says from now on.
    pub(super) fn follow(&mut self, run_id: &str) {
        self.observations.follow(run_id);
    }

    /// What the followed run was saying last, as far as it came by.
    pub(super) fn heard(&self, run_id: &str) -> &str {
        self.observations.heard(run_id)
    }

    /// Calls a method and waits for its first answer.
    ///
    /// # Errors
    /// The gateway's refusal; no answer within `limit`; a broken connection.
    pub(super) fn call(
        &mut self,
        method: &str,
        params: &Value,
        limit: Duration,
    ) -> Result<Value, GatewayError> {
        let id = self.send(method, params)?;
        self.answer(&id, method, limit)
    }

    /// Sends a request and returns its id, for [`Socket::answer`].
    ///
    /// # Errors
    /// A broken connection.
    pub(super) fn send(&mut self, method: &str, params: &Value) -> Result<String, GatewayError> {
        self.next_id += 1;
        let id = format!("d{}", self.next_id);
        let request = Frame::request(&id, method, params);
        within(method, request.len(), self.max_request)?;
        self.socket
            .send(Message::text(request))
            .map_err(|e| GatewayError::Broken(e.to_string()))?;
        Ok(id)
    }

    /// Whether the gateway takes a request of this length.
    ///
    /// # Errors
    /// The refusal that sending it would come to.
    pub(super) fn takes(&self, method: &str, params: &Value) -> Result<(), GatewayError> {
        // No id is longer.
        let id = u64::MAX.to_string();
        let request = Frame::request(&id, method, params);
        within(method, request.len(), self.max_request)
    }

    /// Waits for the next answer to a request; some have two.
    ///
    /// # Errors
    /// As [`Socket::call`].
    pub(super) fn answer(
        &mut self,
        id: &str,
        method: &str,
        limit: Duration,
    ) -> Result<Value, GatewayError> {
        let refused = |refused| GatewayError::Refused {
            method: method.to_owned(),
            refused: Box::new(refused),
        };
        if let Some(answer) = self.early.remove(id) {
            return answer.map_err(refused);
        }
        let end = Instant::now() + limit;
        loop {
            match self.next_frame(left(end))? {
                Some(Frame::Response { id: of, answer }) if of == id => {
                    return answer.map_err(refused);
                }
                Some(Frame::Response { id, answer }) => {
                    self.early.insert(id, answer);
                }
                Some(Frame::Event { name, payload }) => self.observations.take(&name, &payload),
                Some(Frame::Other) => {}
                None if Instant::now() >= end => {
                    return Err(GatewayError::TimedOut {
                        method: method.to_owned(),
                        limit,
                    });
                }
                None => {}
            }
        }
    }

    /// The next frame, `None` when none comes within `limit`.
    fn next_frame(&mut self, limit: Duration) -> Result<Option<Frame>, GatewayError> {
        // A zero time-out would mean none at all.
        let limit = limit.max(Duration::from_millis(1));
        let stream = match self.socket.get_ref() {
            MaybeTlsStream::Plain(stream) => stream,
            MaybeTlsStream::Rustls(tls) => &tls.sock,
            _ => return Err(GatewayError::Broken("an unknown kind of stream".to_owned())),
        };
        stream
            .set_read_timeout(Some(limit))
            .map_err(|e| GatewayError::Broken(e.to_string()))?;
        match self.socket.read() {
            Ok(Message::Text(text)) => Ok(Some(Frame::parse(&text))),
            Ok(Message::Close(frame)) => Err(GatewayError::Broken(match frame {
                Some(frame) => format!(
                    "closed by the gateway: {} {}",
                    u16::from(frame.code),
                    frame.reason
                ),
                None => "closed by the gateway".to_owned(),
            })),
            Ok(_) => Ok(Some(Frame::Other)),
            Err(tungstenite::Error::Io(e))
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(e) => Err(GatewayError::Broken(e.to_string())),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = self.socket.close(None);
        let _ = self.socket.flush();
    }
}

fn within(method: &str, bytes: usize, most: usize) -> Result<(), GatewayError> {
    match bytes > most {
        true => Err(GatewayError::too_large(method, bytes, most, "")),
        false => Ok(()),
    }
}

fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}

/// Opens the stream to the host that the address names.
fn open(url: &str, limit: Duration) -> io::Result<TcpStream> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("ws", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = match (has_port, scheme) {
        (true, _) => authority.to_owned(),
        (false, "wss") => format!("{authority}:443"),
        (false, _) => format!("{authority}:80"),
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{address} has no address"));
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(limit))?;
                stream.set_write_timeout(Some(Duration::from_secs(30)))?;
                return Ok(stream);
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// Told by what the gateway shows of its store, and by its version only where it shows nothing.
fn generation_of(hello: &Value) -> Generation {
    let path = hello
        .pointer("/snapshot/health/sessions/path")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match path {
        path if path.ends_with(".sqlite") => Generation::Database,
        path if path.ends_with(".json") => Generation::Files,
        _ => {
            let methods = hello.pointer("/features/methods").and_then(Value::as_array);
            let knows = |name: &str| {
                methods.is_some_and(|all| all.iter().any(|m| m.as_str() == Some(name)))
            };
            match knows("sessions.search") || knows("chat.startup") {
                true => Generation::Database,
                false => Generation::Files,
            }
        }
    }
}
