//! One local AWS a test process; a bucket and two queues a test.

use std::path::Path;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use millrace::dead_letter::Letter;
use millrace_cli::environment::{Clients, LocalAws};
use millrace_cli::stack::ministack::Emulator;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use uuid::Uuid;

struct Shared {
    emulator: Emulator,
    _directory: TempDir,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

async fn shared() -> &'static Shared {
    SHARED
        .get_or_init(|| async {
            let directory = TempDir::new().expect("a directory for the local AWS");
            let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv");
            let emulator =
                Emulator::start(directory.path(), &tools, false).await.expect("the local AWS starts");
            Shared { emulator, _directory: directory }
        })
        .await
}

/// A versioned bucket, an upload queue and a dead-letter queue of a test's own.
pub struct Aws {
    pub clients: Clients,
    pub address: LocalAws,
    pub bucket: String,
    pub upload_queue_url: String,
    pub dead_letter_queue_url: String,
}

impl Aws {
    pub async fn new() -> Aws {
        let address = shared().await.emulator.address();
        let clients = address.clients().await;
        let bucket = format!("test-{}", Uuid::now_v7().simple());
        clients.s3.create_bucket().bucket(&bucket).send().await.expect("create a bucket");
        let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        clients
            .s3
            .put_bucket_versioning()
            .bucket(&bucket)
            .versioning_configuration(versioning)
            .send()
            .await
            .expect("turn on versions");
        let upload_queue_url = create_queue(&clients, &format!("{bucket}-uploads")).await;
        let dead_letter_queue_url = create_queue(&clients, &format!("{bucket}-dead")).await;
        Aws { clients, address, bucket, upload_queue_url, dead_letter_queue_url }
    }

    /// What a function needs to work on this bucket and `database_url`, beside its own settings.
    pub fn environment(&self, database_url: &str) -> Vec<(String, String)> {
        [
            ("DATABASE_URL", database_url),
            ("AWS_ENDPOINT_URL", self.address.endpoint.as_str()),
            ("AWS_REGION", self.address.region.as_str()),
            ("AWS_ACCESS_KEY_ID", self.address.access_key_id.as_str()),
            ("AWS_SECRET_ACCESS_KEY", self.address.secret_access_key.as_str()),
            ("MILLRACE_BUCKET", self.bucket.as_str()),
            ("MILLRACE_UPLOAD_QUEUE_URL", self.upload_queue_url.as_str()),
            ("MILLRACE_DEAD_LETTER_QUEUE_URL", self.dead_letter_queue_url.as_str()),
            ("MILLRACE_PIPELINE", concat!(env!("CARGO_MANIFEST_DIR"), "/../pipeline")),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// Puts an object; the SQS event that announces it.
    pub async fn put(&self, key: &str, body: Vec<u8>) -> Value {
        let put = self
            .clients
            .s3
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .body(ByteStream::from(body))
            .send()
            .await
            .expect("put an object");
        let encoded: String = key
            .bytes()
            .map(|byte| match byte {
                b' ' => "+".to_owned(),
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                    char::from(byte).to_string()
                }
                other => format!("%{other:02X}"),
            })
            .collect();
        let body = json!({ "Records": [{
            "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": { "bucket": { "name": self.bucket },
                    "object": { "key": encoded, "versionId": put.version_id(), "sequencer": "0055AED6DCD90281E5" } }
        }] });
        in_queue(&body)
    }

    /// Every letter in the dead-letter queue; they are taken out of it.
    pub async fn letters(&self) -> Vec<Letter> {
        let bodies = take_messages(&self.clients, &self.dead_letter_queue_url).await;
        bodies.iter().map(|body| serde_json::from_str(body).expect("a letter")).collect()
    }

    /// Every message that waits in the upload queue, as the event that delivers it; they are taken out of it.
    pub async fn continuations(&self) -> Vec<Value> {
        let bodies = take_messages(&self.clients, &self.upload_queue_url).await;
        bodies.iter().map(|body| in_queue(&serde_json::from_str(body).expect("JSON"))).collect()
    }
}

fn in_queue(body: &Value) -> Value {
    json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "message-1", "body": body.to_string() }] })
}

async fn create_queue(clients: &Clients, name: &str) -> String {
    let created = clients.sqs.create_queue().queue_name(name).send().await.expect("create a queue");
    created.queue_url().expect("its URL").to_owned()
}

async fn take_messages(clients: &Clients, queue_url: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let received = clients
            .sqs
            .receive_message()
            .queue_url(queue_url)
            .max_number_of_messages(10)
            .send()
            .await
            .expect("receive");
        if received.messages().is_empty() {
            return bodies;
        }
        for message in received.messages() {
            bodies.push(message.body().unwrap_or_default().to_owned());
            let receipt = message.receipt_handle().unwrap_or_default();
            clients
                .sqs
                .delete_message()
                .queue_url(queue_url)
                .receipt_handle(receipt)
                .send()
                .await
                .expect("delete");
        }
    }
}
