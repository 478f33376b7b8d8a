//! Whether the session that asks for the work can be woken at all.
//!
//! A gateway takes a wake for any key and says that it went well: a slip in the key would be found out by nobody, so it is
//! looked for before anything is started.

use std::time::Duration;

use anyhow::Result;

use crate::backend::openclaw::{agent_ids, find_session, list_sessions};
use crate::cli::args::EnqueueArgs;
use crate::cli::exit::usage;
use crate::gateway::{Client, Connecting, GatewayError, configured, endpoint};
use crate::home::Home;
use crate::nearest::nearest;
use crate::session::key::{SessionKey, same_key};

/// A local command does not wait long for a gateway that it needs only at its end.
const LOCAL_PATIENCE: Duration = Duration::from_secs(3);

/// Checks `--requester`, where it is given; `gateway` is the one that the work goes to.
///
/// # Errors
/// A usage error for a key that nothing listens to, naming the nearest keys that exist; a gateway that does not answer.
pub fn check(home: &Home, args: &EnqueueArgs, gateway: Option<&mut Connecting>) -> Result<()> {
    let Some(requester) = args.requester.as_deref() else {
        return Ok(());
    };
    match gateway {
        Some(gateway) => Ok(known(gateway.client()?, requester)??),
        None => check_for_command(home, requester),
    }
}

/// The work is a command of this machine: whoever asked for it is still a session of the gateway.
fn check_for_command(home: &Home, requester: &str) -> Result<()> {
    if configured(&home.paths, &home.environment).is_none() {
        return Err(usage(format!(
            "--requester {requester}: sessions are woken by an OpenClaw gateway, and none is configured; set OPENCLAW_GATEWAY_URL, or leave the flag out"
        )));
    }
    let asked = endpoint(home)
        .and_then(|gateway| Client::connect(&gateway, LOCAL_PATIENCE))
        .and_then(|mut client| known(&mut client, requester));
    match asked {
        Ok(known) => Ok(known?),
        Err(e) => {
            home.say(&format!(
                "--requester {requester} is not checked, and the command starts all the same: {e}"
            ));
            Ok(())
        }
    }
}

/// Whether the gateway has the session, or will have it: an agent's main session need not have spoken yet, and what is for
/// a cron run goes there. The inner error is the refusal.
fn known(client: &mut Client, requester: &str) -> Result<Result<()>, GatewayError> {
    let routing = client.routing();
    if routing.is_global_queue(requester) {
        return Ok(Ok(()));
    }
    let agents = agent_ids(client)?;
    let key = SessionKey::parse(requester).ok();
    let is_of = |id: &String| key.as_ref().is_some_and(|key| same_key(key.agent_id(), id));
    let why = match &key {
        None => "is no session key; expected agent:<agentId>:<rest>".to_owned(),
        Some(key) if !agents.iter().any(is_of) => {
            format!(
                "names the agent \"{}\", which the gateway does not have",
                key.agent_id()
            )
        }
        Some(key) if routing.leads_to_main(key) => return Ok(Ok(())),
        Some(_) if find_session(client, requester)?.is_some() => return Ok(Ok(())),
        Some(_) => "is no session of the gateway".to_owned(),
    };
    let (sessions, _) = list_sessions(client)?;
    let mut keys: Vec<String> = agents
        .iter()
        .map(|id| routing.main_session_of(id))
        .collect();
    keys.extend(sessions.into_iter().map(|session| session.key));
    let near = near(requester, &keys);
    let hint = match near.is_empty() {
        true => "give the key of a session that exists".to_owned(),
        false => format!("did you mean {}?", near.join(", or ")),
    };
    Ok(Err(usage(format!("--requester {requester} {why}; {hint}"))))
}

/// The keys that may have been meant: a slip away, or ending in what was given (`main`).
fn near(wanted: &str, keys: &[String]) -> Vec<String> {
    let mut near = nearest(wanted, keys.iter().map(String::as_str));
    let rest = |key: &str| {
        SessionKey::parse(key)
            .ok()
            .map(|key| key.rest().to_lowercase())
    };
    let last = wanted.rsplit(':').next().unwrap_or(wanted).to_lowercase();
    if near.is_empty() {
        near = keys
            .iter()
            .filter(|key| rest(key).as_deref() == Some(&last))
            .cloned()
            .collect();
        near.dedup();
        near.truncate(3);
    }
    near
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::a_slip("agent:main:mian", &["agent:main:main", "agent:ops:main"])]
    #[case::a_word_of_it("main", &["agent:main:main", "agent:ops:main"])]
    #[case::another_agents("agent:nobody:main", &["agent:ops:main", "agent:main:main"])]
    #[case::a_slip_in_a_number("agent:main:telegram:group:-1002", &["agent:main:telegram:group:-1001"])]
    #[case::a_stranger("elsewhere", &[])]
    fn keys_that_may_have_been_meant(#[case] wanted: &str, #[case] expected: &[&str]) {
        let keys = [
            "agent:main:main",
            "agent:ops:main",
            "agent:main:telegram:group:-1001",
        ];
        assert_eq!(near(wanted, &keys.map(str::to_owned)), expected);
    }
}
