//! Passwords of the local stack. Each is created once, in a file that only its owner can read.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use millrace::{Error, Kind, Result};

/// Reads the secret in `file`, or creates it: 48 hexadecimal digits, which need no quoting.
pub fn kept_in(file: &Path) -> Result<String> {
    let failed = |error: std::io::Error| {
        Error::new(Kind::Config, format!("write a password to {}", file.display())).with_source(error)
    };
    match fs::read_to_string(file) {
        Ok(secret) if secret.len() == 48 => return Ok(secret),
        // An earlier write was interrupted. Nothing uses this secret yet.
        Ok(_) => fs::remove_file(file).map_err(failed)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut bytes = [0_u8; 24];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes)).map_err(failed)?;
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut file| file.write_all(secret.as_bytes()))
        .map_err(failed)?;
    Ok(secret)
}
