//! Names for targets: `@name` stands for what the configuration has under `aliases`.

use std::collections::BTreeMap;

use thiserror::Error;

/// Why a name leads to nobody.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoAlias {
    /// It is not among the aliases.
    #[error("has no such name")]
    Unknown,
    /// Aliases stand for each other.
    #[error("leads in a circle: {0}")]
    Circle(String),
}

/// What a target stands for: another one, or itself where it is no `@name`. An alias may stand for another; a last name
/// that is none is that of a chat (`@channelname`).
///
/// # Errors
/// A name that is no alias; aliases that stand for each other, or one for itself.
pub fn resolve<'a>(
    aliases: &'a BTreeMap<String, String>,
    target: &'a str,
) -> Result<&'a str, NoAlias> {
    let mut passed: Vec<&str> = Vec::new();
    let mut to = target;
    while let Some(name) = to.strip_prefix('@') {
        let Some(next) = aliases.get(name).or_else(|| aliases.get(to)) else {
            return match passed.is_empty() {
                true => Err(NoAlias::Unknown),
                false => Ok(to),
            };
        };
        passed.push(to);
        if passed.contains(&next.as_str()) {
            return Err(NoAlias::Circle(format!(
                "{} -> {next}",
                passed.join(" -> ")
            )));
        }
        to = next;
    }
    Ok(to)
}

/// Channel and target that a setting means: an alias may name its channel, and receivers of the configuration are channels
/// of their own; everything else is on `channel`.
///
/// # Errors
/// As [`resolve`].
pub fn address(
    aliases: &BTreeMap<String, String>,
    target: &str,
    channel: &str,
) -> Result<(String, String), NoAlias> {
    let resolved = resolve(aliases, target)?;
    let is_alias = target.starts_with('@');
    // Any other colon belongs to a chat's target.
    let names_channel = |word: &str| match is_alias {
        true => !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic()),
        false => names_a_receiver(resolved),
    };
    let (channel, to) = match resolved.split_once(':') {
        Some((word, to)) if names_channel(word) => (word, to),
        _ => (channel, resolved),
    };
    Ok((channel.to_owned(), to.to_owned()))
}

/// `webhook:<name>` and `command:<name>` are receivers of the configuration.
pub fn names_a_receiver(target: &str) -> bool {
    target.starts_with("webhook:") || target.starts_with("command:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_targets_and_circles_to_an_error() {
        let pairs = [
            ("ops", "telegram:-100"),
            ("boss", "@ops"),
            ("news", "@newsroom"),
            ("own", "@own"),
            ("a", "@b"),
            ("b", "@c"),
            ("c", "@b"),
            ("@at", "7"),
        ];
        let aliases = pairs.map(|(name, to)| (name.to_owned(), to.to_owned()));
        let aliases = BTreeMap::from(aliases);
        let circle = |path: &str| Err(NoAlias::Circle(path.to_owned()));
        for (target, expected) in [
            ("5", Ok("5")),
            ("@ops", Ok("telegram:-100")),
            ("@boss", Ok("telegram:-100")),
            ("@news", Ok("@newsroom")),
            ("@own", circle("@own -> @own")),
            ("@at", Ok("7")),
            ("@opps", Err(NoAlias::Unknown)),
            ("@a", circle("@a -> @b -> @c -> @b")),
            ("@b", circle("@b -> @c -> @b")),
        ] {
            assert_eq!(resolve(&aliases, target), expected, "{target}");
        }
    }

    #[test]
    fn an_alias_may_name_its_channel_and_a_chat_may_have_colons() {
        let pairs = [
            ("ops", "slack:C1"),
            ("topic", "-100:topic:5"),
            ("room", "telegram:@room"),
            ("team", "webhook:t"),
        ];
        let aliases = pairs.map(|(name, to)| (name.to_owned(), to.to_owned()));
        let aliases = BTreeMap::from(aliases);
        for (target, channel, to) in [
            ("@ops", "slack", "C1"),
            ("@topic", "telegram", "-100:topic:5"),
            ("@team", "webhook", "t"),
            ("@room", "telegram", "@room"),
            ("-100", "telegram", "-100"),
            ("user:U1", "telegram", "user:U1"),
            ("command:mail", "command", "mail"),
        ] {
            let expected = Ok((channel.to_owned(), to.to_owned()));
            assert_eq!(address(&aliases, target, "telegram"), expected, "{target}");
        }
    }
}
