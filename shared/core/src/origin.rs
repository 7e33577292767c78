//! Origins: the names of the data of which loads and batches are made. They are unique in the ledger for ever.
//!
//! | origin | of |
//! | --- | --- |
//! | `s3://bucket/key?version=…` | a load: one version of an object |
//! | `s3://bucket/key?version=…#17` | a batch: the chunk of that load that begins at record 17 |
//! | `s3://bucket/key?version=…&attempt=2#17` | the same chunk, when the file is redriven |
//! | `redrive:<dead letter id>` | a batch: one redriven record |
//! | `webhook:<batch id>`, `insert:<batch id>` | a batch of deliveries or of an INSERT, which SQL names |

use uuid::Uuid;

/// One version of an object of S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedObject {
    pub bucket: String,
    pub key: String,
    /// The version id, or [`unversioned`].
    pub version: String,
}

impl VersionedObject {
    /// `s3://bucket/key`: the same for every version.
    pub fn name(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.key)
    }

    /// `s3://bucket/key?version=…`: the same for every notification of this version.
    pub fn origin(&self) -> String {
        format!("{}?version={}", self.name(), self.version)
    }

    /// The chunk that begins at `first_record` in this attempt, from 1, at the load.
    pub fn chunk_origin(&self, attempt: u32, first_record: u64) -> String {
        match attempt {
            1 => format!("{}#{first_record}", self.origin()),
            attempt => format!("{}&attempt={attempt}#{first_record}", self.origin()),
        }
    }

    /// Reads the origin of a load.
    pub fn parse(origin: &str) -> Option<Self> {
        let (object, version) = origin.strip_prefix("s3://")?.rsplit_once("?version=")?;
        let (bucket, key) = object.split_once('/')?;
        Some(VersionedObject { bucket: bucket.to_owned(), key: key.to_owned(), version: version.to_owned() })
    }

    /// The version id; `None` in a bucket without versioning.
    pub fn version_id(&self) -> Option<&str> {
        Some(self.version.as_str()).filter(|version| !version.starts_with(UNVERSIONED))
    }
}

const UNVERSIONED: &str = "etag-";

/// The version of an object in a bucket without versioning: the ETag and the second of the upload identify the content.
pub fn unversioned(etag: &str, modified_secs: i64) -> String {
    format!("{UNVERSIONED}{}-{modified_secs}", etag.trim_matches('"'))
}

/// The batch of one redriven record.
pub fn redriven_record(dead_letter_id: Uuid) -> String {
    format!("redrive:{dead_letter_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_read_as_it_is_written() {
        let object = VersionedObject {
            bucket: "b".into(),
            key: "incoming/a b/ü?version=1/x.csv".into(),
            version: "v1".into(),
        };
        assert_eq!(object.origin(), "s3://b/incoming/a b/ü?version=1/x.csv?version=v1");
        assert_eq!(VersionedObject::parse(&object.origin()), Some(object.clone()));
        assert_eq!(object.version_id(), Some("v1"));
        assert_eq!(object.chunk_origin(1, 17), format!("{}#17", object.origin()));
        assert_eq!(object.chunk_origin(2, 0), format!("{}&attempt=2#0", object.origin()));
        let version = unversioned("\"9\"", 17);
        assert_eq!(version, "etag-9-17");
        assert_eq!(VersionedObject { version, ..object }.version_id(), None);
        assert_eq!(VersionedObject::parse("insert:1"), None);
    }
}
