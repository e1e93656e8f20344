//! Places where a test has the server killed: `CAIRN_FAILPOINT` names one. Only in debug builds; a release build does
//! not know the variable.

/// After the intent of a mutating call is durable, before the call runs.
pub const AFTER_INTENT: &str = "after-intent";
/// After a mutating call has run, before its event is durable.
pub const AFTER_HANDLER: &str = "after-handler";
/// After recovery has found what is missing, before it appends it.
pub const DURING_RECOVERY: &str = "during-recovery";

/// Kills the process, as a crash would, where `name` is the failpoint that is set.
#[cfg(debug_assertions)]
pub fn reach(name: &'static str) {
    use rustix::process::{Signal, getpid, kill_process};

    if std::env::var_os("CAIRN_FAILPOINT").is_some_and(|set| set == name) {
        let killed = kill_process(getpid(), Signal::KILL);
        unreachable!("the process kills itself: {killed:?}");
    }
}

/// Nothing: release builds have no failpoints.
#[cfg(not(debug_assertions))]
#[inline]
pub fn reach(_name: &'static str) {}
