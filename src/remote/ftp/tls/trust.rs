//! Whose certificate is believed, and what to say of one that is not. Must not know FTP nor sockets.

use std::fmt::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use ring::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

use crate::remote::ftp::{Fingerprint, Trust};

/// `2026-11-20` of `2026-11-20T05:58:52Z`.
const DATE_CHARACTERS: usize = 10;

/// Decides on the certificate of one connection, and remembers it.
pub struct Judge {
    rule: Rule,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Fingerprint>>,
}

enum Rule {
    /// Signed by one of these, in force, and for the server's name.
    Signed {
        verifier: Arc<WebPkiServerVerifier>,
        by: String,
    },
    /// This one and no other, whatever it says of names and dates.
    Same(Fingerprint),
    Any,
}

impl Judge {
    /// # Errors
    /// Why there is nobody to trust: one line for people.
    pub fn new(trust: &Trust) -> Result<Judge, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let signed = |(roots, by): (RootCertStore, String)| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map(|verifier| Rule::Signed { verifier, by })
                .map_err(|error| error.to_string())
        };
        let rule = match trust {
            Trust::System => system_roots().and_then(signed)?,
            Trust::CaFile(path) => roots_of(path).and_then(signed)?,
            Trust::Fingerprint(fingerprint) => Rule::Same(*fingerprint),
            Trust::Anything => Rule::Any,
        };
        Ok(Judge { rule, provider, seen: Mutex::new(None) })
    }

    /// How to speak TLS under this judgement, with a store of sessions of its own.
    ///
    /// # Errors
    /// What the TLS library has against it.
    pub fn config(
        self: Arc<Self>,
        version: &'static SupportedProtocolVersion,
    ) -> Result<Arc<ClientConfig>, String> {
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[version])
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(self)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }

    /// One line: what is wrong with the server's certificate, which one it is, and what to do.
    pub fn explain(&self, error: &rustls::Error, host: &str) -> String {
        let rustls::Error::InvalidCertificate(wrong) = error else {
            return format!("no TLS with this server: {error}");
        };
        let (fault, with_file) = self.fault(wrong, host);
        let Some(seen) = *self.seen.lock() else {
            return format!("the server's certificate {fault}");
        };
        let file = if with_file { " or give its authority with --ca-file FILE" } else { "" };
        let advice = match &self.rule {
            Rule::Same(_) => "if the server has got a new one, give that".to_owned(),
            Rule::Signed { .. } | Rule::Any => {
                format!("if its owner confirms that this is it, use --tls-fingerprint {seen}{file}")
            }
        };
        format!("the server's certificate ({seen}) {fault}; {advice}")
    }

    /// What is wrong, and whether an authority's file could help.
    fn fault(&self, wrong: &CertificateError, host: &str) -> (String, bool) {
        match wrong {
            CertificateError::ExpiredContext { not_after, .. } => {
                (format!("expired on {}", date(*not_after)), false)
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                let from = date(*not_before);
                (format!("is not valid before {from} (is this computer's clock right?)"), false)
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                (format!("is for {}, not for {host}", names(presented)), false)
            }
            // The other signature: an authority that has the name of one of ours.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                let by = match &self.rule {
                    Rule::Signed { by, .. } => by,
                    Rule::Same(_) | Rule::Any => "its owner",
                };
                (format!("is not signed by {by}"), true)
            }
            CertificateError::ApplicationVerificationFailure => {
                ("is not the one that --tls-fingerprint names".into(), false)
            }
            other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                ("is that of an authority, self-signed, and not that of a server".into(), false)
            }
            other => (format!("will not do ({other})"), false),
        }
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = Fingerprint::of(leaf);
        *self.seen.lock() = Some(found);
        match &self.rule {
            Rule::Signed { verifier, .. } => {
                verifier.verify_server_cert(leaf, between, name, ocsp, now)
            }
            Rule::Same(wanted) if *wanted == found => Ok(ServerCertVerified::assertion()),
            Rule::Same(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Rule::Any => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match &self.rule {
            // Also for a certificate that is known: anybody can show it, its owner alone can sign.
            Rule::Signed { .. } | Rule::Same(_) => {
                let algorithms = &self.provider.signature_verification_algorithms;
                verify_tls12_signature(message, leaf, signed, algorithms)
            }
            Rule::Any => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match &self.rule {
            Rule::Signed { .. } | Rule::Same(_) => {
                let algorithms = &self.provider.signature_verification_algorithms;
                verify_tls13_signature(message, leaf, signed, algorithms)
            }
            Rule::Any => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Fingerprint {
        let sum = digest::digest(&digest::SHA256, certificate);
        let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(sum.as_ref());
        Fingerprint(bytes)
    }
}

/// What this system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` name other places). No list of our own
/// stands in for it: who removed an authority here means it.
fn system_roots() -> Result<(RootCertStore, String), String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (known, _) = roots.add_parsable_certificates(found.certs);
    match (known, found.errors.first()) {
        (0, None) => {
            Err("this system has no root certificates (Debian: ca-certificates); give the \
                          server's authority with --ca-file or its --tls-fingerprint"
                .into())
        }
        (0, Some(error)) => Err(format!(
            "the root certificates of this system cannot be read ({error}); give the server's \
             authority with --ca-file or its --tls-fingerprint"
        )),
        (known, _) => Ok((roots, format!("any of the {known} authorities of this system"))),
    }
}

fn roots_of(path: &Path) -> Result<(RootCertStore, String), String> {
    let shown = path.display();
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates =
        read.map_err(|error| format!("--ca-file {shown} cannot be read as PEM: {error}"))?;
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err(format!("--ca-file {shown} has no certificate of an authority in PEM")),
        (_, _) => Ok((roots, format!("any authority of {shown}"))),
    }
}

fn date(time: UnixTime) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    let mut text = String::new();
    // A year beyond 9999 cannot be written, and is left out.
    let _ = time.map(|time| write!(text, "{}", humantime::format_rfc3339_seconds(time)));
    text.chars().take(DATE_CHARACTERS).collect()
}

/// `DnsName("a.example")` → `a.example`, one or several.
fn names(presented: &[String]) -> String {
    let bare = presented.iter().map(|name| {
        let inner = name.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
        let inner = inner.unwrap_or(name).trim_matches('"');
        inner.chars().filter(|c| !c.is_control()).collect::<String>()
    });
    match bare.collect::<Vec<_>>() {
        none if none.is_empty() => "no name at all".into(),
        some => some.join(", "),
    }
}
