//! Whom the result of a new session goes to.

use std::time::Duration;

use anyhow::Result;

use crate::backend::openclaw::recent_sessions;
use crate::cli::args::EnqueueArgs;
use crate::cli::exit::usage;
use crate::config::aliases::{NoAlias, address, names_a_receiver, resolve};
use crate::gateway::{Client, Connecting};
use crate::home::Home;
use crate::ledger::Ledger;
use crate::session::active;

/// A main session that was at work within this time is taken for where the request came from.
const ACTIVE_WITHIN: Duration = Duration::from_secs(600);

/// Whom the result goes to.
pub struct Target {
    pub channel: String,
    pub to: String,
}

/// Target and origin imply each other where one says enough.
///
/// # Errors
/// A target that nobody could deliver to.
pub fn given(home: &Home, args: &EnqueueArgs) -> Result<(Option<Target>, Option<String>)> {
    let channel = channel(home, args);
    let from_origin = args.origin.as_deref().and_then(|origin| {
        let (channel, to) = origin.split_once(':')?;
        (channel == "telegram" && !to.is_empty()).then(|| Target {
            channel: channel.to_owned(),
            to: to.to_owned(),
        })
    });
    let target = match args.deliver_to.as_deref() {
        Some("") => {
            return Err(usage(
                "--deliver-to: the target is empty; give a chat id, or leave the flag out",
            ));
        }
        Some(to) if args.deliver_channel.is_none() && names_a_receiver(to) => Some(receiver(to)),
        Some(to) if to.starts_with('@') => Some(named(home, args, to, channel)?),
        Some(to) => Some(Target {
            channel,
            to: to.to_owned(),
        }),
        None => from_origin,
    };
    if let Some(target) = &target {
        check_receiver(home, "--deliver-to", target)?;
    }
    let origin = args.origin.clone().or_else(|| origin_of(target.as_ref()));
    Ok((target, origin))
}

/// A chat may have a name of its own (`@channelname`): one that is no alias is taken for that where the call says on which
/// channel.
fn named(home: &Home, args: &EnqueueArgs, to: &str, channel: String) -> Result<Target> {
    let is_unknown = resolve(&home.config.aliases, to) == Err(NoAlias::Unknown);
    if is_unknown && args.deliver_channel.is_some() {
        home.say(&format!(
            "{to} is no alias of the configuration: it is taken for the name of a chat on {channel}"
        ));
        let to = to.to_owned();
        return Ok(Target { channel, to });
    }
    resolve_alias(home, "--deliver-to", to, channel)
}

fn channel(home: &Home, args: &EnqueueArgs) -> String {
    let given = args.deliver_channel.clone();
    given.unwrap_or_else(|| home.config.delivery_channel.clone())
}

fn origin_of(target: Option<&Target>) -> Option<String> {
    target.map(|target| format!("{}:{}", target.channel, target.to))
}

/// The configuration's target of a command whose call names none. `--no-monitor` waives it.
///
/// # Errors
/// A usage error where it leads to nobody.
pub fn usual(
    home: &Home,
    args: &EnqueueArgs,
    origin: Option<String>,
) -> Result<(Option<Target>, Option<String>)> {
    if args.no_monitor.is_some() || is_answered(home, args)? {
        return Ok((None, origin));
    }
    let target = configured(home, channel(home, args))?;
    if let Some(target) = &target {
        check_receiver(home, "\"deliverTo\"", target)?;
    }
    let origin = origin.or_else(|| origin_of(target.as_ref()));
    Ok((target, origin))
}

/// The target of a gateway's run whose call names none: the configuration's, else the chat of a main session that has just
/// been at work, which is said on stderr. With `--no-monitor` none is looked for.
///
/// # Errors
/// A usage error when there is none; a gateway that does not answer.
pub fn found(
    home: &Home,
    args: &EnqueueArgs,
    gateway: &mut Connecting,
    origin: Option<String>,
) -> Result<(Option<Target>, Option<String>)> {
    if args.no_monitor.is_some() || is_answered(home, args)? {
        return Ok((None, origin));
    }
    let target = match configured(home, channel(home, args))? {
        Some(target) => Some(target),
        // An origin on another channel says that the request came from elsewhere, and a session that asked is told itself.
        None if args.origin.is_some() || args.requester.is_some() => None,
        None => active_chat(home, gateway.client()?)?,
    };
    let Some(target) = target else {
        // The session that asked is woken, and is somebody.
        if args.requester.is_some() {
            return Ok((None, origin));
        }
        return Err(usage(format!(
            "nobody would be told of the result: give --deliver-to TARGET (a chat's id, @ALIAS, webhook:NAME or command:NAME), --origin telegram:ID, or \"deliverTo\" in {}; or --no-monitor, and read it with 'dispatch result'",
            home.paths.config.display()
        )));
    };
    check_receiver(home, "\"deliverTo\"", &target)?;
    let origin = origin.or_else(|| origin_of(Some(&target)));
    Ok((Some(target), origin))
}

/// The configuration's own target; a chat is on `channel` unless an alias names another.
///
/// # Errors
/// An alias that is not configured.
pub fn configured(home: &Home, channel: String) -> Result<Option<Target>> {
    match home.config.deliver_to.as_deref() {
        Some(to) => resolve_alias(home, "\"deliverTo\"", to, channel).map(Some),
        None => Ok(None),
    }
}

/// The call was made before under its key: it is answered again, whoever is at work meanwhile.
pub fn is_answered(home: &Home, args: &EnqueueArgs) -> Result<bool> {
    let Some(key) = args.idempotency_key.as_deref() else {
        return Ok(false);
    };
    let entry = Ledger::new(home).entry(&args.label)?;
    Ok(entry.is_some_and(|entry| entry.text("idempotencyKey") == Some(key)))
}

fn active_chat(home: &Home, client: &mut Client) -> Result<Option<Target>> {
    let rows = recent_sessions(client, ACTIVE_WITHIN)?;
    let rows = rows.iter().map(|(key, row)| (key.as_str(), row));
    let Some(chat) = active::chat(rows, home.now_ms(), ACTIVE_WITHIN) else {
        return Ok(None);
    };
    home.say(&format!(
        "no --deliver-to: the result goes to {} {}, where {} was at work {} s ago",
        chat.channel,
        chat.to,
        chat.session_key,
        chat.idle.as_secs()
    ));
    Ok(Some(Target {
        channel: chat.channel,
        to: chat.to,
    }))
}

fn receiver(to: &str) -> Target {
    let (channel, name) = to.split_once(':').unwrap_or((to, ""));
    Target {
        channel: channel.to_owned(),
        to: name.to_owned(),
    }
}

/// A receiver that nobody configured would be told of only when the work is done.
/// `place` names it.
fn check_receiver(home: &Home, place: &str, target: &Target) -> Result<()> {
    let (section, known): (_, Vec<&str>) = match target.channel.as_str() {
        "webhook" => (
            "webhooks",
            home.config.webhooks.keys().map(String::as_str).collect(),
        ),
        "command" => (
            "commands",
            home.config.commands.keys().map(String::as_str).collect(),
        ),
        _ => return Ok(()),
    };
    if known.contains(&target.to.as_str()) {
        return Ok(());
    }
    let hint = match crate::nearest::nearest(&target.to, known).first() {
        Some(near) => format!("did you mean {near}?"),
        None => "add it".to_owned(),
    };
    Err(usage(format!(
        "{place}: the configuration {} names no \"{}\" under \"{section}\"; {hint}",
        home.paths.config.display(),
        target.to
    )))
}

/// `@name` is an alias of the configuration: a target, or `<channel>:<target>`. `place` says where it was named.
fn resolve_alias(home: &Home, place: &str, to: &str, channel: String) -> Result<Target> {
    let aliases = &home.config.aliases;
    let path = home.paths.config.display();
    let (channel, to) = address(aliases, to, &channel).map_err(|e| match e {
        NoAlias::Unknown => {
            let name = to.trim_start_matches('@');
            let known: Vec<&str> = aliases.keys().map(String::as_str).collect();
            let hint = match crate::nearest::nearest(name, known).first() {
                Some(near) => format!("did you mean @{near}?"),
                None => "add it under \"aliases\"".to_owned(),
            };
            usage(format!(
                "{place}: the configuration {path} has no alias {to}; {hint}"
            ))
        }
        circle => usage(format!(
            "{place}: {to} of the configuration {path} {circle}"
        )),
    })?;
    Ok(Target { channel, to })
}
