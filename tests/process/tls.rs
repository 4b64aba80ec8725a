//! TLS 1.3, and new certificates without a restart.

use std::{fs, path::Path, sync::Arc};

use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, pki_types::CertificateDer, version};

use crate::Served;

/// Writes a new certificate for `localhost` and its key; gives the certificate.
fn certify(folder: &Path) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    certificate.der().clone()
}

/// What a handshake that trusts only `root` comes to.
fn handshake(
    server: &Served,
    root: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut connection =
        rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[test]
fn tls_is_version_1_3_and_a_hangup_reads_new_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let old = certify(folder.path());
    let mut server = Served::start(
        folder.path(),
        &[("SIGILO__TLS__CERTIFICATE_FILE", "certificate.pem"), ("SIGILO__TLS__PRIVATE_KEY_FILE", "key.pem")],
    );
    handshake(&server, &old, &[&version::TLS13]).unwrap();

    let new = certify(folder.path());
    assert!(handshake(&server, &new, &[&version::TLS13]).is_err(), "not read yet");
    server.signal(Signal::HUP);
    server.until("read the certificates again");
    handshake(&server, &new, &[&version::TLS13]).unwrap();
    assert!(handshake(&server, &old, &[&version::TLS13]).is_err());

    fs::write(folder.path().join("key.pem"), "broken").unwrap();
    server.signal(Signal::HUP);
    server.until("kept the old certificates");
    handshake(&server, &new, &[&version::TLS13]).unwrap();
}
