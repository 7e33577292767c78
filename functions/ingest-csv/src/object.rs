//! Streams one version of one S3 object. It never mixes two versions and keeps only a few pieces in memory.
//!
//! A versioned object is read by its version id. Any other object is read with `If-Match` on the ETag it had when the
//! load started. When a body breaks off, a ranged read continues it.

use std::io::{self, Read};
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use bytes::{Buf, Bytes};
use millrace::{Code, Error, Kind, Policy, Result};
use tokio::sync::mpsc;
use tracing::warn;

use millrace::notification::ObjectCreated;
use millrace::origin::{VersionedObject, unversioned};

/// How many pieces are buffered between the network and the parser.
const PIECES: usize = 8;
/// The largest piece that the parser gets. It bounds memory however large the network's pieces are.
const PIECE_BYTES: usize = 256 << 10;
const TRIES: u32 = 5;

/// An object whose version is pinned.
#[derive(Debug, Clone)]
pub struct Object {
    pub versioned: VersionedObject,
    pub etag: String,
    pub size: u64,
    pub modified_at: Option<SystemTime>,
}

impl Object {
    /// Looks up the object and pins its version.
    pub async fn pin(client: &Client, created: &ObjectCreated) -> Result<Object> {
        let head = client
            .head_object()
            .bucket(&created.bucket)
            .key(&created.key)
            .set_version_id(created.version_id.clone())
            .send()
            .await
            .map_err(|error| s3_failure("look up the object", &error))?;
        let etag = head.e_tag().unwrap_or_default().to_owned();
        let modified = head.last_modified();
        let version_id = created
            .version_id
            .clone()
            .or_else(|| head.version_id().map(str::to_owned).filter(|version| version != "null"));
        Ok(Object {
            versioned: VersionedObject {
                bucket: created.bucket.clone(),
                key: created.key.clone(),
                version: version_id.unwrap_or_else(|| unversioned(&etag, modified.map_or(0, |at| at.secs()))),
            },
            etag,
            size: head.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            modified_at: modified.and_then(|at| SystemTime::try_from(*at).ok()),
        })
    }

    /// Streams the bytes from `start`. The returned reader blocks, so it must be read on a blocking thread. It returns
    /// an error when the object cannot be read to its end. The fetching task ends when the reader is dropped.
    pub fn stream(&self, client: &Client, start: u64) -> (ObjectReader, impl Future<Output = ()> + use<>) {
        let (sender, receiver) = mpsc::channel(PIECES);
        let (client, object) = (client.clone(), self.clone());
        let feed = async move {
            if let Err(error) = object.feed(&client, start, &sender).await {
                // The receiver is dropped only when the rest is not needed.
                let _gone = sender.send(Err(error)).await;
            }
        };
        let left = self.size.saturating_sub(start);
        (ObjectReader { receiver, piece: Bytes::new(), left }, feed)
    }

    async fn feed(&self, client: &Client, start: u64, sender: &mpsc::Sender<Result<Bytes>>) -> Result<()> {
        let mut position = start;
        let mut tries = 0;
        while position < self.size {
            let Err(error) = self.feed_range(client, &mut position, sender).await else { return Ok(()) };
            tries += 1;
            if error.kind().policy() != Policy::RetryLater || tries >= TRIES {
                return Err(error);
            }
            warn!(position, error = error.chain(), "the object's body broke off; reading on from there");
            tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(tries)).await;
        }
        Ok(())
    }

    /// Reads from `position` to the end, or until the receiver is dropped.
    async fn feed_range(
        &self,
        client: &Client,
        position: &mut u64,
        sender: &mpsc::Sender<Result<Bytes>>,
    ) -> Result<()> {
        let mut request = client.get_object().bucket(&self.versioned.bucket).key(&self.versioned.key);
        match self.versioned.version_id() {
            Some(id) => request = request.version_id(id),
            None => request = request.if_match(&self.etag),
        }
        if *position > 0 {
            request = request.range(format!("bytes={position}-"));
        }
        let answer = request.send().await.map_err(|error| s3_failure("read the object", &error))?;
        // HTTP allows a store to answer a ranged read with the whole object. The bytes before the range are then
        // skipped, because treating them as the range would give records the wrong positions.
        let is_range =
            answer.content_range().is_some_and(|range| range.starts_with(&format!("bytes {position}-")));
        let mut before = if is_range { 0 } else { *position };
        let mut body = answer.body;
        while let Some(piece) = body.next().await {
            let mut piece = piece.map_err(|error| {
                Error::new(Kind::Transient, "read the object's body")
                    .with_code(Code::S3Unavailable)
                    .with_source(error)
            })?;
            let passed = piece.len().min(usize::try_from(before).unwrap_or(usize::MAX));
            before -= passed as u64;
            piece.advance(passed);
            while !piece.is_empty() {
                let part = piece.split_to(piece.len().min(PIECE_BYTES));
                *position += part.len() as u64;
                if sender.send(Ok(part)).await.is_err() {
                    return Ok(());
                }
            }
        }
        if *position < self.size {
            return Err(Error::new(Kind::Transient, "read the object's body: it ended early")
                .with_code(Code::S3Unavailable));
        }
        Ok(())
    }
}

/// The blocking side of an object's stream.
pub struct ObjectReader {
    receiver: mpsc::Receiver<Result<Bytes>>,
    piece: Bytes,
    /// The number of bytes that are still expected.
    left: u64,
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                None if self.left == 0 => return Ok(0),
                // The fetching task was stopped. A partial object must never pass for a whole one.
                None => {
                    return Err(io::Error::other(
                        Error::new(Kind::Transient, "read the object's body: fetching it was stopped")
                            .with_code(Code::S3Unavailable),
                    ));
                }
                Some(Ok(piece)) => {
                    self.left = self.left.saturating_sub(piece.len() as u64);
                    self.piece = piece;
                }
                // `Error` is wrapped in the I/O error, so that its kind survives the decoders.
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

fn s3_failure<E>(doing: &str, error: &SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::fmt::Debug,
{
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let code = error.code().unwrap_or_default();
    let (kind, name) = match (status, code) {
        // The object of this notification no longer exists: it was deleted, expired, or replaced in a bucket without
        // versioning.
        (404, _) | (405, _) => (Kind::Contract, Code::ObjectMissing),
        (412, _) => (Kind::Contract, Code::ObjectReplaced),
        // Without s3:ListBucket a missing key is also a 403. An operator must look.
        (403, _) => (Kind::Config, Code::S3AccessDenied),
        (400, _) => (Kind::Contract, Code::S3Refused),
        _ => (Kind::Transient, Code::S3Unavailable),
    };
    let detail = if code.is_empty() {
        format!("HTTP status {status}")
    } else {
        format!("{code} (HTTP status {status})")
    };
    let detail = if status == 0 { "no answer from S3".to_owned() } else { detail };
    Error::new(kind, format!("{doing}: {detail}")).with_code(name)
}
