//! What both sides of a protected connection agreed on, in words. Must not know why that is asked.

use rustls::ProtocolVersion;

use super::Tls;

impl Tls {
    /// The version and the cipher suite that both sides agreed on.
    pub fn protection(&self) -> Option<(String, String)> {
        let inner = self.0.inner.lock();
        let version = match inner.connection.protocol_version()? {
            ProtocolVersion::TLSv1_2 => "TLS 1.2".into(),
            ProtocolVersion::TLSv1_3 => "TLS 1.3".into(),
            other => format!("{other:?}"),
        };
        let cipher = inner.connection.negotiated_cipher_suite()?;
        Some((version, format!("{:?}", cipher.suite())))
    }
}
