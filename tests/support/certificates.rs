//! Certificates for servers on loopback, made for one test. Must not know who uses them.

use std::fs;
use std::path::PathBuf;

use mavftp_mount::remote::ftp::Fingerprint;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// Where servers of tests are.
pub const ADDRESS: &str = "127.0.0.1";

/// An authority and one server's certificate that it has signed, in files.
pub struct Certificates {
    folder: tempfile::TempDir,
    /// The server's own, by its sum.
    pub fingerprint: Fingerprint,
}

impl Certificates {
    /// Signed, in force, for 127.0.0.1 and localhost.
    pub fn new() -> Certificates {
        Certificates::of(&[ADDRESS, "localhost"], |_| ())
    }

    /// For another host than the one that is asked.
    pub fn for_another() -> Certificates {
        Certificates::of(&["drone.example", "10.1.2.3"], |_| ())
    }

    /// In force until a day in 2021.
    pub fn expired() -> Certificates {
        Certificates::of(&[ADDRESS], |server| {
            server.not_before = date_time_ymd(2020, 1, 1);
            server.not_after = date_time_ymd(2021, 3, 4);
        })
    }

    fn of(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Certificates {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        authority.distinguished_name.push(DnType::CommonName, "an authority of tests");
        let authority_key = KeyPair::generate().unwrap();
        let root = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut server = CertificateParams::new(names).unwrap();
        change(&mut server);
        let key = KeyPair::generate().unwrap();
        let certificate = server.signed_by(&key, &issuer).unwrap();
        Certificates::write(&certificate, &key, &root.pem())
    }

    /// Signs itself, as `openssl req -x509` makes it: an authority at once.
    pub fn self_made() -> Certificates {
        let mut server = CertificateParams::new(vec![ADDRESS.to_owned()]).unwrap();
        server.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = server.self_signed(&key).unwrap();
        Certificates::write(&certificate, &key, &certificate.pem())
    }

    fn write(certificate: &rcgen::Certificate, key: &KeyPair, root: &str) -> Certificates {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in
            [("cert", &*certificate.pem()), ("key", &*key.serialize_pem()), ("ca", root)]
        {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let sum = ring::digest::digest(&ring::digest::SHA256, certificate.der());
        let fingerprint = Fingerprint(sum.as_ref().try_into().unwrap());
        Certificates { folder, fingerprint }
    }

    /// The authority, PEM.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca")
    }

    /// The server's certificate, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert")
    }

    /// The server's key, PEM.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    /// `--tls <mode> --cert … --key …`, for servers of `tests/peers`.
    pub fn arguments(&self, mode: &str) -> Vec<String> {
        let file = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        ["--tls", mode, "--cert", &file("cert"), "--key", &file("key")].map(str::to_owned).into()
    }
}
