//! What a simulated process is: steps, between any two of which it may be killed or kept waiting.

use super::world::World;

/// A process's number.
pub type Pid = usize;

/// Who makes a step.
#[derive(Debug, Clone, Copy)]
pub struct Me {
    pub pid: Pid,
    /// SIGTERM has come.
    pub is_told_to_stop: bool,
}

/// What a process does after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next step.
    Go,
    /// The next step after so many ms at the latest.
    Sleep(i64),
    /// Its end.
    Exit,
}

/// A process.
pub trait Process {
    /// What it is, for the history.
    fn name(&self) -> String;

    /// Makes one step: at most one change that others can see.
    fn step(&mut self, world: &mut World, me: Me) -> Then;

    /// It is killed: what it had under way breaks off.
    fn die(&mut self, _world: &mut World) {}

    /// The label and generation that it watches.
    fn place(&self) -> Option<(usize, dispatch::record::Generation)> {
        None
    }
}
