//! The settings of the dead-letter queue, which every function that sends dead letters has.

use crate::config::environment::EnvironmentReader;

/// The limit of SQS on a message, in bytes.
pub const MESSAGE_BYTES: usize = 1 << 20;

#[derive(Debug, Clone)]
pub struct Settings {
    pub queue_url: String,
    /// Stores the dead letters that are larger than `message_bytes`, under `dead-letters/`.
    pub bucket: String,
    /// The limit on one message, and on one request of ten messages.
    pub message_bytes: usize,
}

impl Settings {
    /// Reads the variables through `env`.
    pub fn read(env: &mut EnvironmentReader<'_>) -> Self {
        Settings {
            bucket: env.required("MILLRACE_BUCKET"),
            queue_url: env.required("MILLRACE_DEAD_LETTER_QUEUE_URL"),
            message_bytes: env.size("MILLRACE_MESSAGE_BYTES", MESSAGE_BYTES, 1_024..=MESSAGE_BYTES),
        }
    }
}
