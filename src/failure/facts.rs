//! Typed facts about a failure, wherever a gateway, a provider or a transcript puts them.

use serde_json::{Map, Value};

use super::{Certainty, retry_after};
use crate::record::FailureKind;

/// How deep objects inside error objects are followed.
const MAX_DEPTH: usize = 4;

/// What is told about a failure in fields of their own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The gateway's own classification: `overloaded`, `rate_limit`, `format`, ...
    pub failover_reason: Option<String>,
    /// The provider's error code: `insufficient_quota`, `context_length_exceeded`, ...
    pub error_code: Option<String>,
    /// The provider's error type: `overloaded_error`, `invalid_request_error`, ...
    pub error_type: Option<String>,
    /// The HTTP status.
    pub http_status: Option<u16>,
    /// The gateway's second, coarser classification (`timeout` for an HTTP 529, say).
    pub runtime_failure: Option<String>,
    /// The model's provider.
    pub provider: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// How long the provider asked to wait, in ms.
    pub retry_after_ms: Option<u64>,
}

impl Facts {
    /// Reads the facts of an error object: a message of a transcript, an `errorObservation` of an event, a provider's body.
    /// The outermost word on each counts.
    pub fn from_value(value: &Value) -> Self {
        let mut facts = Self::default();
        facts.gather(value, 0);
        facts
    }

    /// Nothing is told.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These facts, and from `other` what is not told here.
    #[must_use = "the facts are not changed in place"]
    pub fn or(self, other: Self) -> Self {
        Self {
            failover_reason: self.failover_reason.or(other.failover_reason),
            error_code: self.error_code.or(other.error_code),
            error_type: self.error_type.or(other.error_type),
            http_status: self.http_status.or(other.http_status),
            runtime_failure: self.runtime_failure.or(other.runtime_failure),
            provider: self.provider.or(other.provider),
            model: self.model.or(other.model),
            retry_after_ms: self.retry_after_ms.or(other.retry_after_ms),
        }
    }

    /// As [`Facts::from_value`], of an object's fields.
    pub fn from_fields(fields: &Map<String, Value>) -> Self {
        let mut facts = Self::default();
        facts.gather_fields(fields, 0);
        facts
    }

    fn gather(&mut self, value: &Value, depth: usize) {
        if let Value::Object(fields) = value {
            self.gather_fields(fields, depth);
        }
    }

    fn gather_fields(&mut self, fields: &Map<String, Value>, depth: usize) {
        let here = Self {
            failover_reason: text(fields, &["failoverReason", "failover_reason"]),
            error_code: text(fields, &["errorCode", "error_code", "code"]),
            error_type: text(fields, &["errorType", "providerErrorType", "type"])
                .filter(|name| !matches!(name.as_str(), "error" | "message" | "result")),
            http_status: status(fields),
            runtime_failure: text(fields, &["providerRuntimeFailureKind"]),
            provider: text(fields, &["provider"]),
            model: text(fields, &["model"]),
            retry_after_ms: retry_after::of_fields(fields),
        };
        *self = std::mem::take(self).or(here);
        if depth == MAX_DEPTH {
            return;
        }
        for name in ["errorObservation", "errorDetail", "error"] {
            if let Some(inner) = fields.get(name) {
                self.gather(inner, depth + 1);
            }
        }
        let body = fields.get("errorBody").and_then(Value::as_str);
        if let Some(body) = body.and_then(|body| crate::record::json::parse_value(body).ok()) {
            self.gather(&body, depth + 1);
        }
        for detail in fields
            .get("details")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .take(16)
        {
            let wait = detail.as_object().and_then(retry_after::of_fields);
            self.retry_after_ms = self.retry_after_ms.or(wait);
        }
    }

    /// They tell of a provider that did not answer in time; a gateway's own words for a time-out do not.
    pub(super) fn tell_of_silence(&self) -> bool {
        let mut names = [&self.error_code, &self.error_type].into_iter().flatten();
        matches!(self.http_status, Some(408 | 504))
            || names.any(|name| matches!(name.as_str(), "timeout_error" | "deadline_exceeded"))
    }

    /// What they come to.
    pub(super) fn verdict(&self) -> Option<(FailureKind, Certainty)> {
        let says = |kind| (kind, Certainty::Says);
        if let Some(kind) = self.failover_reason.as_deref().and_then(of_failover_reason) {
            return Some(says(kind));
        }
        let names = [&self.error_code, &self.error_type];
        let named: Vec<_> = names
            .into_iter()
            .flatten()
            .filter_map(|name| of_name(name))
            .chain(self.http_status.and_then(of_status))
            .chain(self.runtime_failure.as_deref().and_then(of_runtime_failure))
            .collect();
        let certain = named.iter().find(|(_, how)| *how == Certainty::Says);
        let telling = named.iter().find(|(kind, _)| *kind != FailureKind::Model);
        certain.or(telling).or(named.first()).copied()
    }
}

/// The first of these fields that holds a text.
fn text(fields: &Map<String, Value>, names: &[&str]) -> Option<String> {
    let mut texts = names.iter().filter_map(|name| fields.get(*name)?.as_str());
    texts.find(|text| !text.is_empty()).map(str::to_owned)
}

/// The first of these fields that holds an HTTP status. An agent's command line tells its last one beside an answer too.
fn status(fields: &Map<String, Value>) -> Option<u16> {
    let names = ["httpStatus", "statusCode", "status_code", "status", "code"];
    let is_error = fields.get("is_error") == Some(&Value::Bool(true));
    let of_agent = is_error.then_some("api_error_status");
    let numbers = names.into_iter().chain(of_agent).filter_map(|name| {
        let value = fields.get(name)?;
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
        u16::try_from(number).ok()
    });
    numbers
        .into_iter()
        .find(|number| (400..=599).contains(number))
}

/// A gateway's failover reasons; those that say that nothing is known say nothing.
pub(super) fn of_failover_reason(reason: &str) -> Option<FailureKind> {
    Some(match reason {
        "overloaded" => FailureKind::Overload,
        "rate_limit" => FailureKind::RateLimit,
        "auth" | "auth_permanent" => FailureKind::Auth,
        "billing" => FailureKind::Billing,
        "context_overflow" => FailureKind::ContextLength,
        "timeout" => FailureKind::Timeout,
        "format" | "server_error" | "model_not_found" | "session_expired" | "empty_response"
        | "tls_certificate" => FailureKind::Model,
        _ => return None,
    })
}

/// What an HTTP status of a provider means.
pub(super) fn of_status(status: u16) -> Option<(FailureKind, Certainty)> {
    use Certainty::{Says, Suggests};
    Some(match status {
        529 => (FailureKind::Overload, Says),
        // A quota that is used up is told so too.
        429 => (FailureKind::RateLimit, Suggests),
        401 | 403 => (FailureKind::Auth, Says),
        402 => (FailureKind::Billing, Says),
        413 => (FailureKind::ContextLength, Suggests),
        408 | 504 => (FailureKind::Timeout, Suggests),
        400..=599 => (FailureKind::Model, Suggests),
        _ => return None,
    })
}

/// What a provider's error type or code means, in any of their spellings.
pub(super) fn of_name(name: &str) -> Option<(FailureKind, Certainty)> {
    use Certainty::{Says, Suggests};
    Some(match name.to_ascii_lowercase().as_str() {
        "overloaded_error"
        | "overloaded"
        | "engine_overloaded"
        | "engine_overloaded_error"
        | "server_overloaded"
        | "server_is_overloaded" => (FailureKind::Overload, Says),
        "rate_limit_error"
        | "rate_limit_exceeded"
        | "rate_limited"
        | "rate_limit"
        | "too_many_requests"
        | "throttlingexception"
        | "usage_limit_reached" => (FailureKind::RateLimit, Says),
        "resource_exhausted" => (FailureKind::RateLimit, Suggests),
        "authentication_error"
        | "permission_error"
        | "invalid_api_key"
        | "unauthorized"
        | "invalid_authentication"
        | "unauthenticated"
        | "permission_denied"
        | "account_deactivated"
        | "token_expired" => (FailureKind::Auth, Says),
        "billing_error"
        | "insufficient_quota"
        | "billing_hard_limit_reached"
        | "payment_required"
        | "insufficient_credits"
        | "billing_not_active" => (FailureKind::Billing, Says),
        "context_length_exceeded"
        | "request_too_large"
        | "context_overflow"
        | "context_window_exceeded" => (FailureKind::ContextLength, Says),
        "timeout_error" | "timeout" | "deadline_exceeded" | "etimedout" => {
            (FailureKind::Timeout, Says)
        }
        "model_not_found" => (FailureKind::Model, Says),
        "invalid_request_error"
        | "api_error"
        | "server_error"
        | "not_found_error"
        | "internal_server_error"
        | "internal" => (FailureKind::Model, Suggests),
        _ => return None,
    })
}

/// The gateway's coarse classification: it calls an overload a time-out, so it only suggests.
fn of_runtime_failure(kind: &str) -> Option<(FailureKind, Certainty)> {
    let kind = match kind {
        "auth_scope"
        | "auth_refresh"
        | "auth_html_403"
        | "refresh_timeout"
        | "refresh_contention"
        | "callback_timeout"
        | "callback_validation" => FailureKind::Auth,
        "rate_limit" => FailureKind::RateLimit,
        "timeout" => FailureKind::Timeout,
        "schema" | "upstream_html" | "proxy" | "dns" | "replay_invalid" | "empty_response"
        | "sandbox_blocked" => FailureKind::Model,
        _ => return None,
    };
    Some((kind, Certainty::Suggests))
}
