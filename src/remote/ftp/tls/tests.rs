//! Streams against a server's side of TLS that ends well or badly, and replies in the clear.

use std::net::{TcpListener, TcpStream};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::*;
use crate::remote::ftp::Trust;

fn expected(mut text: &[u8], code: u32) -> Result<(), Failure> {
    expect(&mut text, code)
}

#[test]
fn a_greeting_of_several_lines_ends_with_its_code_and_a_space() {
    assert!(expected(b"220 ready\r\n", READY).is_ok());
    let long = b"220-hello\r\n220-200 is no end\r\n 221 nor this\r\n220 ok\r\n";
    assert!(expected(long, READY).is_ok());
    let full = expected(b"421 Too many connections\r\n", READY);
    assert!(matches!(full, Err(Failure::Refused(reply)) if replies::code(&reply) == 421));
    assert!(matches!(expected(b"220-hello\r\n", READY), Err(Failure::Io(_))));
    assert!(matches!(expected(b"", READY), Err(Failure::Io(_))));
    assert!(matches!(expected(&[b'x'; 9 << 10], READY), Err(Failure::Distrusted(_))));
}

#[test]
fn nothing_behind_a_reply_is_taken() {
    let mut text: &[u8] = b"234 go on\r\n230 you are logged in\r\n";
    assert!(expect(&mut text, AUTH_ACCEPTED).is_ok());
    assert_eq!(text, b"230 you are logged in\r\n");
}

/// A server's side.
fn server() -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap();
    let key = made.signing_key.serialize_pem();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config)
}

fn connector() -> Connector {
    let options = Options { trust: Trust::Anything, ..Options::new("localhost", 1) };
    let judge = Arc::new(Judge::new(&options.trust).unwrap());
    Connector::new(&options, &judge, &TLS12).unwrap()
}

/// What a stream reads of a server that says `done.` and closes, properly or not.
fn read_all(connector: &Connector, role: Role, properly: bool) -> io::Result<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(server()).unwrap();
        rustls::Stream::new(&mut tls, &mut socket).write_all(b"done.").unwrap();
        if properly {
            tls.send_close_notify();
        }
        while tls.wants_write() {
            tls.write_tls(&mut socket).unwrap();
        }
        socket.shutdown(Shutdown::Write).unwrap();
        // Its goodbye is waited for: closing before would be a reset.
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let mut stream = connector.stream(TcpStream::connect(address).unwrap(), role).unwrap();
    let mut bytes = Vec::new();
    let read = stream.mut_ref().read_to_end(&mut bytes);
    drop(stream);
    server.join().unwrap();
    read.map(|_| bytes)
}

#[test]
fn a_server_that_just_closes_a_data_connection_has_ended_it() {
    let connector = connector();
    for _ in 0..2 {
        assert_eq!(read_all(&connector, Role::Data, false).unwrap(), b"done.");
    }
}

#[test]
fn a_server_that_has_said_goodbye_once_must_go_on_saying_it() {
    let connector = connector();
    assert_eq!(read_all(&connector, Role::Data, true).unwrap(), b"done.");
    let cut = read_all(&connector, Role::Data, false).unwrap_err();
    assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_control_connection_that_is_cut_is_no_end() {
    let cut = read_all(&connector(), Role::Control, false).unwrap_err();
    assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
}
