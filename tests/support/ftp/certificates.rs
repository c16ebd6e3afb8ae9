//! A certification authority of a test's own and a certificate of it for loopback. Must not know who
//! shows the one and who trusts the other.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// Files in PEM.
pub struct Certificates {
    /// What a client is to trust.
    pub authority: PathBuf,
    /// What the server shows.
    pub certificate: PathBuf,
    /// The server's key.
    pub key: PathBuf,
}

impl Certificates {
    /// Makes an authority and a certificate for 127.0.0.1 in this folder.
    pub fn make(folder: &Path) -> Certificates {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        authority.distinguished_name.push(DnType::CommonName, "authority of a test");
        let authority_key = KeyPair::generate().unwrap();
        let trusted = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);

        let key = KeyPair::generate().unwrap();
        let shown = CertificateParams::new(["127.0.0.1".to_string()]).unwrap();
        let shown = shown.signed_by(&key, &issuer).unwrap();
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        Certificates {
            authority: write("authority.pem", trusted.pem()),
            certificate: write("certificate.pem", shown.pem()),
            key: write("key.pem", key.serialize_pem()),
        }
    }
}
