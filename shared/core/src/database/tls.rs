//! TLS to PostgreSQL with rustls, which the AWS clients link as well.
//!
//! libpq's `sslmode` determines how the certificate of the server is verified. rustls always verifies everything, so the modes
//! below `verify-full` need their own verifiers.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{Error, Kind, Result};

/// How the certificate of the server is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsVerification {
    /// Not at all. The connection is encrypted, but the server is not authenticated.
    None,
    /// The chain to a trusted root.
    Chain,
    /// The chain and the host name.
    ChainAndHost,
}

/// Creates the TLS connector. `bundle` is the path of a PEM file whose certificates are trusted instead of the system's.
///
/// # Errors
/// [`Kind::Config`] when the bundle cannot be read or contains no certificate.
pub(super) fn connector(verification: TlsVerification, bundle: Option<&str>) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(ring::default_provider());
    let trusted = match bundle {
        Some(path) => read_bundle(path)?,
        // Reading the certificates of the system takes milliseconds of a cold start.
        None if verification == TlsVerification::None => Vec::new(),
        None => rustls_native_certs::load_native_certs().certs,
    };
    let verifier: Arc<dyn ServerCertVerifier> = if verification == TlsVerification::None {
        Arc::new(AcceptAny { provider: provider.clone() })
    } else {
        Arc::new(Verifier::new(trusted, verification, provider.clone())?)
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn unusable(error: TlsError) -> Error {
    Error::new(Kind::Config, "prepare TLS for the database").with_source(error)
}

fn read_bundle(path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |what: &str| Error::new(Kind::Config, format!("DATABASE_URL: sslrootcert `{path}` {what}"));
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| wrong("cannot be read").with_source(error))?;
    if certificates.is_empty() {
        return Err(wrong("contains no certificate"));
    }
    Ok(certificates)
}

/// Checks the certificate chain and, if `sslmode` requires it, the host name.
#[derive(Debug)]
struct Verifier {
    trusted: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
    check_host: bool,
    /// Verifies the signatures of the handshake. All modes that verify need this.
    signatures: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(
        trusted: Vec<CertificateDer<'static>>,
        verification: TlsVerification,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self> {
        let mut store = RootCertStore::empty();
        // Ignore single certificates that cannot be read.
        let (usable, _unreadable) = store.add_parsable_certificates(trusted.iter().cloned());
        if usable == 0 {
            let advice =
                "no trusted root certificate can be read: name a PEM bundle in DATABASE_URL with sslrootcert";
            return Err(Error::new(Kind::Config, advice));
        }
        let roots = Arc::new(store);
        let signatures = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| Error::new(Kind::Config, "prepare TLS for the database").with_source(error))?;
        let check_host = verification == TlsVerification::ChainAndHost;
        Ok(Verifier { trusted, roots, check_host, signatures, provider })
    }

    /// A self-signed certificate is trusted if the bundle contains the same certificate, as in libpq. `webpki` refuses it because
    /// it is the certificate of an authority, but checks its dates before.
    fn is_trusted_itself(&self, end_entity: &CertificateDer<'_>, error: &TlsError) -> bool {
        matches!(error, TlsError::InvalidCertificate(CertificateError::Other(_)))
            && self.trusted.iter().any(|trusted| trusted == end_entity)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, TlsError> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms,
        ) {
            Err(error) if !self.is_trusted_itself(end_entity, &error) => return Err(error),
            _ => {}
        }
        if self.check_host {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        self.signatures.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        self.signatures.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}

/// Accepts any certificate. Signatures are not verified, because this would prove nothing, and would refuse certificates that
/// libpq accepts in the same mode, such as those of X.509 version 1.
#[derive(Debug)]
struct AcceptAny {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
