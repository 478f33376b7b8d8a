//! Telling a receiver: each takes some events, oldest first, and says how many it took and what went wrong.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use ureq::Agent;

use super::event::Event;
use super::loki;
use crate::config::Webhook;
use crate::process::{status_within, stdin_of};
use crate::signature::{SIGNATURE_HEADER, signature};

/// A receiver that takes longer is left.
const TIME_OUT: Duration = Duration::from_secs(3);

/// A webhook that failed so often in a row is left alone with the rest.
const FAILURES_IN_A_ROW: usize = 3;

/// Why events were not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unheard {
    /// How many.
    pub count: usize,
    /// What went wrong last, without any address: it may hold a secret.
    pub why: String,
}

/// One push with all of them.
pub(super) fn push_to_loki(address: &str, events: &[Event]) -> Result<(), Unheard> {
    let body = loki::push_body(events).to_string();
    post(&loki::push_url(address), &[], &body).map_err(|why| Unheard {
        count: events.len(),
        why,
    })
}

/// One signed POST for each.
pub(super) fn post_to_webhook(hook: &Webhook, events: &[Event]) -> Result<(), Unheard> {
    let mut unheard: Option<Unheard> = None;
    let mut in_a_row = 0;
    for (told, event) in events.iter().enumerate() {
        let body = event.line();
        let mut headers = vec![("X-Dispatch-Event", event.event.name().to_owned())];
        if let Some(secret) = &hook.secret {
            headers.push((SIGNATURE_HEADER, signature(secret, body.as_bytes())));
        }
        let Err(why) = post(&hook.url, &headers, &body) else {
            in_a_row = 0;
            continue;
        };
        in_a_row += 1;
        let is_last = in_a_row == FAILURES_IN_A_ROW;
        let lost = if is_last { events.len() - told } else { 1 };
        let before = unheard.map_or(0, |unheard| unheard.count);
        unheard = Some(Unheard {
            count: before + lost,
            why,
        });
        if is_last {
            break;
        }
    }
    unheard.map_or(Ok(()), Err)
}

/// One process that gets a line of JSON for each on its stdin.
pub(super) fn run_command(argv: &[String], events: &[Event]) -> Result<(), Unheard> {
    let all = |why: String| Unheard {
        count: events.len(),
        why,
    };
    match attempt(argv, events) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(all(why)),
        Err(e) => Err(all(format!("the command cannot be run: {e}"))),
    }
}

fn attempt(argv: &[String], events: &[Event]) -> io::Result<Result<(), String>> {
    let Some((program, arguments)) = argv.split_first() else {
        return Ok(Err("the command is empty".to_owned()));
    };
    let input = stdin_of(|input| {
        events
            .iter()
            .try_for_each(|event| writeln!(input, "{}", event.line()))
    })?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(match status_within(&mut command, TIME_OUT)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("the command ended with {status}")),
        None => Err(format!(
            "the command took longer than {} s and was ended",
            TIME_OUT.as_secs()
        )),
    })
}

fn post(url: &str, headers: &[(&str, String)], body: &str) -> Result<(), String> {
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(TIME_OUT))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build()
        .into();
    let mut request = agent
        .post(url)
        .header("Content-Type", "application/json")
        .header(
            "User-Agent",
            concat!("dispatch/", env!("CARGO_PKG_VERSION")),
        );
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    match request.send(body) {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(format!("it answered {}", response.status().as_u16())),
        // This one repeats the address.
        Err(ureq::Error::BadUri(_)) => Err("its address is not usable".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}
