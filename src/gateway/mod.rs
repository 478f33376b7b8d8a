//! What is known of an OpenClaw gateway without asking it: whether one is configured, and where.

use std::path::PathBuf;

use crate::paths::{Environment, Paths};

/// How a gateway was found to be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Configured {
    /// `OPENCLAW_GATEWAY_URL` is set.
    ByUrl,
    /// OpenClaw's configuration file exists.
    ByFile(PathBuf),
}

/// Whether a gateway is configured; nothing is contacted.
pub fn configured(paths: &Paths, env: Environment<'_>) -> Option<Configured> {
    if env("OPENCLAW_GATEWAY_URL").is_some_and(|url| !url.is_empty()) {
        return Some(Configured::ByUrl);
    }
    let file = &paths.openclaw_config;
    file.is_file().then(|| Configured::ByFile(file.clone()))
}
