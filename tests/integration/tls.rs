//! TLS to PostgreSQL: what each `sslmode` accepts and refuses, with certificates made by the tests.

use std::path::{Path, PathBuf};

use millrace::database::Settings;
use millrace::database::connection::connect;
use millrace::{Error, Result};
use millrace_cli::stack::postgres::Server;
use millrace_tests::postgres::{binaries_with_tls, start_server};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// A certificate authority that signs the servers' certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = parameters.self_signed(&key).expect("a certificate").pem();
        Authority { pem, issuer: Issuer::new(parameters, key) }
    }

    /// A server certificate for `localhost`, signed by this authority.
    fn server(&self) -> (Server, TempDir) {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate").pem();
        serve(&certificate, &key)
    }
}

/// A server with this certificate.
fn serve(certificate: &str, key: &KeyPair) -> (Server, TempDir) {
    let files = TempDir::new().expect("a folder");
    let paths = (files.path().join("certificate.pem"), files.path().join("key.pem"));
    std::fs::write(&paths.0, certificate).expect("write the certificate");
    std::fs::write(&paths.1, key.serialize_pem()).expect("write the key");
    start_server(|options| {
        options.binaries = binaries_with_tls();
        options.tls = Some(paths);
    })
}

/// A bundle of these certificates, in a file.
fn bundle(folder: &TempDir, name: &str, certificates: &[&str]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, certificates.join("\n# the next one\n")).expect("write a bundle");
    path
}

/// Connects as `host`, and returns whether the connection is encrypted.
async fn encrypted(server: &Server, host: &str, mode: &str, bundle: Option<&Path>) -> Result<bool> {
    let mut url = server.url("postgres").replace("127.0.0.1", host);
    url.push_str(&format!("?sslmode={mode}"));
    if let Some(bundle) = bundle {
        url.push_str(&format!("&sslrootcert={}", bundle.display()));
    }
    let client = connect(&Settings::parse(&url)?).await?;
    let query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    Ok(client.query_one(query, &[]).await.expect(query).get(0))
}

fn refused(outcome: Result<bool>, because: &str) {
    let error: Error = outcome.expect_err(because);
    assert!(error.chain().contains(because), "{because}: {}", error.chain());
}

#[tokio::test]
async fn verify_full_takes_the_right_authority_and_host_and_nothing_else() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let (server, _directory) = ours.server();
    let files = TempDir::new().expect("a folder");
    let right = bundle(&files, "right.pem", &[&ours.pem]);
    let wrong = bundle(&files, "wrong.pem", &[&other.pem]);
    let many = bundle(&files, "many.pem", &[&other.pem, &Authority::new("third").pem, &ours.pem]);
    assert!(encrypted(&server, "localhost", "verify-full", Some(&right)).await.expect("the right authority"));
    assert!(encrypted(&server, "localhost", "verify-full", Some(&many)).await.expect("one of several"));
    // 127.0.0.1 is not in the certificate.
    for bundle in [&right, &many] {
        refused(encrypted(&server, "127.0.0.1", "verify-full", Some(bundle)).await, "not valid for name");
    }
    refused(encrypted(&server, "localhost", "verify-full", Some(&wrong)).await, "UnknownIssuer");
    // The test's authority is not one of the system's.
    refused(encrypted(&server, "localhost", "verify-full", None).await, "UnknownIssuer");
}

#[tokio::test]
async fn verify_ca_takes_any_host_and_require_any_certificate() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let (server, _directory) = ours.server();
    let files = TempDir::new().expect("a folder");
    let right = bundle(&files, "right.pem", &[&ours.pem]);
    let wrong = bundle(&files, "wrong.pem", &[&other.pem]);
    assert!(encrypted(&server, "127.0.0.1", "verify-ca", Some(&right)).await.expect("any host"));
    refused(encrypted(&server, "127.0.0.1", "verify-ca", Some(&wrong)).await, "UnknownIssuer");
    assert!(encrypted(&server, "127.0.0.1", "require", None).await.expect("any certificate"));
    assert!(encrypted(&server, "127.0.0.1", "prefer", None).await.expect("any certificate"));
    assert!(!encrypted(&server, "127.0.0.1", "disable", None).await.expect("none"));
}

/// The certificate of `openssl req -x509` in PostgreSQL's documentation: it signs itself and nothing else.
#[tokio::test]
async fn a_server_that_signed_its_own_certificate_is_trusted_by_that_certificate_alone() {
    let key = KeyPair::generate().expect("a key");
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = parameters.self_signed(&key).expect("a certificate").pem();
    let (server, _directory) = serve(&certificate, &key);
    let files = TempDir::new().expect("a folder");
    let own = bundle(&files, "own.pem", &[&Authority::new("other").pem, &certificate]);
    let other = bundle(&files, "other.pem", &[&Authority::new("other").pem]);
    assert!(encrypted(&server, "localhost", "verify-full", Some(&own)).await.expect("its own certificate"));
    refused(encrypted(&server, "127.0.0.1", "verify-full", Some(&own)).await, "not valid for name");
    for mode in ["verify-ca", "verify-full"] {
        refused(encrypted(&server, "localhost", mode, Some(&other)).await, "certificate");
    }
}

/// The dates of a directly trusted certificate are checked too.
#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let key = KeyPair::generate().expect("a key");
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let certificate = parameters.self_signed(&key).expect("a certificate").pem();
    let (server, _directory) = serve(&certificate, &key);
    let files = TempDir::new().expect("a folder");
    let own = bundle(&files, "own.pem", &[&certificate]);
    refused(encrypted(&server, "localhost", "verify-full", Some(&own)).await, "expired");
    assert!(encrypted(&server, "localhost", "require", None).await.expect("nothing is checked"));
}

#[tokio::test]
async fn a_server_without_tls_is_refused_unless_plaintext_is_allowed() {
    let (server, _directory) = start_server(|_| {});
    let files = TempDir::new().expect("a folder");
    let right = bundle(&files, "right.pem", &[&Authority::new("ours").pem]);
    for mode in ["require", "verify-ca", "verify-full"] {
        refused(encrypted(&server, "localhost", mode, Some(&right)).await, "does not support TLS");
    }
    assert!(!encrypted(&server, "localhost", "prefer", None).await.expect("plaintext"));
}

#[tokio::test]
async fn a_bundle_without_a_certificate_is_an_error() {
    let files = TempDir::new().expect("a folder");
    for text in ["", "not a certificate"] {
        let path = bundle(&files, "none.pem", &[text]);
        let url = format!("postgresql://u@localhost/d?sslmode=verify-full&sslrootcert={}", path.display());
        assert!(Settings::parse(&url).is_err(), "{text:?}");
    }
}
