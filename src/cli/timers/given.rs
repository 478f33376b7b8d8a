//! What of the installer's environment the timers are given, and what they are not.
//!
//! Cron and systemd start programs with next to nothing. What decides where the files are, which programs are found, and
//! how a gateway is reached is written into the lines and units; secrets are not, for those files are no place for them.

use std::path::Path;

use crate::home::Home;

/// Settings that are no secrets.
const SETTINGS: [&str; 3] = [
    "DISPATCH_COMPLETION_INLINE_LIMIT_BYTES",
    "DISPATCH_GATEWAY_TRANSPORT",
    "DISPATCH_HOST",
];

const GATEWAY_URL: &str = "OPENCLAW_GATEWAY_URL";

/// What may be a secret, and the key of dispatch's configuration that says the same.
const EVENTS: [(&str, &str); 3] = [
    ("LOKI_PUSH_URL", "events.loki"),
    ("DISPATCH_WEBHOOK_URL", "events.webhook.url"),
    ("DISPATCH_WEBHOOK_SECRET", "events.webhook.secret"),
];

/// The same of OpenClaw's.
const GATEWAY: [(&str, &str); 2] = [
    ("OPENCLAW_GATEWAY_TOKEN", "gateway.auth.token"),
    ("OPENCLAW_GATEWAY_PASSWORD", "gateway.auth.password"),
];

/// A variable that the installer has and the timers will not have.
pub(super) struct Withheld {
    /// Its name.
    pub variable: &'static str,
    /// Where to say the same instead.
    pub instead: String,
}

/// The variables for a process that has no more than cron gives it, with their values.
pub(super) fn given(home: &Home) -> Vec<(&'static str, String)> {
    let mut variables: Vec<(&str, String)> = home
        .paths
        .settled()
        .into_iter()
        .map(|(name, path)| (name, path.to_string_lossy().into_owned()))
        .collect();
    let settings = SETTINGS.into_iter();
    variables.extend(settings.filter_map(|name| Some((name, set(home, name)?))));
    let url = set(home, GATEWAY_URL).filter(|url| is_address_alone(url));
    variables.extend(url.map(|url| (GATEWAY_URL, url)));
    let path = set(home, "PATH").map(|path| absolute_only(&path));
    variables.extend(path.filter(|p| !p.is_empty()).map(|path| ("PATH", path)));
    variables
}

/// What is set, may be a secret, and is not given to the timers.
pub(super) fn withheld(home: &Home) -> Vec<Withheld> {
    let (ours, openclaws) = (&home.paths.config, &home.paths.openclaw_config);
    let events = EVENTS.map(|(variable, key)| (variable, key, ours.as_path()));
    let gateway = GATEWAY.map(|(variable, key)| (variable, key, openclaws.as_path()));
    let all = events.into_iter().chain(gateway);
    let mut withheld: Vec<Withheld> = all
        .filter(|(variable, ..)| set(home, variable).is_some())
        .map(|(variable, key, file)| Withheld {
            variable,
            instead: format!("put it into {} as \"{key}\"", file.display()),
        })
        .collect();
    if set(home, GATEWAY_URL).is_some_and(|url| !is_address_alone(&url)) {
        withheld.push(Withheld {
            variable: GATEWAY_URL,
            instead: "install them with the address alone".to_owned(),
        });
    }
    withheld
}

fn set(home: &Home, name: &str) -> Option<String> {
    let value = (home.environment)(name)?.to_string_lossy().into_owned();
    Some(value).filter(|value| !value.is_empty())
}

/// No user, no password, and nothing behind a question mark, where tokens stand at times.
fn is_address_alone(url: &str) -> bool {
    !url.contains(['@', '?', '#'])
}

/// A directory that is named from where the caller stands is another one for the timers.
fn absolute_only(path: &str) -> String {
    let dirs = path.split(':').filter(|dir| Path::new(dir).is_absolute());
    dirs.collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_more_than_the_address_in_it_may_hold_a_secret() {
        for (url, expected) in [
            ("wss://example.org:1/x", true),
            ("127.0.0.1:18789", true),
            ("wss://me:secret@example.org", false),
            ("wss://example.org/?token=secret", false),
            ("wss://example.org/#secret", false),
        ] {
            assert_eq!(is_address_alone(url), expected, "{url}");
        }
    }

    #[test]
    fn only_absolute_directories_mean_the_same_elsewhere() {
        let path = "/a:bin:./x::/b c:.";
        assert_eq!(absolute_only(path), "/a:/b c");
    }
}
