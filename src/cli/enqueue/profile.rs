//! Which credentials a new session uses.

use std::time::Duration;

use anyhow::Result;

use crate::cli::args::EnqueueArgs;
use crate::cli::exit::usage;
use crate::gateway::{Connecting, Generation};
use crate::home::Home;
use crate::session::active;
use crate::session::store::read_rows;

/// A main session that was at work within this time lends its profile.
const ACTIVE_WITHIN: Duration = Duration::from_secs(120 * 60);

/// The profile that the call asks for; `inherit` is the one of the main session that was at work last.
///
/// # Errors
/// A gateway that takes none; nothing is written.
pub fn auth_profile(
    home: &Home,
    args: &EnqueueArgs,
    mut gateway: Option<&mut Connecting>,
) -> Result<Option<String>> {
    let given = [
        ("--auth-profile", &args.auth_profile),
        ("--fallback-auth-profile", &args.fallback_auth_profile),
    ];
    for (flag, profile) in given {
        let Some(profile) = profile else { continue };
        let is_name = |c: char| c.is_ascii_graphic() && c != '@';
        if profile.is_empty() || !profile.chars().all(is_name) {
            return Err(usage(format!(
                "{flag}: \"{profile}\" is no profile's name; give one such as anthropic:work"
            )));
        }
        if let Some(gateway) = gateway.as_deref_mut()
            && gateway.client()?.generation() == Generation::Files
        {
            return Err(usage(format!(
                "{flag}: this gateway keeps its sessions in files and takes no profile for one; set it in the agent's own configuration, or upgrade the gateway to 2026.8 or later"
            )));
        }
    }
    Ok(match args.auth_profile.as_deref() {
        Some("inherit") => Some(inherited(home, args)),
        given => given.map(str::to_owned),
    })
}

fn inherited(home: &Home, args: &EnqueueArgs) -> String {
    let store = home
        .paths
        .openclaw_state
        .join("agents")
        .join(&args.agent)
        .join("sessions/sessions.json");
    let rows = read_rows(&store).unwrap_or_default();
    let rows = rows.iter().map(|(key, row)| (key.as_str(), row));
    active::auth_profile(rows, home.now_ms(), ACTIVE_WITHIN).unwrap_or_else(|| {
        home.say(&format!(
            "--auth-profile inherit: no main session of agent {} that was at work in the last two hours names a profile; passing it on as it is",
            args.agent
        ));
        "inherit".to_owned()
    })
}
