//! Registered runtimes: the command lines of agents, each under an id (`runtimes` in `config.json`). Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The id that stands for "whichever registered runtime claims the model".
pub const AUTO: &str = "auto";

/// The id of the built-in runtime, which runs the command of the call.
pub const COMMAND: &str = "command";

/// What an argument of `modelArgs` has where the model's name goes.
const MODEL: &str = "{model}";

/// What to do about a `fallback` key.
const NO_FALLBACK: &str =
    "a runtime never falls back to another; take the key out, and name the runtime that you want";

/// An agent's command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Runtime {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The models that it claims: patterns in which `*` stands for any characters, letter case aside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// What is appended where a model is named, with its name in place of `{model}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub model_args: Vec<String>,
}

impl Runtime {
    /// One of its patterns fits the model's whole name.
    pub fn claims(&self, model: &str) -> bool {
        self.models.iter().any(|pattern| fits(pattern, model))
    }

    /// Program and arguments for this model; the model's name never becomes more than a part of one argument.
    pub fn argv(&self, model: Option<&str>) -> Vec<String> {
        let mut argv = self.command.clone();
        if let Some(model) = model {
            let named = self.model_args.iter().map(|arg| arg.replace(MODEL, model));
            argv.extend(named);
        }
        argv
    }
}

/// The registered runtimes, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runtimes(Vec<(String, Runtime)>);

impl Runtimes {
    /// Runtimes in this order.
    pub fn new(runtimes: impl IntoIterator<Item = (String, Runtime)>) -> Self {
        Self(runtimes.into_iter().collect())
    }

    /// What stands under `runtimes`, its shape checked before.
    pub(super) fn of(value: &Value) -> Self {
        let registered = value.as_object().into_iter().flatten();
        Self::new(
            registered
                .filter_map(|(id, value)| Some((id.clone(), Runtime::deserialize(value).ok()?))),
        )
    }

    /// The runtime with this id.
    pub fn get(&self, id: &str) -> Option<&Runtime> {
        self.iter()
            .find(|(other, _)| *other == id)
            .map(|(_, runtime)| runtime)
    }

    /// The first one that claims the model, with its id.
    pub fn claiming(&self, model: &str) -> Option<(&str, &Runtime)> {
        self.iter().find(|(_, runtime)| runtime.claims(model))
    }

    /// Each with its id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Runtime)> {
        self.0.iter().map(|(id, runtime)| (id.as_str(), runtime))
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The pattern fits the whole text, letter case aside; `*` stands for any characters, none included.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        // Without a star.
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The file's keys without those that are refused whatever they hold, and these with the reason: the `fallback` of a
/// runtime, and a runtime under an id of our own.
pub(super) fn without_refused(
    keys: &Map<String, Value>,
) -> (Map<String, Value>, Vec<(String, String)>) {
    let mut kept = keys.clone();
    let mut refused = Vec::new();
    let mut take = |object: &mut Map<String, Value>, path: &str| {
        if object
            .shift_remove("fallback")
            .is_some_and(|value| !value.is_null())
        {
            refused.push((format!("{path}.fallback"), NO_FALLBACK.to_owned()));
        }
    };
    let agents = kept.get_mut("agents").and_then(Value::as_object_mut);
    for (name, agent) in agents.into_iter().flatten() {
        let Some(agent) = agent.as_object_mut() else {
            continue;
        };
        // Beside a runtime only: what else an agent has is not ours.
        if agent
            .get("runtime")
            .is_some_and(|runtime| !runtime.is_null())
        {
            take(agent, &format!("agents.{name}"));
        }
        if let Some(Value::Object(runtime)) = agent.get_mut("runtime") {
            take(runtime, &format!("agents.{name}.runtime"));
        }
    }
    let runtimes = kept.get_mut("runtimes").and_then(Value::as_object_mut);
    if let Some(runtimes) = runtimes {
        for (id, runtime) in runtimes.iter_mut() {
            if let Some(runtime) = runtime.as_object_mut() {
                take(runtime, &format!("runtimes.{id}"));
            }
        }
        runtimes.retain(|id, _| {
            let meaning = reserved(id);
            refused.extend(meaning.map(|why| (format!("runtimes.{id}"), why.to_owned())));
            meaning.is_none()
        });
    }
    (kept, refused)
}

/// Why no runtime can be registered under an id, letter case aside.
fn reserved(id: &str) -> Option<&'static str> {
    match id.to_lowercase().as_str() {
        blank if blank.trim().is_empty() => {
            Some("the id is empty, and nothing could name the runtime; give it one")
        }
        AUTO => {
            Some("the id is taken: auto leaves the choice to the models; give the runtime another")
        }
        COMMAND => Some(
            "the id is taken: command is the runtime that runs what stands after --; give the runtime another",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_pattern_fits_the_whole_name_letter_case_aside() {
        let cases = [
            ("claude-opus", "claude-opus", true),
            ("claude-opus", "claude-opus-4", false),
            ("claude-*", "Claude-Opus", true),
            ("claude-*", "claude-", true),
            ("claude-*", "anthropic/claude-opus", false),
            ("ANTHROPIC/*", "anthropic/claude", true),
            ("*/claude*", "anthropic/claude-4", true),
            ("*", "", true),
            ("*", "anything/at all", true),
            ("**", "x", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-c-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*opus*", "claude-opus-4", true),
            ("*bb*b", "bb", false),
            ("", "", true),
            ("", "x", false),
            ("ä*", "Äther", true),
            ("a.c", "abc", false),
        ];
        for (pattern, text, is_fit) in cases {
            assert_eq!(fits(pattern, text), is_fit, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_in_the_file_that_claims_a_model_has_it() {
        let runtimes = Runtimes::of(&json!({
            "zeta": {"command": ["z"], "models": ["other/*", "shared-*"]},
            "alpha": {"command": ["a"], "models": ["*"]},
            "none": {"command": ["n"]},
        }));
        let claiming = |model| runtimes.claiming(model).map(|(id, _)| id);
        assert_eq!(claiming("shared-1"), Some("zeta"));
        assert_eq!(claiming("x"), Some("alpha"));
        let ids: Vec<&str> = runtimes.iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["zeta", "alpha", "none"]);
        let without = Runtimes::new([("none".to_owned(), Runtime::default())]);
        assert_eq!(without.claiming("x"), None);
    }

    #[test]
    fn the_model_goes_into_its_arguments_and_nowhere_else() {
        let runtime = Runtime {
            command: words(&["claude", "{model}"]),
            models: Vec::new(),
            model_args: words(&["--model", "{model}", "-c", "model={model}/{model}"]),
        };
        assert_eq!(runtime.argv(None), ["claude", "{model}"]);
        let argv = runtime.argv(Some("a b; $(x)"));
        let told = ["--model", "a b; $(x)", "-c", "model=a b; $(x)/a b; $(x)"];
        assert_eq!(argv[2..], told);
    }

    #[test]
    fn a_fallback_and_a_reserved_id_are_refused_wherever_they_stand() {
        let config = json!({
            "agents": {
                "both": {"runtime": "claude", "fallback": "pi", "name": "Both"},
                "inner": {"runtime": {"id": "claude", "fallback": "none"}},
                "unset": {"runtime": "claude", "fallback": null},
                "other": {"fallback": "is not ours"},
                "neither": {"runtime": null, "fallback": "is not ours"},
            },
            "runtimes": {
                "claude": {"command": ["claude"], "fallback": "codex"},
                "auto": {"command": ["x"]},
                "Command": {"command": ["x"]},
                "": {"command": ["x"]},
                " ": {"command": ["x"]},
            },
        });
        let (kept, refused) = without_refused(config.as_object().expect("an object"));
        let keys: Vec<&str> = refused.iter().map(|(key, _)| key.as_str()).collect();
        let expected = [
            "agents.both.fallback",
            "agents.inner.runtime.fallback",
            "runtimes.claude.fallback",
            "runtimes.auto",
            "runtimes.Command",
            "runtimes.",
            "runtimes. ",
        ];
        assert_eq!(keys, expected);
        assert_eq!(kept["runtimes"], json!({"claude": {"command": ["claude"]}}));
        assert_eq!(
            kept["agents"]["both"],
            json!({"runtime": "claude", "name": "Both"})
        );
        assert_eq!(
            kept["agents"]["inner"],
            json!({"runtime": {"id": "claude"}})
        );
        assert_eq!(kept["agents"]["other"], config["agents"]["other"]);
    }
}
