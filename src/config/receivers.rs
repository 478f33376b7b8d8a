//! Who hears of events.

use serde::Deserialize;

use super::Webhook;

/// The receivers of events, each of them optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EventReceivers {
    /// Loki's address; `LOKI_PUSH_URL` decides where it is set.
    pub loki: Option<String>,
    /// A webhook that gets each event as a signed POST; `DISPATCH_WEBHOOK_URL` and `DISPATCH_WEBHOOK_SECRET` decide where they are set.
    pub webhook: Option<Webhook>,
    /// A program with its arguments, which gets each event as a line of JSON on its stdin.
    pub command: Option<Vec<String>>,
}

impl EventReceivers {
    /// Somebody hears of events.
    pub fn is_anybody(&self) -> bool {
        self.loki.is_some() || self.webhook.is_some() || self.command.is_some()
    }

    /// What the environment says comes before what the file says.
    pub(super) fn overridden(mut self, env: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        if let Some(url) = text("LOKI_PUSH_URL") {
            self.loki = Some(url);
        }
        if let Some(url) = text("DISPATCH_WEBHOOK_URL") {
            let secret = self.webhook.take().and_then(|hook| hook.secret);
            self.webhook = Some(Webhook { url, secret });
        }
        if let Some((hook, secret)) = self.webhook.as_mut().zip(text("DISPATCH_WEBHOOK_SECRET")) {
            hook.secret = Some(secret);
        }
        self
    }
}
