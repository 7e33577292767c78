//! Failpoints: the moments at which a test ends a function, as a killed sandbox does.
//!
//! Every transaction and every request to AWS has a failpoint before and after it, so a new step of a function has
//! them without more code. A failpoint has the name of its step, its moment and how often the process has reached it,
//! as in `stage batch: commit 2`.
//!
//! Two variables control them, in builds with debug assertions only. A release build does not contain them.
//!
//! - `MILLRACE_FAILPOINT_LOG`: a file to which the name of each failpoint that is reached is added.
//! - `MILLRACE_FAILPOINT`: the name of the failpoint at which the process ends.

/// When a failpoint is reached, relative to its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing has been sent.
    Before,
    /// The work of a transaction is done and its commit has not been sent.
    Commit,
    /// The step is done, and its result has not been used.
    After,
}

/// Ends the process if this failpoint is the one that `MILLRACE_FAILPOINT` names.
#[cfg(debug_assertions)]
pub fn reach(step: &str, moment: Moment) {
    enabled::reach(step, moment);
}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_step: &str, _moment: Moment) {}

#[cfg(debug_assertions)]
mod enabled {
    use std::collections::HashMap;
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::sync::{LazyLock, Mutex, PoisonError};

    use super::Moment;

    /// The variables, and how often each failpoint was reached.
    struct Failpoints {
        log: Option<String>,
        last: Option<String>,
        counts: Mutex<HashMap<String, u32>>,
    }

    static FAILPOINTS: LazyLock<Failpoints> = LazyLock::new(|| Failpoints {
        log: std::env::var("MILLRACE_FAILPOINT_LOG").ok(),
        last: std::env::var("MILLRACE_FAILPOINT").ok(),
        counts: Mutex::default(),
    });

    pub(super) fn reach(step: &str, moment: Moment) {
        let Failpoints { log, last, counts } = &*FAILPOINTS;
        if log.is_none() && last.is_none() {
            return;
        }
        let moment = match moment {
            Moment::Before => "before",
            Moment::Commit => "commit",
            Moment::After => "after",
        };
        let name = format!("{step}: {moment}");
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(name.clone()).or_default();
        *count += 1;
        let name = format!("{name} {count}");
        if let Some(log) = log {
            let written = OpenOptions::new()
                .append(true)
                .create(true)
                .open(log)
                .and_then(|mut file| file.write_all(format!("{name}\n").as_bytes()));
            if let Err(error) = written {
                tracing::error!(log, %error, "the failpoint was not logged");
            }
        }
        if last.as_ref() == Some(&name) {
            std::process::abort();
        }
    }
}
