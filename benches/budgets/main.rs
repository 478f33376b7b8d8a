//! The budgets of the design, measured in one run on the machine at hand: `cargo bench --bench budgets`.
//!
//! Every figure is printed beside its physical limit (a `/bin/true`, a durable write of the same size, a bare file event),
//! because a figure alone says more about the machine than about the program. Words after `--` choose rows
//! (`cargo bench --bench budgets -- status tail`), `DISPATCH_BENCH=quick` takes fewer turns. A missed budget is only said
//! so: a busy machine is no failure.

mod contention;
mod delivery;
mod house;
mod idle;
mod starts;
mod table;
mod tail;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == contention::WRITER) {
        return contention::write(&words[1..]);
    }
    // Cargo adds a flag of its own.
    let chosen: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|word| *word == name);
    let is_quick = std::env::var_os("DISPATCH_BENCH").is_some_and(|value| value == "quick");
    let turns = |full: usize| if is_quick { full.div_ceil(10) } else { full };

    table::heading();
    if wanted("start") {
        starts::starting(turns(500));
    }
    if wanted("size") {
        for (labels, rounds) in [(10, 200), (1_000, 100), (10_000, 40), (100_000, 6)] {
            starts::sized(labels, turns(rounds));
        }
    }
    if wanted("contention") {
        for writers in [1, 8, 32] {
            contention::contention(writers, turns(100) as u64);
        }
    }
    if wanted("delivery") {
        delivery::delivery(turns(40));
    }
    if wanted("idle") {
        idle::idle(1, false);
        idle::idle(100, false);
        if !is_quick {
            idle::idle(500, true);
        }
    }
    if wanted("tail") {
        tail::tail(50, turns(200));
        tail::tail(1_000, turns(200));
    }
}
