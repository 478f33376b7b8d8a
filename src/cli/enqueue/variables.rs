//! What the environment of a command is made of, beside what every run is given.

use anyhow::Result;

use super::plan::thinking_text;
use crate::backend::local::ATTEMPT_VARIABLE;
use crate::cli::args::EnqueueArgs;
use crate::cli::exit::usage;

/// Variables that every run is given, whatever the call says.
const OWN_VARIABLES: [&str; 9] = [
    "DISPATCH_HOME",
    "DISPATCH_LABELS_PATH",
    "DISPATCH_LABEL",
    "DISPATCH_SESSION_KEY",
    "DISPATCH_GENERATION",
    "DISPATCH_RUN_ID",
    "DISPATCH_MESSAGE",
    "DISPATCH_MESSAGE_FILE",
    ATTEMPT_VARIABLE,
];

/// Every run is given the variable of this name, or its thinking level's.
pub fn is_own(name: &str) -> bool {
    OWN_VARIABLES.contains(&name) || name == "DISPATCH_THINKING"
}

/// The variables that the call gives its command.
///
/// # Errors
/// A usage error for what is no variable, and for one that the run's own would hide.
pub fn variables(args: &EnqueueArgs) -> Result<Vec<(String, String)>> {
    let by_flag = [
        ("DISPATCH_MODEL", "--model", args.model.is_some()),
        (
            "DISPATCH_AUTH_PROFILE",
            "--auth-profile",
            args.auth_profile.is_some(),
        ),
        ("DISPATCH_THINKING", "--thinking", args.thinking.is_some()),
    ];
    let mut variables = args
        .env
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if OWN_VARIABLES.contains(&name) => Err(usage(format!(
                "--env: {name} is set by dispatch itself, for each run; leave it out, or use another name"
            ))),
            Some((name, _))
                if let Some((_, flag, _)) = by_flag.iter().find(|(own, _, set)| *own == name && *set) =>
            {
                Err(usage(format!(
                    "--env: {name} is set by {flag}; give one of the two"
                )))
            }
            Some((name, value)) if !name.is_empty() && !value.contains('\0') => {
                Ok((name.to_owned(), value.to_owned()))
            }
            _ => Err(usage(format!(
                "--env: \"{pair}\" is not NAME=VALUE, for example LANG=C"
            ))),
        })
        .collect::<Result<Vec<_>>>()?;
    if let Some(thinking) = args.thinking {
        let level = thinking_text(thinking).to_owned();
        variables.push(("DISPATCH_THINKING".to_owned(), level));
    }
    Ok(variables)
}
