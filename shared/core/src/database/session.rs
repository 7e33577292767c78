//! A database session with its prepared statements.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

use super::failure::from_postgres;
use crate::Result;

/// A client and its prepared statements. Dereferences to the [`Client`].
pub struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Session { client, statements: HashMap::new() }
    }

    /// Returns the client and the prepared statement of `sql`, which is prepared at its first use. Planning is most of the cost
    /// of a statement that runs hundreds of times per second.
    pub async fn prepared(&mut self, sql: &'static str, types: &[Type]) -> Result<(&Client, Statement)> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok((&self.client, statement.clone()));
        }
        let statement = self
            .client
            .prepare_typed(sql, types)
            .await
            .map_err(|error| from_postgres("prepare a statement", error))?;
        self.statements.insert(sql, statement.clone());
        Ok((&self.client, statement))
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
