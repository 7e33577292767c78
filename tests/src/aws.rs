//! One local AWS per test process. Each test has its own bucket and queues.

use std::time::Duration;

use aws_sdk_s3::types::{
    BucketVersioningStatus, Event, FilterRule, FilterRuleName, NotificationConfiguration,
    NotificationConfigurationFilter, QueueConfiguration, S3KeyFilter, VersioningConfiguration,
};
use aws_sdk_sqs::types::{Message, QueueAttributeName};
use millrace::dead_letter::{DeadLetter, DeadLetterReader};
use millrace_cli::checkout::Checkout;
use millrace_cli::environment::{Clients, LocalAws};
use millrace_cli::stack::ministack::Emulator;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::dead_letters;
use crate::directory::server_directory;

struct Shared {
    emulator: Emulator,
    _directory: TempDir,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

async fn shared() -> &'static Shared {
    SHARED
        .get_or_init(async || {
            let directory = server_directory();
            let tools = Checkout::find().expect("the checkout").tools();
            let emulator =
                Emulator::start(directory.path(), &tools, false).await.expect("the local AWS starts");
            Shared { emulator, _directory: directory }
        })
        .await
}

/// A bucket whose `incoming/` prefix notifies an upload queue, with that queue's dead-letter queue, as in the template.
pub struct Aws {
    pub bucket: String,
    pub upload_queue_url: String,
    pub dead_letter_queue_url: String,
    pub clients: Clients,
    pub address: LocalAws,
}

impl Aws {
    pub async fn new() -> Aws {
        let address = shared().await.emulator.address();
        let clients = address.clients().await;
        let name = format!("test-{}", Uuid::now_v7().simple());
        let dead_letter_queue_url = make_queue(&clients.sqs, &format!("{name}-dead-letters"), None).await;
        let dead_letters = arn(&clients.sqs, &dead_letter_queue_url).await;
        let upload_queue_url =
            make_queue(&clients.sqs, &format!("{name}-uploads"), Some(&dead_letters)).await;
        let uploads = arn(&clients.sqs, &upload_queue_url).await;
        make_bucket(&clients.s3, &name).await;
        announce(&clients.s3, &name, &uploads).await;
        Aws { bucket: name, upload_queue_url, dead_letter_queue_url, clients, address }
    }

    /// The port of the local AWS, as the target of a proxy.
    pub fn port(&self) -> u16 {
        let (_, port) = self.address.endpoint.rsplit_once(':').expect("a port");
        port.parse().expect("a number")
    }

    /// Puts an object and returns the event of its notification.
    pub async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> Value {
        let put = self.clients.s3.put_object().bucket(&self.bucket).key(key).body(body.into().into());
        put.send().await.expect("put an object");
        sqs_event(&self.next_upload().await)
    }

    /// Turns off versioning: the bucket keeps only the newest version of an object.
    pub async fn forget_versions(&self) {
        let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
        let put = self.clients.s3.put_bucket_versioning().bucket(&self.bucket);
        put.versioning_configuration(versioning).send().await.expect("keep one version");
    }

    /// Receives and deletes the continuations in the upload queue, and returns the events that deliver them.
    pub async fn continuations(&self) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let received = self.take(10).await;
            if received.is_empty() {
                return events;
            }
            events.extend(received.iter().map(sqs_event));
        }
    }

    async fn take(&self, most: i32) -> Vec<Message> {
        let receive = self.clients.sqs.receive_message().queue_url(&self.upload_queue_url);
        let messages =
            receive.max_number_of_messages(most).send().await.expect("receive").messages.unwrap_or_default();
        for message in &messages {
            let delete = self.clients.sqs.delete_message().queue_url(&self.upload_queue_url);
            delete.receipt_handle(message.receipt_handle().expect("a receipt")).send().await.expect("delete");
        }
        messages
    }

    /// Receives and deletes the next upload notification. Fails after ten seconds without one.
    pub async fn next_upload(&self) -> Message {
        for _ in 0..100 {
            for message in self.take(1).await {
                // S3 sends a test event when a queue is configured. It is not an upload.
                if message.body().is_some_and(|body| body.contains("\"Records\"")) {
                    return message;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no upload notification within ten seconds");
    }

    /// A reader of the dead-letter queue.
    pub fn reader(&self) -> DeadLetterReader {
        let Clients { sqs, objects, .. } = self.clients.clone();
        DeadLetterReader::new(sqs, objects, self.dead_letter_queue_url.clone())
    }

    /// Every dead letter of the dead-letter queue, in the order of the queue. They stay in the queue. Each must be
    /// valid under docs/dead-letter.schema.json.
    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        let reader = self.reader();
        let mut messages = Vec::new();
        loop {
            let received = reader.receive(Duration::from_secs(60), Duration::ZERO).await.expect("receive");
            if received.is_empty() {
                break;
            }
            messages.extend(received);
        }
        reader
            .hide(&messages.iter().collect::<Vec<_>>(), Duration::ZERO)
            .await
            .expect("make the messages visible");
        messages.iter().map(dead_letters::read).collect()
    }

    /// The environment variables of a stack with these resources and the database at `database_url`, for a function or
    /// the command line.
    pub fn variables(&self, database_url: &str) -> Vec<(String, String)> {
        [
            ("DATABASE_URL", database_url),
            ("AWS_ENDPOINT_URL", &self.address.endpoint),
            ("AWS_REGION", &self.address.region),
            ("AWS_ACCESS_KEY_ID", &self.address.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &self.address.secret_access_key),
            ("MILLRACE_BUCKET", &self.bucket),
            ("MILLRACE_UPLOAD_QUEUE_URL", &self.upload_queue_url),
            ("MILLRACE_DEAD_LETTER_QUEUE_URL", &self.dead_letter_queue_url),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

/// The Lambda event of a message of the upload queue.
pub fn sqs_event(message: &Message) -> Value {
    json!({ "Records": [{
        "messageId": message.message_id(),
        "receiptHandle": message.receipt_handle(),
        "body": message.body(),
        "attributes": { "ApproximateReceiveCount": "1" },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:uploads",
        "awsRegion": "us-east-1",
    }] })
}

async fn make_queue(sqs: &aws_sdk_sqs::Client, name: &str, dead_letters: Option<&str>) -> String {
    let mut create = sqs.create_queue().queue_name(name);
    if let Some(arn) = dead_letters {
        let redrive = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": 5 }).to_string();
        create = create.attributes(QueueAttributeName::RedrivePolicy, redrive);
    }
    create.send().await.expect("make a queue").queue_url.expect("its address")
}

async fn arn(sqs: &aws_sdk_sqs::Client, queue_url: &str) -> String {
    let ask = sqs.get_queue_attributes().queue_url(queue_url).attribute_names(QueueAttributeName::QueueArn);
    let attributes = ask.send().await.expect("a queue's attributes").attributes.expect("attributes");
    attributes.get(&QueueAttributeName::QueueArn).expect("its ARN").clone()
}

async fn make_bucket(s3: &aws_sdk_s3::Client, name: &str) {
    s3.create_bucket().bucket(name).send().await.expect("make a bucket");
    let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    s3.put_bucket_versioning()
        .bucket(name)
        .versioning_configuration(versioning)
        .send()
        .await
        .expect("keep versions");
}

async fn announce(s3: &aws_sdk_s3::Client, name: &str, upload_queue_arn: &str) {
    let prefix = FilterRule::builder().name(FilterRuleName::Prefix).value("incoming/").build();
    let filter = NotificationConfigurationFilter::builder()
        .key(S3KeyFilter::builder().filter_rules(prefix).build())
        .build();
    let queue = QueueConfiguration::builder()
        .queue_arn(upload_queue_arn)
        .events(Event::from("s3:ObjectCreated:*"))
        .filter(filter)
        .build()
        .expect("a notification");
    s3.put_bucket_notification_configuration()
        .bucket(name)
        .notification_configuration(NotificationConfiguration::builder().queue_configurations(queue).build())
        .send()
        .await
        .expect("notify the queue");
}
