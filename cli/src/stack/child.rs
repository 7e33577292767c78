//! Child processes that end with this process.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Spawns `command` in its own process group, so that Ctrl-C in the terminal only reaches this process, which then stops the child.
/// The kernel sends it `death_signal` when this process ends.
pub fn spawn(mut command: Command, death_signal: i32) -> io::Result<Child> {
    command.process_group(0);
    // SAFETY: `prctl` is async-signal-safe, and nothing else happens between fork and exec. It comes after the change of
    // user, which would clear it.
    #[expect(unsafe_code, reason = "the only way to ask the kernel for a parent-death signal")]
    unsafe {
        command.pre_exec(move || match libc::prctl(libc::PR_SET_PDEATHSIG, death_signal) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    // The signal follows the thread that forked, so that thread must live as long as the process does.
    let (answer, answered) = mpsc::channel();
    std::thread::Builder::new().name("children".to_owned()).spawn(move || {
        if answer.send(command.spawn()).is_ok() {
            loop {
                std::thread::park();
            }
        }
    })?;
    answered.recv().map_err(io::Error::other)?
}

/// Sends `signal` to the child and waits. Kills its whole group if it does not end.
pub fn stop(child: &mut Child, signal: i32, timeout: Duration) {
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    let pid = child.id().cast_signed();
    send(pid, signal);
    let deadline = Instant::now() + timeout;
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_))) {
            // The group also contains the processes that it started.
            send(-pid, libc::SIGTERM);
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    send(-pid, libc::SIGKILL);
    // It was killed. Reap it.
    drop(child.wait());
}

fn send(pid: i32, signal: i32) {
    // SAFETY: `kill` has no memory effects; a process that has already ended is not an error.
    #[expect(unsafe_code, reason = "std sends no signal but SIGKILL")]
    unsafe {
        libc::kill(pid, signal);
    }
}

pub fn is_root() -> bool {
    // SAFETY: reads the effective user id; cannot fail.
    #[expect(unsafe_code, reason = "std does not tell the user id")]
    unsafe {
        libc::geteuid() == 0
    }
}
