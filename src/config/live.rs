//! Settings that a process can read anew while it runs.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::Config;

/// The settings of a process: every clone shows the newest version.
///
/// Older versions stay in memory, for somebody may be reading them; there are as many as the operator asked for, and a
/// version that changes nothing is none.
#[derive(Clone)]
pub struct Settings(Arc<Version>);

struct Version {
    config: Config,
    next: OnceLock<Box<Version>>,
}

impl Settings {
    /// Settings that begin with this version.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Version {
            config,
            next: OnceLock::new(),
        }))
    }

    fn newest(&self) -> &Version {
        let mut version = self.0.as_ref();
        while let Some(next) = version.next.get() {
            version = next;
        }
        version
    }

    /// Puts a newer version in place. Says whether anything is different by it.
    pub fn renew(&self, config: Config) -> bool {
        let mut newest = self.newest();
        if newest.config == config {
            return false;
        }
        let mut version = Box::new(Version {
            config,
            next: OnceLock::new(),
        });
        // Of two threads that come at once, the later one's version follows the other's.
        while let Err(refused) = newest.next.set(version) {
            version = refused;
            newest = self.newest();
        }
        true
    }
}

impl Deref for Settings {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.newest().config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(brand: &str) -> Config {
        Config {
            brand: brand.to_owned(),
            ..Config::default()
        }
    }

    #[test]
    fn every_clone_shows_the_newest_version_and_a_reader_keeps_the_one_it_reads() {
        let settings = Settings::new(named("first"));
        let clone = settings.clone();
        let old: &Config = &settings;
        assert!(clone.renew(named("second")));
        assert_eq!(
            (old.brand.as_str(), settings.brand.as_str()),
            ("first", "second")
        );
        assert!(!settings.renew(named("second")));
        assert!(settings.renew(named("third")));
        assert_eq!(clone.brand, "third");
    }

    #[test]
    fn versions_that_come_at_once_all_find_their_place() {
        let settings = Settings::new(named("0"));
        std::thread::scope(|scope| {
            for n in 1..=8 {
                let settings = &settings;
                scope.spawn(move || assert!(settings.renew(named(&n.to_string()))));
            }
        });
        let mut count = 0;
        let mut version = settings.0.as_ref();
        while let Some(next) = version.next.get() {
            version = next;
            count += 1;
        }
        assert_eq!(count, 8);
    }
}
