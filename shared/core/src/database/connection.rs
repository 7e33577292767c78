//! A connection that is replaced if it was lost while the environment was frozen.
//!
//! Between two invocations Lambda freezes the process. Meanwhile, the server or a NAT may have dropped the connection, and the
//! driver does not notice before it uses it. Therefore an idle connection is pinged with a short timeout before its next use,
//! and replaced if it does not answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::Client;
use tracing::{debug, warn};

use super::failure::from_postgres;
use super::{Session, Settings, StallDetector};
use crate::metrics::{self, names};
use crate::{Code, Error, Kind, Result};

/// A connection that was idle for longer is pinged before it is used.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// A healthy server answers an empty query within a few milliseconds.
const PING_TIMEOUT: Duration = Duration::from_millis(1_500);

pub struct Connection {
    settings: Settings,
    session: Option<Session>,
    driver: Option<JoinHandle<()>>,
    stall_detector: StallDetector,
    last_used: Instant,
    was_open: bool,
    /// A transaction is open. If this is still set before the next transaction, the caller dropped the previous one.
    pub(super) in_transaction: bool,
}

impl Connection {
    /// Connects on first use.
    pub fn new(settings: Settings) -> Self {
        let stall_detector = StallDetector::new();
        let last_used = Instant::now();
        Connection {
            settings,
            session: None,
            driver: None,
            stall_detector,
            last_used,
            was_open: false,
            in_transaction: false,
        }
    }

    /// Returns a session that answered within the last second. Connects or reconnects if necessary.
    pub async fn session(&mut self) -> Result<&mut Session> {
        let usable = match &self.session {
            None => false,
            Some(client) if client.is_closed() => false,
            Some(_) if self.last_used.elapsed() < TRUSTED_FOR => true,
            Some(client) => matches!(timeout(PING_TIMEOUT, client.simple_query("")).await, Ok(Ok(_))),
        };
        if !usable {
            if self.session.is_some() {
                debug!("the idle database connection does not answer; reconnecting");
                self.discard();
            }
            let (client, driver) = open(&self.settings, self.stall_detector.clone()).await?;
            (self.session, self.driver) = (Some(Session::new(client)), Some(driver));
            if std::mem::replace(&mut self.was_open, true) {
                metrics::add(names::DATABASE_RECONNECTS, 1);
            }
        }
        self.last_used = Instant::now();
        self.session.as_mut().ok_or_else(|| Error::new(Kind::Bug, "the new database connection is missing"))
    }

    /// Drops the connection, so that the next use opens a new one: after a fail-over, or when its state is unknown.
    pub fn discard(&mut self) {
        self.session = None;
        // The driver would send a termination message first. If the server is unreachable, the socket would stay open.
        if let Some(driver) = self.driver.take() {
            driver.abort();
        }
    }

    /// The stall detector of this connection. Pause it for work in a transaction that does not wait for the database.
    pub fn stall_detector(&self) -> StallDetector {
        self.stall_detector.clone()
    }

    pub(super) fn stall_timeout(&self) -> Option<Duration> {
        self.settings.stall_timeout
    }
}

/// Connects once, within the connect timeout of `settings`. The connection runs as a task that ends with the client.
pub async fn connect(settings: &Settings) -> Result<Client> {
    Ok(open(settings, StallDetector::new()).await?.0)
}

async fn open(settings: &Settings, stall_detector: StallDetector) -> Result<(Client, JoinHandle<()>)> {
    // The timeout of the driver covers only the TCP connect. This one covers a server that accepts and does not answer.
    let connect_timeout =
        settings.config.get_connect_timeout().copied().unwrap_or(Duration::from_secs(5)) * 2;
    let (client, mut connection) = timeout(connect_timeout, settings.config.connect(settings.tls.clone()))
        .await
        .map_err(|_| {
            Error::new(
                Kind::Transient,
                format!("connect to the database: no answer within {connect_timeout:?}"),
            )
            .with_code(Code::DatabaseUnreachable)
        })?
        .map_err(|error| from_postgres("connect to the database", error))?;
    stall_detector.activity();
    let driver = tokio::spawn(async move {
        let watched = poll_fn(|context| {
            // The task was woken: there is activity.
            stall_detector.activity();
            Pin::new(&mut connection).poll(context)
        });
        if let Err(error) = watched.await {
            // A running query reports its own failure. This line is for idle connections.
            warn!(error = from_postgres("hold the database connection", error).chain(), "connection lost");
        }
    });
    Ok((client, driver))
}
