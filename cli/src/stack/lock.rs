//! A locked file that prevents a second local stack in a checkout. It names the process that holds the lock.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use millrace::{Error, Kind, Result};

/// Holds the lock until it is dropped. The kernel releases it when this process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The holder of the lock: "`millrace dev`, process 4711".
#[derive(Debug)]
pub enum LockAttempt {
    Taken(Lock),
    HeldBy(String),
}

impl Lock {
    pub fn take(path: &Path, holder: &str) -> Result<LockAttempt> {
        let failed = |error: std::io::Error| {
            Error::new(Kind::Config, format!("lock {}", path.display())).with_source(error)
        };
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| write!(file, "{holder}, process {}", std::process::id()))
                    .map_err(failed)?;
                Ok(LockAttempt::Taken(Lock { _file: file }))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(failed)?;
                Ok(LockAttempt::HeldBy(holder))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_learns_who_was_first() {
        let folder = std::env::temp_dir().join(format!("millrace-lock-{}", std::process::id()));
        let first = Lock::take(&folder, "`millrace dev`").unwrap();
        assert!(matches!(first, LockAttempt::Taken(_)));
        let LockAttempt::HeldBy(holder) = Lock::take(&folder, "`millrace demo`").unwrap() else {
            panic!("two hold one lock");
        };
        assert_eq!(holder, format!("`millrace dev`, process {}", std::process::id()));
        drop(first);
        assert!(matches!(Lock::take(&folder, "`millrace demo`").unwrap(), LockAttempt::Taken(_)));
        std::fs::remove_file(folder).unwrap();
    }
}
