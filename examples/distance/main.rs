//! A TCP relay that puts an FTP server at a distance, for benchmarks. Knows of FTP only where data
//! connections go (PASV and EPSV, without TLS): each passes through a port of its own, as far away as
//! the control connection. Bandwidth is not limited, and nothing is lost.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

mod announced;
mod line;

use line::Passage;

const USAGE: &str = "\
usage: distance SERVER_PORT MS

Prints `ready PORT`: who connects to that port of 127.0.0.1 reaches SERVER_PORT, MS milliseconds away
each way. A connection costs what it costs at that distance: the server sees it when its third packet
would be there. Ends when its standard input ends.";

/// A client's first packet, the server's answer and the client's own: only with that one the server has
/// the connection. The kernel tells the client at once; what it sends too early waits here meanwhile.
const PACKETS_TO_CONNECT: u32 = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((server, delay)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match serve(server, delay) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("distance: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Option<(u16, Duration)> {
    let [server, delay] = arguments else { return None };
    let delay = delay.parse().ok().map(Duration::from_millis)?;
    Some((server.parse().ok()?, delay))
}

/// Takes control connections until standard input ends.
fn serve(server: u16, delay: Duration) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("ready {}", listener.local_addr()?.port());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let accepted = Instant::now();
            // Where the server is gone, the client finds its connection closed.
            thread::spawn(move || {
                connect(client, accepted, server, delay, Passage::Control(delay))
            });
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// Where a data connection will come in that the server awaits on `server`.
fn await_data(server: u16, delay: Duration) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        // One that never comes leaves this thread and its port behind, in a program that ends soon.
        let (client, _) = listener.accept()?;
        connect(client, Instant::now(), server, delay, Passage::Data)
    });
    Ok(port)
}

/// Joins a client that was accepted to the server, when that would have it; until both have ended.
fn connect(
    client: TcpStream,
    accepted: Instant,
    server: u16,
    delay: Duration,
    from_server: Passage,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (sender, receiver) = channel();
    let from_client = client.try_clone()?;
    thread::spawn(move || line::read(from_client, &sender, Passage::Data));
    line::sleep_until(accepted + PACKETS_TO_CONNECT * delay);
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).inspect_err(|_| {
        // Its reader would keep it open.
        let _ = client.shutdown(Shutdown::Both);
    })?;
    server.set_nodelay(true)?;
    let to_server = server.try_clone()?;
    thread::spawn(move || line::write(to_server, receiver, delay));

    let (sender, receiver) = channel();
    let writer = thread::spawn(move || line::write(client, receiver, delay));
    let read = line::read(server, &sender, from_server);
    drop(sender);
    let _ = writer.join();
    read
}
