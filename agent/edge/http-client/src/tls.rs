//! TLS for a client: which certificates it trusts, which it shows, which versions it speaks.

use std::fs;
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};

use crate::config::{SecretSource, TlsConfig};
use crate::error::BuildError;

/// Makes ring the process's provider of cryptography, once. Building a client does it too.
pub fn install_crypto_provider() {
    // An error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The PEM texts that a configuration names, as they are now. Unequal materials mean that the
/// client has to be built anew.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Material {
    ca: Option<Vec<u8>>,
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl Material {
    /// Reads the files; blocks.
    pub(crate) fn read(config: &TlsConfig) -> Result<Self, BuildError> {
        Ok(Material {
            ca: read(config.ca.as_ref())?,
            cert: read(config.cert.as_ref())?,
            key: read(config.key.as_ref())?,
        })
    }
}

/// Whether any of it is in a file, which may change.
pub(crate) fn has_files(config: &TlsConfig) -> bool {
    [&config.ca, &config.cert, &config.key]
        .into_iter()
        .any(|source| matches!(source, Some(SecretSource::File(_))))
}

fn read(source: Option<&SecretSource>) -> Result<Option<Vec<u8>>, BuildError> {
    match source {
        None => Ok(None),
        Some(SecretSource::Inline(secret)) => Ok(Some(secret.0.clone().into_bytes())),
        Some(SecretSource::File(path)) => match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => Err(BuildError::File {
                path: path.clone(),
                reason: plain_io(&error),
            }),
        },
    }
}

pub(crate) fn plain_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

pub(crate) fn client_config(
    config: &TlsConfig,
    material: &Material,
    http2: bool,
) -> Result<ClientConfig, BuildError> {
    install_crypto_provider();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(config, material, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(config)?)
        .map_err(|e| BuildError::Tls(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut built = match (&material.cert, &material.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates(cert, "cert")?, private_key(key)?)
            .map_err(|e| BuildError::Tls(format!("the client certificate and key: {e}")))?,
        (Some(_), None) => return Err(BuildError::Tls("cert is given without key".to_owned())),
        (None, Some(_)) => return Err(BuildError::Tls("key is given without cert".to_owned())),
    };
    built.alpn_protocols = if http2 {
        vec![b"h2".to_vec(), b"http/1.1".to_vec()]
    } else {
        vec![b"http/1.1".to_vec()]
    };
    Ok(built)
}

static VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// Version 1.2 is the oldest there is here; an older minimum is met by it.
fn versions(
    config: &TlsConfig,
) -> Result<&'static [&'static SupportedProtocolVersion], BuildError> {
    let unknown = |name: &str| {
        let text = format!("unknown TLS version {name:?} (expected TLS12 or TLS13)");
        BuildError::Tls(text)
    };
    let first = match config.min_version.as_deref() {
        None | Some("TLS10" | "TLS11" | "TLS12") => 0,
        Some("TLS13") => 1,
        Some(name) => return Err(unknown(name)),
    };
    let end = match config.max_version.as_deref() {
        None | Some("TLS13") => 2,
        Some("TLS12") => 1,
        Some(name @ ("TLS10" | "TLS11")) => {
            let text = format!("max_version {name} is too old: TLS12 is the oldest supported");
            return Err(BuildError::Tls(text));
        }
        Some(name) => return Err(unknown(name)),
    };
    match VERSIONS.get(first..end) {
        Some(versions) if !versions.is_empty() => Ok(versions),
        _ => Err(BuildError::Tls(
            "max_version must be greater than or equal to min_version".to_owned(),
        )),
    }
}

fn certificates(pem: &[u8], field: &str) -> Result<Vec<CertificateDer<'static>>, BuildError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(BuildError::Tls(format!(
            "{field} holds no certificate in PEM form"
        ))),
        Err(error) => Err(BuildError::Tls(format!(
            "{field} is not valid PEM: {error}"
        ))),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, BuildError> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|e| BuildError::Tls(format!("key holds no private key in PEM form: {e}")))
}

/// The system's certificates, read once.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    ROOTS
        .get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(roots)
        })
        .clone()
}

fn roots(material: &Material) -> Result<Arc<RootCertStore>, BuildError> {
    let Some(pem) = &material.ca else {
        return Ok(system_roots());
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "ca")? {
        roots
            .add(certificate)
            .map_err(|e| BuildError::Tls(format!("ca holds a broken certificate: {e}")))?;
    }
    Ok(Arc::new(roots))
}

fn verifier(
    config: &TlsConfig,
    material: &Material,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<Verifier>, BuildError> {
    let server_name = match &config.server_name {
        None => None,
        Some(name) => Some(
            ServerName::try_from(name.clone())
                .map_err(|_| BuildError::Tls(format!("server_name {name:?} is not a host name")))?,
        ),
    };
    let roots = roots(material)?;
    // Without any root nothing can be verified; every handshake then says so.
    let webpki = if config.insecure_skip_verify || roots.is_empty() {
        None
    } else {
        let built = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
        Some(built.map_err(|e| BuildError::Tls(e.to_string()))?)
    };
    Ok(Arc::new(Verifier {
        skip: config.insecure_skip_verify,
        server_name,
        webpki,
        provider: provider.clone(),
    }))
}

/// Verifies against the trusted roots, under the configured name if there is one, or not at all.
#[derive(Debug)]
struct Verifier {
    skip: bool,
    server_name: Option<ServerName<'static>>,
    webpki: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.skip {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(webpki) = &self.webpki else {
            return Err(rustls::Error::General(
                "this system has no trusted certificates (install ca-certificates, or set \
                 tls_config.ca_file)"
                    .to_owned(),
            ));
        };
        let name = self.server_name.as_ref().unwrap_or(server_name);
        webpki.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
