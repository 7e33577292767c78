//! Free ports of the loopback interface.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use millrace::{Error, Kind, Result};

/// `preferred` if it is free, else any free port.
pub fn free(preferred: Option<u16>) -> Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, preferred.unwrap_or(0)))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| Error::new(Kind::Config, "find a free port").with_source(error))
}

/// The port that is stored in a file, if there is one, so that stored URLs stay valid.
pub fn remembered(memory: &Path) -> Option<u16> {
    std::fs::read_to_string(memory).ok()?.trim().parse().ok()
}

pub fn remember(memory: &Path, port: u16) -> Result<()> {
    std::fs::write(memory, port.to_string())
        .map_err(|error| Error::new(Kind::Config, "remember a port").with_source(error))
}
