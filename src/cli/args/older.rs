//! Flags that scripts of openclaw-scheduler give, and what they mean here.

use clap::Args;

/// Older flags of `enqueue`.
#[derive(Debug, Default, Args)]
pub struct OlderFlags {
    /// false means --no-monitor
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", hide = true)]
    pub monitor: Option<String>,
    /// Anything but agentTurn needs no delivery target
    #[arg(long, value_name = "KIND", hide = true)]
    pub payload_kind: Option<String>,
}

impl OlderFlags {
    /// The reason for `--no-monitor` that the older flags stand for.
    pub fn no_monitor(&self) -> Option<String> {
        if self.monitor.as_deref() == Some("false") {
            return Some("--monitor false".to_owned());
        }
        let kind = self.payload_kind.as_deref()?;
        (kind != "agentTurn").then(|| format!("--payload-kind {kind}"))
    }

    /// What is said of flags that change nothing else.
    pub fn notes(&self) -> Vec<String> {
        let kind = self.payload_kind.iter().map(|kind| {
            format!("--payload-kind {kind}: a session gets the prompt whatever its kind; only the delivery target depends on it")
        });
        kind.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_flags_mean_what_they_meant() {
        let cases = [
            (None, None, None),
            (Some("false"), None, Some("--monitor false")),
            (Some("true"), None, None),
            (Some("0"), None, None),
            (None, Some("agentTurn"), None),
            (
                None,
                Some("systemEvent"),
                Some("--payload-kind systemEvent"),
            ),
        ];
        for (monitor, kind, expected) in cases {
            let flags = OlderFlags {
                monitor: monitor.map(str::to_owned),
                payload_kind: kind.map(str::to_owned),
            };
            assert_eq!(flags.no_monitor().as_deref(), expected, "{flags:?}");
        }
    }
}
