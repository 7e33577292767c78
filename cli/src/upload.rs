//! Uploads a file to the bucket: in one request, or in parts if it is large.

use std::path::{Path, PathBuf};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use millrace::origin::VersionedObject;
use millrace::{Error, Kind, Result};
use tokio::task::JoinSet;

use crate::environment::aws_failure;

/// The maximum number of parts in S3. A part has at least 5 MiB.
const MAX_PARTS: u64 = 10_000;
const PART_BYTES: u64 = 8 << 20;
const PARTS_AT_ONCE: usize = 4;

/// The destination of an upload.
#[derive(Debug, Clone)]
pub struct UploadTarget {
    pub bucket: String,
    pub key: String,
}

impl UploadTarget {
    /// The origin of version `version` of the object in the ledger.
    pub fn origin(&self, version: &str) -> String {
        let (bucket, key) = (self.bucket.clone(), self.key.clone());
        VersionedObject { bucket, key, version: version.to_owned() }.origin()
    }
}

/// Uploads `file` and returns the id of the new version. Calls `progress` with the number of uploaded bytes.
pub async fn upload(
    s3: &Client,
    file: &Path,
    target: &UploadTarget,
    progress: impl FnMut(u64),
) -> Result<String> {
    let metadata = tokio::fs::metadata(file)
        .await
        .map_err(|error| Error::new(Kind::Config, format!("read {}", file.display())).with_source(error))?;
    if !metadata.is_file() {
        return Err(Error::new(Kind::Config, format!("{} is not a file", file.display())));
    }
    let size = metadata.len();
    let version = if size <= PART_BYTES {
        whole(s3, file, target, size, progress).await?
    } else {
        in_parts(s3, file, target, size, progress).await?
    };
    version.ok_or_else(|| {
        Error::new(
            Kind::Config,
            format!("versioning is not enabled on the bucket {}; loads require it", target.bucket),
        )
    })
}

async fn whole(
    s3: &Client,
    file: &Path,
    target: &UploadTarget,
    size: u64,
    mut progress: impl FnMut(u64),
) -> Result<Option<String>> {
    let answer = s3
        .put_object()
        .bucket(&target.bucket)
        .key(&target.key)
        .body(body(file, 0, size).await?)
        .send()
        .await
        .map_err(|error| aws_failure("upload the file", &error))?;
    progress(size);
    Ok(answer.version_id)
}

async fn in_parts(
    s3: &Client,
    file: &Path,
    target: &UploadTarget,
    size: u64,
    progress: impl FnMut(u64),
) -> Result<Option<String>> {
    let upload_id = s3
        .create_multipart_upload()
        .bucket(&target.bucket)
        .key(&target.key)
        .send()
        .await
        .map_err(|error| aws_failure("begin an upload in parts", &error))?
        .upload_id
        .ok_or_else(|| Error::new(Kind::Contract, "S3 returned no id for the upload"))?;
    let parts = match send_parts(s3, file, target, size, &upload_id, progress).await {
        Ok(parts) => parts,
        Err(error) => {
            let abort =
                s3.abort_multipart_upload().bucket(&target.bucket).key(&target.key).upload_id(&upload_id);
            if let Err(failure) = abort.send().await {
                let failure = aws_failure("abort the upload", &failure);
                tracing::warn!(
                    error = failure.chain(),
                    "the bucket's lifecycle rule removes the parts in a week"
                );
            }
            return Err(error);
        }
    };
    let answer = s3
        .complete_multipart_upload()
        .bucket(&target.bucket)
        .key(&target.key)
        .upload_id(&upload_id)
        .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
        .send()
        .await
        .map_err(|error| aws_failure("complete the upload", &error))?;
    Ok(answer.version_id)
}

async fn send_parts(
    s3: &Client,
    file: &Path,
    target: &UploadTarget,
    size: u64,
    upload_id: &str,
    mut progress: impl FnMut(u64),
) -> Result<Vec<CompletedPart>> {
    let mut waiting = parts(size).into_iter();
    let mut sending: JoinSet<Result<(CompletedPart, u64)>> = JoinSet::new();
    let mut done = Vec::new();
    let mut sent = 0;
    loop {
        while sending.len() < PARTS_AT_ONCE
            && let Some(part) = waiting.next()
        {
            let upload = SendPart {
                s3: s3.clone(),
                file: file.to_owned(),
                target: target.clone(),
                upload_id: upload_id.to_owned(),
                part,
            };
            sending.spawn(upload.run());
        }
        let Some(finished) = sending.join_next().await else {
            break;
        };
        let (part, bytes) = finished
            .map_err(|error| Error::new(Kind::Bug, "send a part of the file").with_source(error))??;
        sent += bytes;
        progress(sent);
        done.push(part);
    }
    done.sort_by_key(|part: &CompletedPart| part.part_number);
    Ok(done)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    /// From 1.
    number: i32,
    offset: u64,
    bytes: u64,
}

/// Parts that cover `size` bytes.
fn parts(size: u64) -> Vec<Part> {
    let part_bytes = PART_BYTES.max(size.div_ceil(MAX_PARTS));
    (1..)
        .zip((0..size).step_by(usize::try_from(part_bytes).unwrap_or(usize::MAX)))
        .map(|(number, offset)| Part { number, offset, bytes: part_bytes.min(size - offset) })
        .collect()
}

struct SendPart {
    s3: Client,
    file: PathBuf,
    target: UploadTarget,
    upload_id: String,
    part: Part,
}

impl SendPart {
    async fn run(self) -> Result<(CompletedPart, u64)> {
        let Part { number, offset, bytes } = self.part;
        let answer = self
            .s3
            .upload_part()
            .bucket(self.target.bucket)
            .key(self.target.key)
            .upload_id(self.upload_id)
            .part_number(number)
            .body(body(&self.file, offset, bytes).await?)
            .send()
            .await
            .map_err(|error| aws_failure("send a part of the file", &error))?;
        Ok((CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag).build(), bytes))
    }
}

async fn body(file: &Path, offset: u64, bytes: u64) -> Result<ByteStream> {
    ByteStream::read_from()
        .path(file)
        .offset(offset)
        .length(Length::Exact(bytes))
        .build()
        .await
        .map_err(|error| Error::new(Kind::Config, format!("read {}", file.display())).with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_file_once() {
        for size in [PART_BYTES + 1, 3 * PART_BYTES, 100 << 30, 5 << 40] {
            let parts = parts(size);
            assert!(parts.len() as u64 <= MAX_PARTS, "{size}");
            assert_eq!(parts.iter().map(|part| part.bytes).sum::<u64>(), size);
            assert!(parts.windows(2).all(|pair| pair[0].offset + pair[0].bytes == pair[1].offset));
            assert_eq!(parts[0], Part { number: 1, offset: 0, bytes: parts[0].bytes });
        }
    }
}
