//! The connection string: `postgresql://user:password@host:port/database?sslmode=…&sslrootcert=…`.
//!
//! | sslmode | plaintext | certificate chain | host name |
//! | --- | --- | --- | --- |
//! | `disable` | always | | |
//! | `prefer` | when the server has no TLS | not checked | not checked |
//! | `require` | refused | not checked | not checked |
//! | `verify-ca` | refused | checked | not checked |
//! | `verify-full` | refused | checked | checked |
//!
//! Without `sslmode`, it is `prefer` for a server on this machine and `verify-full` for any other, so that a missing parameter
//! never causes an unencrypted connection to RDS. `sslrootcert` names a PEM bundle (for RDS, the region's or the global
//! bundle) that is then trusted instead of the system's certificates.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::{TlsVerification, connector};
use crate::{Error, Kind, Result};

/// The parameters of a connection. `Debug` does not show the password.
#[derive(Clone)]
pub struct Settings {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
    pub(super) stall_timeout: Option<Duration>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("hosts", &self.config.get_hosts())
            .field("ports", &self.config.get_ports())
            .field("database", &self.config.get_dbname())
            .field("user", &self.config.get_user())
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Parses a connection URL. Errors name the invalid part. They never contain the URL, which may contain a password.
    pub fn parse(url: &str) -> Result<Self> {
        if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
            return Err(wrong("it must start with postgresql://"));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut mode = None;
        let mut root_certificates = None;
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", text)) => mode = Some(parse_mode(text)?),
                Some(("sslrootcert", path)) => root_certificates = Some(decode(path)),
                _ => others.push(pair),
            }
        }
        let mut plain = base.to_owned();
        if !others.is_empty() {
            plain.push('?');
            plain.push_str(&others.join("&"));
        }
        let mut config =
            Config::from_str(&plain).map_err(|error| wrong("it cannot be read").with_source(error))?;
        if config.get_hosts().is_empty() {
            return Err(wrong("it names no host"));
        }
        let (ssl_mode, verification) = mode.unwrap_or_else(|| default_mode(&config));
        config.ssl_mode(ssl_mode);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(5));
        }
        // A lost peer is detected within about fifteen seconds, also while the client only waits.
        config.tcp_user_timeout(Duration::from_secs(15));
        config.keepalives_idle(Duration::from_secs(10));
        config.keepalives_interval(Duration::from_secs(3));
        config.keepalives_retries(2);
        if config.get_application_name().is_none() {
            config.application_name("millrace");
        }
        let tls = connector(verification, root_certificates.as_deref())?;
        Ok(Settings { config, tls, stall_timeout: None })
    }

    /// The name that `pg_stat_activity` shows.
    #[must_use]
    pub fn application_name(mut self, name: &str) -> Self {
        self.config.application_name(name);
        self
    }

    /// How long the server may send nothing inside a transaction before the transaction is retried. Without this timeout an
    /// attempt can last until its deadline, for functions whose statements run for minutes.
    #[must_use]
    pub fn stall_timeout(mut self, limit: Duration) -> Self {
        self.stall_timeout = Some(limit);
        self
    }
}

fn wrong(what: &str) -> Error {
    Error::new(Kind::Config, format!("DATABASE_URL: {what}"))
}

const PREFER: (SslMode, TlsVerification) = (SslMode::Prefer, TlsVerification::None);
const VERIFY_FULL: (SslMode, TlsVerification) = (SslMode::Require, TlsVerification::ChainAndHost);

fn parse_mode(mode: &str) -> Result<(SslMode, TlsVerification)> {
    Ok(match mode {
        "disable" => (SslMode::Disable, TlsVerification::None),
        "prefer" | "allow" => PREFER,
        "require" => (SslMode::Require, TlsVerification::None),
        "verify-ca" => (SslMode::Require, TlsVerification::Chain),
        "verify-full" => VERIFY_FULL,
        other => {
            return Err(wrong(&format!(
                "sslmode `{other}` is none of disable, prefer, require, verify-ca, verify-full"
            )));
        }
    })
}

fn default_mode(config: &Config) -> (SslMode, TlsVerification) {
    let is_local = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
        Host::Unix(_) => true,
    });
    if is_local { PREFER } else { VERIFY_FULL }
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        Settings::parse(url).unwrap().config.get_ssl_mode()
    }

    #[test]
    fn a_connection_to_a_remote_server_is_encrypted_by_default() {
        assert_eq!(mode("postgresql://u@db.example.com/app"), SslMode::Require);
        assert_eq!(mode("postgresql://u@127.0.0.1/app"), SslMode::Prefer);
        assert_eq!(mode("postgresql://u@db.example.com/app?sslmode=disable"), SslMode::Disable);
    }

    #[test]
    fn the_documented_default_of_sslmode_is_that_of_the_code() {
        let (_, rest) =
            include_str!("../../../../docs/configuration.md").split_once("; the default is `").unwrap();
        let documented: Vec<&str> = rest.split('`').step_by(2).take(2).collect();
        for (url, mode) in
            ["postgresql://u@localhost", "postgresql://u@db.example.com"].iter().zip(documented)
        {
            let config = Config::from_str(url).unwrap();
            assert_eq!(default_mode(&config), parse_mode(mode).unwrap(), "{url}");
        }
    }

    #[test]
    fn errors_name_the_part_that_is_wrong_and_hide_the_password() {
        for url in [
            "mysql://u:hunter2@h/app",
            "postgresql://u:hunter2@h/app?sslmode=sometimes",
            "postgresql://u:hunter2@h/app?sslmode=verify-full&sslrootcert=/does/not/exist",
            "postgresql://u:hunter2@h:not-a-port/app",
        ] {
            let error = Settings::parse(url).unwrap_err();
            assert_eq!(error.kind(), Kind::Config);
            assert!(error.chain().starts_with("DATABASE_URL: "), "{}", error.chain());
            assert!(!error.chain().contains("hunter2"), "{}", error.chain());
        }
        let settings = Settings::parse("postgresql://u:hunter2@h/app").unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn other_parameters_reach_the_driver() {
        let settings =
            Settings::parse("postgresql://u@localhost/app?sslmode=disable&application_name=me").unwrap();
        assert_eq!(settings.config.get_application_name(), Some("me"));
    }
}
