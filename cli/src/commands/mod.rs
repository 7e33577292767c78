//! One module a command, and what a command answers with.

pub mod completions;
pub mod dead_letters;
pub mod demo;
pub mod dev;
pub mod doctor;
pub mod migrate;
pub mod models;
pub mod put;
pub mod send;
pub mod status;
pub mod tail;
pub mod verify;

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use millrace::{Error, Kind, Result};

/// How a command ended; its exit code is part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOutcome {
    /// 0
    Done,
    /// 1: the command worked, and what it found is bad.
    Bad,
    /// 2: it could not work.
    Unable,
    /// 3: a time limit ran out, or somebody stopped it; it can go on.
    TimedOut,
}

impl CommandOutcome {
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            CommandOutcome::Done => 0,
            CommandOutcome::Bad => 1,
            CommandOutcome::Unable => 2,
            CommandOutcome::TimedOut => 3,
        })
    }
}

/// Receives requests to stop this program: Ctrl-C, SIGTERM, or a closed terminal. These signals no longer end the program by
/// themselves, so its owner must check it as long as the program runs.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stop {
    pub fn listen() -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|error| Error::new(Kind::Bug, "listen for signals").with_source(error))
        };
        Ok(Stop {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Completes when it is asked, or was since the last time.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// What `work` ends with; `None`, and `work` given up, when somebody asked to stop first.
    pub async fn unless_asked<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        tokio::select! {
            ended = work => ended.map(Some),
            () = self.asked() => Ok(None),
        }
    }
}

/// Completes when somebody asks this program to stop.
pub(crate) async fn asked_to_stop() -> Result<()> {
    Stop::listen()?.asked().await;
    Ok(())
}
