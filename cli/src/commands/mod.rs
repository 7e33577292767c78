//! One module a command, and what a command answers with.

pub mod demo;
pub mod dev;
pub mod migrate;
pub mod models;
pub mod put;
pub mod send;
pub mod status;
pub mod tail;
pub mod verify;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use millrace::{Error, Kind, Result};

/// How a command ended; its exit code is part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 0
    Done,
    /// 1: the command worked, and what it found is bad.
    Bad,
    /// 2: it could not work.
    Unable,
    /// 3
    TimedOut,
}

impl Outcome {
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Outcome::Done => 0,
            Outcome::Bad => 1,
            Outcome::Unable => 2,
            Outcome::TimedOut => 3,
        })
    }
}

/// Completes when somebody asks this program to stop: Ctrl-C, SIGTERM, or the terminal closed.
pub(crate) async fn asked_to_stop() -> Result<()> {
    let listen =
        |kind| signal(kind).map_err(|error| Error::new(Kind::Bug, "listen for signals").with_source(error));
    let (mut interrupt, mut terminate, mut hangup) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
