//! Whether the configuration and the variables of the environment mean something.

use std::path::Path;

use super::findings::{Findings, counted};
use crate::config::aliases::{NoAlias, resolve};
use crate::config::runtimes::{AUTO, COMMAND};
use crate::config::{Config, Strictness};
use crate::home::Home;
use crate::paths::process_environment;
use crate::process::{find_program, is_script};

/// Checks the settings. Doctor itself goes on with defaults; other commands refuse what cannot be used.
pub fn check(home: &Home, found: &mut Findings) {
    let loaded = Config::load(
        home.storage.as_ref(),
        &home.paths.config,
        &process_environment,
        Strictness::Warn,
    );
    for line in loaded.map(|(_, warnings)| warnings).unwrap_or_default() {
        found.wrong("config", line);
    }
    let path = home.paths.config.display();
    for trouble in troubles(&home.config) {
        found.wrong("config", format!("the configuration {path}: {trouble}"));
    }
    check_runtimes(home, found);
    check_receivers(home, found);
    // The variables come before the file.
    let events = &home.config.events;
    let hook = events.webhook.as_ref().map(|hook| hook.url.as_str());
    for (variable, key, url) in [
        ("LOKI_PUSH_URL", "events.loki", events.loki.as_deref()),
        ("DISPATCH_WEBHOOK_URL", "events.webhook.url", hook),
    ] {
        let Some(why) = url.and_then(no_address) else {
            continue;
        };
        match (home.environment)(variable).is_some_and(|value| !value.is_empty()) {
            true => found.wrong("environment", format!("{variable} {why}")),
            false => found.wrong(
                "config",
                format!("the configuration {path}: \"{key}\" {why}"),
            ),
        };
    }
    let named = (home.environment)("DISPATCH_INDEX_PATH");
    if let Some(script) = named.filter(|path| is_script(Path::new(path))) {
        found.wrong(
            "environment",
            format!(
                "DISPATCH_INDEX_PATH names {}, a script of openclaw-scheduler, which is not called; unset it: {} is",
                script.display(),
                home.programs.dispatch.display()
            ),
        );
    }
}

/// Whether the programs of registered runtimes are there. A path in a work's directory is looked for when it is known.
fn check_runtimes(home: &Home, found: &mut Findings) {
    let path = (home.environment)("PATH");
    for (id, runtime) in home.config.runtimes.iter() {
        let name = runtime.command.first().map_or("", String::as_str);
        if name.contains('/') && !Path::new(name).is_absolute() {
            continue;
        }
        if find_program(name, Path::new("/"), path.as_deref()).is_none() {
            let (what, key) = (
                format!("runtime \"{id}\""),
                format!("runtimes.{id}.command"),
            );
            not_there(home, found, "runtimes", &what, name, &key);
        }
    }
    match home.config.runtimes.iter().count() {
        0 => {}
        count => found.fine_else(
            "runtimes",
            format!(
                "{} registered",
                counted(count, "runtime is", "runtimes are")
            ),
        ),
    }
}

/// Whether the programs that take results and events are there, as a watcher in the background finds them.
fn check_receivers(home: &Home, found: &mut Findings) {
    let path = (home.environment)("PATH");
    let of_results = home.config.commands.iter();
    let of_results = of_results.map(|(name, words)| {
        let what = format!("receiver \"command:{name}\"");
        (what, format!("commands.{name}"), words)
    });
    let of_events = home.config.events.command.iter();
    let of_events = of_events.map(|words| {
        let what = "receiver of events".to_owned();
        (what, "events.command".to_owned(), words)
    });
    for (what, key, words) in of_results.chain(of_events) {
        let name = words.first().map_or("", String::as_str);
        if find_program(name, Path::new("/"), path.as_deref()).is_none() {
            not_there(home, found, "receivers", &what, name, &key);
        }
    }
}

fn not_there(
    home: &Home,
    found: &mut Findings,
    check: &'static str,
    what: &str,
    program: &str,
    key: &str,
) {
    let message =
        format!("the {what} cannot be run: \"{program}\" does not exist or is not executable");
    found.warn(check, message).todo(format!(
        "install it, or mend \"{key}\" in {} or your PATH",
        home.paths.config.display()
    ));
}

/// What stands in the settings and leads nowhere.
fn troubles(config: &Config) -> Vec<String> {
    let mut troubles = Vec::new();
    for (name, target) in &config.aliases {
        let own = format!("@{}", name.trim_start_matches('@'));
        let circle = resolve(&config.aliases, &own).err();
        let circle = circle.map(|circle| circle.to_string());
        if let Some(why) = circle.or_else(|| no_target(config, target)) {
            troubles.push(format!("\"aliases.{name}\" {why}"));
        }
    }
    for (name, hook) in &config.webhooks {
        if let Some(why) = no_address(&hook.url) {
            troubles.push(format!("\"webhooks.{name}.url\" {why}"));
        }
    }
    for (agent, id) in &config.agent_runtimes {
        if config.runtimes.get(id).is_none() && ![AUTO, COMMAND].contains(&id.as_str()) {
            troubles.push(format!(
                "\"agents.{agent}.runtime\" is {id}, and \"runtimes\" has no \"{id}\""
            ));
        }
    }
    match config.deliver_to.as_deref() {
        Some(to) if to.starts_with('@') => match resolve(&config.aliases, to) {
            Ok(_) => {}
            Err(NoAlias::Unknown) => troubles.push(format!(
                "\"deliverTo\" is {to}, and \"aliases\" has no such name"
            )),
            Err(circle) => troubles.push(format!("\"deliverTo\" is {to}, which {circle}")),
        },
        Some(to) => {
            let why = no_target(config, to);
            troubles.extend(why.map(|why| format!("\"deliverTo\" {why}")));
        }
        None => {}
    }
    troubles
}

/// Why nothing could be delivered to a target.
fn no_target(config: &Config, target: &str) -> Option<String> {
    let (section, is_there, name) = match target.split_once(':') {
        Some(("webhook", name)) => ("webhooks", config.webhooks.contains_key(name), name),
        Some(("command", name)) => ("commands", config.commands.contains_key(name), name),
        Some((_, to)) if !to.trim().is_empty() => return None,
        None if !target.trim().is_empty() => return None,
        _ => {
            return Some(
                "names nobody; give a chat's id, CHANNEL:TARGET, webhook:NAME or command:NAME"
                    .to_owned(),
            );
        }
    };
    (!is_there).then(|| format!("is {target}, and \"{section}\" has no \"{name}\""))
}

/// Why nothing could be posted to an address, which may hold a secret and is not shown.
fn no_address(url: &str) -> Option<&'static str> {
    let Ok(uri) = url.parse::<ureq::http::Uri>() else {
        return Some("is no address; give one such as https://example.org/hook");
    };
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => None,
        _ => Some("is no address of the web; give one such as https://example.org/hook"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Webhook;

    fn config() -> Config {
        let hook = Webhook {
            url: "https://example.org/hook".to_owned(),
            secret: None,
        };
        let mut config = Config::default();
        config.webhooks.insert("team".to_owned(), hook);
        let words = vec!["true".to_owned()];
        config.commands.insert("mail".to_owned(), words);
        config
    }

    #[test]
    fn an_alias_leads_to_somebody() {
        let nobody = "names nobody; give a chat's id, CHANNEL:TARGET, webhook:NAME or command:NAME";
        let cases = [
            ("-100123", None),
            ("@room", None),
            ("telegram:-100", None),
            ("webhook:team", None),
            ("command:mail", None),
            (
                "webhook:taem",
                Some("is webhook:taem, and \"webhooks\" has no \"taem\""),
            ),
            (
                "command:",
                Some("is command:, and \"commands\" has no \"\""),
            ),
            ("", Some(nobody)),
            ("telegram:", Some(nobody)),
        ];
        for (target, why) in cases {
            assert_eq!(no_target(&config(), target).as_deref(), why, "{target}");
        }
    }

    #[test]
    fn the_target_of_unregistered_labels_is_checked_as_an_alias_is() {
        let mut config = config();
        config.aliases.insert("ops".to_owned(), "5".to_owned());
        for (to, count) in [("@ops", 0), ("@opps", 1), ("webhook:x", 1), ("5", 0)] {
            config.deliver_to = Some(to.to_owned());
            assert_eq!(troubles(&config).len(), count, "{to}");
        }
    }

    #[test]
    fn an_address_is_one_of_the_web() {
        for url in ["http://127.0.0.1:1/x", "https://example.org"] {
            assert_eq!(no_address(url), None, "{url}");
        }
        for url in [
            "",
            "example.org/hook",
            "ftp://example.org",
            "https://",
            "a b",
        ] {
            assert!(no_address(url).is_some(), "{url}");
        }
    }
}
