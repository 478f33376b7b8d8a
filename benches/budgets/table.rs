//! What is printed: each figure beside the physical limit of the same run, their ratio, and the budget of the design.

use std::fmt;
use std::time::Duration;

/// Something measured.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Figure {
    Time(Duration),
    Kilobytes(u64),
    PerSecond(f64),
    Count(u64),
}

impl Figure {
    fn value(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Kilobytes(size) => size as f64,
            Self::PerSecond(rate) => rate,
            Self::Count(count) => count as f64,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Time(time) if *time < Duration::from_millis(1) => {
                format!("{:.0} us", time.as_secs_f64() * 1e6)
            }
            Self::Time(time) if *time < Duration::from_millis(100) => {
                format!("{:.2} ms", time.as_secs_f64() * 1e3)
            }
            Self::Time(time) => format!("{:.0} ms", time.as_secs_f64() * 1e3),
            Self::Kilobytes(size) => format!("{size} kB"),
            Self::PerSecond(rate) => format!("{rate:.2} /s"),
            Self::Count(count) => count.to_string(),
        };
        f.pad(&text)
    }
}

/// What the design allows.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    /// So many times the limit.
    Times(f64),
    AtMost(Figure),
}

/// The least that the machine needs for the same thing.
#[derive(Debug, Clone)]
pub struct Limit {
    pub what: &'static str,
    pub figure: Figure,
}

impl Limit {
    pub fn time(what: &'static str, time: Duration) -> Option<Self> {
        let figure = Figure::Time(time);
        Some(Self { what, figure })
    }
}

/// The columns: what, figure, limit, what the limit is, ratio, budget, met.
pub fn heading() {
    println!(
        "{:<54} {:>10}  {:>10} {:<40} {:>7}  {:<12} ",
        "what", "figure", "limit", "which is", "ratio", "budget"
    );
}

pub fn row(what: &str, figure: Figure, limit: Option<Limit>, budget: Option<Budget>) {
    let ratio = limit
        .as_ref()
        .map(|limit| figure.value() / limit.figure.value());
    let (allowed, met) = match budget {
        Some(Budget::Times(times)) => (
            format!("{times} x limit"),
            ratio.map(|ratio| ratio <= times),
        ),
        Some(Budget::AtMost(most)) => (most.to_string(), Some(figure <= most)),
        None => (String::new(), None),
    };
    let verdict = match met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "",
    };
    let ratio = ratio.filter(|ratio| ratio.is_finite());
    let line = format!(
        "{what:<54} {figure:>10}  {:>10} {:<40} {:>7}  {allowed:<12} {verdict}",
        limit
            .as_ref()
            .map_or(String::new(), |l| l.figure.to_string()),
        limit.as_ref().map_or("", |l| l.what),
        ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
    );
    println!("{}", line.trim_end());
}

/// The middle of some times.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
