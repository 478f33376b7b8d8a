//! What the content of a call is, under which its idempotency key stands.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::plan::{delivery_mode_text, thinking_text};
use super::runtime::command_line;
use crate::cli::args::{EnqueueArgs, Mode};
use crate::paths::Environment;

/// What makes two calls under one key the same: everything that the call says of what is done and for whom. What runs it
/// where the call leaves that open, and how a registered runtime is called, is the operator's business.
///
/// # Errors
/// A usage error for a command that is not there.
pub fn content_hash(
    args: &EnqueueArgs,
    cwd: &Path,
    prompt: Option<&[u8]>,
    env: Environment<'_>,
) -> Result<String> {
    let argv = match args.command.is_empty() {
        true => Vec::new(),
        false => command_line(&args.command, cwd, env)?,
    };
    let content = json!([
        args.label,
        argv,
        cwd,
        args.env,
        args.agent,
        args.model,
        args.thinking.map(thinking_text),
        args.timeout.map(|t| t.as_secs()),
        args.mode == Mode::Reuse,
        args.session_key,
        args.origin,
        args.deliver_to,
        args.deliver_channel,
        args.verify_cmd,
        delivery_mode_text(args.delivery_mode),
        args.requester,
    ]);
    let selection = [
        &args.auth_profile,
        &args.fallback_model,
        &args.fallback_auth_profile,
    ];
    // A call that names none has the hash that it had before there were any.
    let more = selection.iter().any(|name| name.is_some());
    let content = match more {
        true => json!([content, selection]),
        false => content,
    };
    let watching = json!([
        args.idle_threshold.map(|t| t.as_secs()),
        args.no_monitor,
        args.monitor_interval,
        args.monitor_timeout.map(|t| t.as_secs()),
    ]);
    let is_watched_as_usual = watching
        .as_array()
        .is_none_or(|all| all.iter().all(Value::is_null));
    let content = match is_watched_as_usual {
        true => content,
        false => json!([content, watching]),
    };
    // Beside a command it can only say that the command is run.
    let runtime = args.runtime.as_ref().filter(|_| args.command.is_empty());
    let content = match runtime {
        Some(runtime) => json!([content, runtime]),
        None => content,
    };
    let mut hasher = Sha256::new();
    hasher.update(content.to_string());
    hasher.update([0]);
    hasher.update(prompt.unwrap_or_default());
    let hash = hasher.finalize();
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}
