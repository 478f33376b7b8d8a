//! The operator's own times, as `config.json` gives them.

use serde::Deserialize;

/// Windows of the liveness policy that the operator sets, in seconds (`liveness` in `config.json`); what is absent follows
/// from the run's time limit and thinking level.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LivenessWindows {
    /// A run that was not seen for so long never started.
    pub startup_grace_seconds: Option<f64>,
    /// How often a silent run is asked about anew; at least 1.
    pub probe_seconds: Option<f64>,
    /// A run without progress for so long has stalled.
    pub idle_failure_seconds: Option<f64>,
    /// Past this age `ceilingSilenceSeconds` is enough.
    pub ceiling_seconds: Option<f64>,
    /// How long a run past its ceiling may be without progress.
    pub ceiling_silence_seconds: Option<f64>,
    /// The age past which the deadline is never moved.
    pub longest_seconds: Option<f64>,
    /// Without growth for so long, a run is flat.
    pub flat_seconds: Option<f64>,
    /// What activity gains at the deadline; at least 1.
    pub extension_seconds: Option<f64>,
    /// How long the first request for a final reply may stay without one.
    pub first_request_seconds: Option<f64>,
    /// The same of the second.
    pub second_request_seconds: Option<f64>,
    /// A run that answers the last request is stopped once it was silent for so long.
    pub last_words_seconds: Option<f64>,
    /// How long a run may take to end once it was told to.
    pub abort_seconds: Option<f64>,
}

/// Automatic retries as the operator wants them (`retry` in `config.json`); what is absent is as built in.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryWindows {
    /// How often overloads and rate limits together are tried again.
    pub at_most: Option<u32>,
    /// The pause before the first retry of an overload; it doubles with each further one.
    pub overload_seconds: Option<f64>,
    /// The same of a rate limit.
    pub rate_limit_seconds: Option<f64>,
    /// The same of a restarted gateway.
    pub restart_seconds: Option<f64>,
    /// The same of a session that somebody else wrote to.
    pub takeover_seconds: Option<f64>,
    /// The least time between two retries at one provider.
    pub spacing_seconds: Option<f64>,
    /// How long a provider is left alone after three retries in a row have failed.
    pub cool_down_seconds: Option<f64>,
    /// A failure that has waited longer than this for its turn is final.
    pub max_age_seconds: Option<f64>,
}
