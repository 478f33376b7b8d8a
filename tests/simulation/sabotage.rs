//! Rules that are broken on purpose, to show that each invariant can fail.

use super::observer::Invariant;

/// One broken rule. The simulated parts ask for it where they call the real rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The end is recorded and what it owes is not.
    EndOwesNothing,
    /// A record's key differs from try to try.
    KeyPerTry,
    /// A run is asked for again without asking whether it has begun.
    RunAgain,
    /// A retry is claimed under the key of the attempt before it.
    ClaimUnderOldKey,
    /// A claim does not raise the count of its budget.
    ClaimUncounted,
    /// A signal makes a cancelled label done.
    SignalOverCancelled,
    /// A watcher does not notice that there is a reply.
    ReplyIsNoNews,
    /// A late signal for an older generation is taken for the current one.
    LateSignalCounts,
    /// A run enters a session that has worked for another generation since it was looked at.
    OldSessionUnseen,
    /// The scan passes over labels that owe a delivery, and watchers leave without having sent.
    NobodySends,
    /// What was tried before goes out without a word about it.
    RepeatWithoutWords,
    /// A try is recorded once it was made.
    SendThenRecord,
    /// A new generation forgets what the old one owed.
    ForgetWhatIsOwed,
    /// Watchers do not ask for the post.
    NoPost,
}

impl Sabotage {
    /// Each with the invariant that catches it.
    pub const ALL: [(Sabotage, Invariant); 14] = [
        (Sabotage::EndOwesNothing, Invariant::Delivered),
        (Sabotage::KeyPerTry, Invariant::OneKey),
        (Sabotage::RunAgain, Invariant::OneRun),
        (Sabotage::ClaimUnderOldKey, Invariant::OneKey),
        (Sabotage::ClaimUncounted, Invariant::Budget),
        (Sabotage::ReplyIsNoNews, Invariant::Delivered),
        (Sabotage::SignalOverCancelled, Invariant::NoDowngrade),
        (Sabotage::LateSignalCounts, Invariant::NoMixing),
        (Sabotage::OldSessionUnseen, Invariant::NoMixing),
        (Sabotage::NobodySends, Invariant::Settles),
        (Sabotage::RepeatWithoutWords, Invariant::RepeatSays),
        (Sabotage::SendThenRecord, Invariant::RecordedFirst),
        (Sabotage::ForgetWhatIsOwed, Invariant::NothingDropped),
        (Sabotage::NoPost, Invariant::OnePost),
    ];
}
