//! Where the gateway is and how to prove who we are: from the environment, else from OpenClaw's own configuration.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::GatewayError;
use crate::config::GatewayTransport;
use crate::home::Home;
use crate::paths::{Environment, Paths};

/// The port of a gateway whose configuration names none.
const DEFAULT_PORT: u64 = 18_789;

/// A configuration larger than this is refused unread.
const MAX_CONFIG_BYTES: u64 = 8 * 1024 * 1024;

/// How a gateway was found to be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Configured {
    /// `OPENCLAW_GATEWAY_URL` is set.
    ByUrl,
    /// OpenClaw's configuration file exists.
    ByFile(PathBuf),
}

/// What a client shows at the door. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A shared token.
    Token(String),
    /// A password.
    Password(String),
    /// Nothing.
    None,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Secret::Token(_) => "Token(..)",
            Secret::Password(_) => "Password(..)",
            Secret::None => "None",
        })
    }
}

/// A gateway's address with the secret for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `ws://` or `wss://`.
    pub url: String,
    /// The secret.
    pub secret: Secret,
    /// How calls go there.
    pub transport: Transport,
    /// The `session` object of OpenClaw's configuration; null where there is none.
    pub session: Value,
}

impl Endpoint {
    /// A gateway that is called over its socket.
    pub fn at(url: impl Into<String>, secret: Secret) -> Self {
        Self {
            url: url.into(),
            secret,
            transport: Transport::WebSocket,
            session: Value::Null,
        }
    }
}

/// How calls reach a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// Over its socket.
    WebSocket,
    /// Through the `openclaw` program.
    Cli(Cli),
}

/// The `openclaw` program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cli {
    /// Its name or path.
    pub program: PathBuf,
    /// The file that the program leaves when a gateway has let it in for the first time.
    pub paired_mark: PathBuf,
}

/// The gateway that is configured, with the transport that dispatch's own configuration names; nothing is contacted.
///
/// # Errors
/// As `discover`.
pub fn endpoint(home: &Home) -> Result<Endpoint, GatewayError> {
    let mut endpoint = discover(&home.paths, &home.environment)?;
    if home.config.gateway.transport == GatewayTransport::Cli {
        endpoint.transport = Transport::Cli(Cli {
            program: home.config.gateway.cli.clone(),
            paired_mark: home.paths.openclaw_state.join("identity/device-auth.json"),
        });
    }
    Ok(endpoint)
}

/// Whether a gateway is configured; nothing is contacted.
pub fn configured(paths: &Paths, env: Environment<'_>) -> Option<Configured> {
    if env("OPENCLAW_GATEWAY_URL").is_some_and(|url| !url.is_empty()) {
        return Some(Configured::ByUrl);
    }
    let file = &paths.openclaw_config;
    file.is_file().then(|| Configured::ByFile(file.clone()))
}

/// Address and secret of the configured gateway, over its socket.
///
/// # Errors
/// When the configuration cannot be read, or would send the secret in clear over a network.
fn discover(paths: &Paths, env: Environment<'_>) -> Result<Endpoint, GatewayError> {
    let text = |name: &str| {
        env(name)
            .and_then(|value| value.into_string().ok())
            .filter(|value| !value.trim().is_empty())
    };
    let file = read_config(&paths.openclaw_config)?;
    let gateway = file.get("gateway").cloned().unwrap_or_default();
    let url = match text("OPENCLAW_GATEWAY_URL") {
        Some(url) => websocket_url(url.trim())?,
        None => {
            let port = gateway
                .get("port")
                .and_then(Value::as_u64)
                .unwrap_or(DEFAULT_PORT);
            let tls = gateway.pointer("/tls/enabled") == Some(&Value::Bool(true));
            format!("{}://127.0.0.1:{port}/", if tls { "wss" } else { "ws" })
        }
    };
    let from_file = |name: &str| {
        let value = gateway.get("auth")?.get(name)?.as_str()?.trim().to_owned();
        // OpenClaw lets its configuration name a variable in place of a secret.
        match value.strip_prefix("${").and_then(|v| v.strip_suffix('}')) {
            Some(variable) => text(variable),
            None => Some(value).filter(|value| !value.is_empty()),
        }
    };
    let secret = text("OPENCLAW_GATEWAY_TOKEN")
        .map(Secret::Token)
        .or_else(|| text("OPENCLAW_GATEWAY_PASSWORD").map(Secret::Password))
        .or_else(|| from_file("token").map(Secret::Token))
        .or_else(|| from_file("password").map(Secret::Password))
        .unwrap_or(Secret::None);
    Ok(Endpoint {
        session: file.get("session").cloned().unwrap_or_default(),
        ..Endpoint::at(url, secret)
    })
}

fn read_config(path: &Path) -> Result<Value, GatewayError> {
    let unusable = |what: String| {
        GatewayError::Configuration(format!(
            "OpenClaw's configuration {} is not usable: {what}",
            path.display()
        ))
    };
    match fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Value::Null),
        Err(e) => return Err(unusable(e.to_string())),
        Ok(facts) if facts.len() > MAX_CONFIG_BYTES => {
            return Err(unusable(format!("it has {} bytes", facts.len())));
        }
        Ok(_) => {}
    }
    let text = fs::read_to_string(path).map_err(|e| unusable(e.to_string()))?;
    json5::from_str(&text).map_err(|e| unusable(e.to_string()))
}

/// The WebSocket form of an address; clear text is for this machine alone.
fn websocket_url(url: &str) -> Result<String, GatewayError> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("ws", url));
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        other => {
            return Err(GatewayError::Configuration(format!(
                "OPENCLAW_GATEWAY_URL has the scheme {other}; use ws, wss, http or https"
            )));
        }
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // What stands before an at sign may be a secret.
    let address = authority.rsplit('@').next().unwrap_or_default();
    let is_complete = url.contains("://") || has_port(address) || is_loopback(address);
    if !is_complete || !names_host(address) {
        return Err(GatewayError::Configuration(format!(
            "OPENCLAW_GATEWAY_URL is no address (\"{address}\"); give one such as ws://127.0.0.1:{DEFAULT_PORT} or wss://example.org"
        )));
    }
    if scheme == "ws" && !is_loopback(address) {
        return Err(GatewayError::Configuration(format!(
            "OPENCLAW_GATEWAY_URL names {address} without TLS: the token would cross the network in clear; use wss://, or a tunnel to this machine"
        )));
    }
    let path = if rest.contains('/') { "" } else { "/" };
    Ok(format!("{scheme}://{rest}{path}"))
}

/// A host, with a port or without one, and nothing else.
fn names_host(address: &str) -> bool {
    let host = match address.strip_prefix('[') {
        Some(v6) => {
            let Some((host, rest)) = v6.split_once(']') else {
                return false;
            };
            let is_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
            return is_v6 && (rest.is_empty() || has_port(rest));
        }
        None if has_port(address) => address.rsplit_once(':').map_or("", |(host, _)| host),
        None => address,
    };
    let is_part = |c: char| c.is_alphanumeric() || "-._".contains(c);
    !host.is_empty() && host.chars().all(is_part)
}

fn has_port(address: &str) -> bool {
    let port = address
        .rsplit_once(':')
        .map(|(_, port)| port.parse::<u16>());
    matches!(port, Some(Ok(1..)))
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn found(config: Option<&str>, vars: &[(&str, &str)]) -> Result<Endpoint, String> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("openclaw.json");
        if let Some(text) = config {
            fs::write(&file, text).expect("writable");
        }
        let mut vars: Vec<(String, String)> = vars
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        vars.push(("HOME".to_owned(), dir.path().display().to_string()));
        vars.push((
            "OPENCLAW_CONFIG_PATH".to_owned(),
            file.display().to_string(),
        ));
        let env = move |name: &str| {
            vars.iter()
                .find(|(k, _)| k == name)
                .map(|(_, v)| OsString::from(v))
        };
        let paths = Paths::from_environment(&env).expect("a home is set");
        discover(&paths, &env).map_err(|e| e.to_string())
    }

    #[test]
    fn the_file_is_json5_and_the_environment_wins() {
        let config = "{ // mine\n gateway: { port: 4711, auth: { token: 'abc' }, }, }";
        let endpoint = found(Some(config), &[]).expect("usable");
        assert_eq!(endpoint.url, "ws://127.0.0.1:4711/");
        assert_eq!(endpoint.secret, Secret::Token("abc".to_owned()));
        let vars = [
            ("OPENCLAW_GATEWAY_URL", "http://localhost:1"),
            ("OPENCLAW_GATEWAY_PASSWORD", "p"),
        ];
        let endpoint = found(Some(config), &vars).expect("usable");
        assert_eq!(
            (endpoint.url.as_str(), endpoint.secret),
            ("ws://localhost:1/", Secret::Password("p".to_owned()))
        );
    }

    #[test]
    fn a_token_is_not_sent_in_clear_over_a_network() {
        for url in ["ws://example.org:1", "http://10.0.0.1", "192.168.0.5:3"] {
            assert!(
                found(None, &[("OPENCLAW_GATEWAY_URL", url)]).is_err(),
                "{url}"
            );
        }
        for url in [
            "wss://example.org",
            "https://10.0.0.1",
            "ws://[::1]:3",
            "127.0.0.1:3",
        ] {
            assert!(
                found(None, &[("OPENCLAW_GATEWAY_URL", url)]).is_ok(),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_said_to_be_none() {
        for (url, shown) in [
            ("garbage", "garbage"),
            ("ws://", ""),
            ("wss://a b", "a b"),
            ("wss://example.org:port", "example.org:port"),
            ("wss://example.org:99999/x", "example.org:99999"),
            ("wss://[::1", "[::1"),
            ("me:s3cret@", ""),
            ("wss://me:s3cret@x y", "x y"),
        ] {
            let error = found(None, &[("OPENCLAW_GATEWAY_URL", url)]).expect_err("no address");
            let said = format!(
                "OPENCLAW_GATEWAY_URL is no address (\"{shown}\"); give one such as ws://127.0.0.1:18789 or wss://example.org"
            );
            assert!(error.ends_with(&said), "{url}: {error}");
        }
        let url = "ws://me:s3cret@example.org:1";
        let error = found(None, &[("OPENCLAW_GATEWAY_URL", url)]).expect_err("in clear");
        assert!(error.contains("names example.org:1 without TLS"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
        for url in [
            "localhost",
            "ws://me:s3cret@[::1]:3",
            "wss://bücher.example",
        ] {
            assert!(
                found(None, &[("OPENCLAW_GATEWAY_URL", url)]).is_ok(),
                "{url}"
            );
        }
    }

    #[test]
    fn a_secret_may_stand_in_a_variable_and_never_shows() {
        let config = "{gateway:{auth:{token:'${MY_TOKEN}'}}}";
        let endpoint = found(Some(config), &[("MY_TOKEN", "s3cret")]).expect("usable");
        assert_eq!(endpoint.secret, Secret::Token("s3cret".to_owned()));
        assert!(!format!("{endpoint:?}").contains("s3cret"));
    }

    #[test]
    fn a_broken_file_is_named() {
        let error = found(Some("{"), &[]).expect_err("unusable");
        assert!(error.contains("openclaw.json is not usable"), "{error}");
    }
}
