//! Tests of addresses.

use super::*;
use proptest::prelude::*;

fn address(text: &str) -> Address {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn shown(text: &str) -> String {
    address(text).to_string()
}

fn error(text: &str) -> String {
    text.parse::<Address>().expect_err(text).to_string()
}

#[test]
fn every_spelling_of_every_tool_is_understood() {
    for (text, same) in [
        ("udp:14550", "udp:14550"),
        ("udp::14550", "udp:14550"),
        ("udp://:14540", "udp:14540"),
        ("udp:127.0.0.1:14550", "udp:127.0.0.1:14550"),
        ("udpin:0.0.0.0:14550", "udp:0.0.0.0:14550"),
        ("udpin://0.0.0.0:14550", "udp:0.0.0.0:14550"),
        ("udp:[::]:14550", "udp:[::]:14550"),
        ("udp:0", "udp:0"),
        ("udpout:drone.local:14550", "udpout:drone.local:14550"),
        ("udpout://10.0.0.1:14550", "udpout:10.0.0.1:14550"),
        ("udpout:[fe80::1%eth0]:14550", "udpout:[fe80::1%eth0]:14550"),
        ("udpbcast:192.168.1.255:14550", "udpbcast:192.168.1.255:14550"),
        ("tcp:localhost:5760", "tcp:localhost:5760"),
        ("tcp://localhost:5760", "tcp:localhost:5760"),
        ("tcpout://localhost:5760", "tcp:localhost:5760"),
        ("tcpin:0.0.0.0:5760", "tcpin:0.0.0.0:5760"),
        ("tcpin:5760", "tcpin:5760"),
        ("tcpin://0.0.0.0:5760", "tcpin:0.0.0.0:5760"),
        ("udpbcast://10.0.0.255:14550", "udpbcast:10.0.0.255:14550"),
        ("serial:/dev/ttyUSB0", "serial:/dev/ttyUSB0:57600"),
        ("serial:/dev/ttyUSB0:921600", "serial:/dev/ttyUSB0:921600"),
        ("serial:///dev/x:57600", "serial:/dev/x:57600"),
        ("serial:////dev/x", "serial:/dev/x:57600"),
        ("/dev/ttyACM0", "serial:/dev/ttyACM0:57600"),
        ("/dev/ttyACM0,115200", "serial:/dev/ttyACM0:115200"),
        ("/dev/serial/by-path/pci-0:1:1.0", "serial:/dev/serial/by-path/pci-0:1:1.0:57600"),
        ("ftp://host", "ftp://host"),
        ("ftp://user@host:21/a%20b", "ftp://user@host/a%20b"),
        ("ftp://us%40er@[::1]:2121/", "ftp://us%40er@[::1]:2121/"),
        ("ftps://user@host", "ftps://user@host"),
        ("ftps://user@host:990", "ftps://user@host"),
        ("ftpes://user@host:990", "ftpes://user@host:990"),
    ] {
        assert_eq!(shown(text), same, "{text}");
        assert_eq!(address(&shown(text)), address(text), "{text}");
    }
}

#[test]
fn an_unknown_spelling_is_told_the_common_ones() {
    for text in ["", "14550", "COM3", "udp", "mavlink:14550", "UDP:14550", "host:14550"] {
        let error = error(text);
        assert!(
            error.contains("udp:[HOST:]PORT or udpout:") && error.contains("ftp://"),
            "{error}"
        );
    }
}

#[test]
fn a_wrong_rest_is_told_its_form_and_its_fault() {
    for (text, form, reason) in [
        ("udp:", "udp:[HOST:]PORT", "port is missing"),
        ("udp:+5", "udp:[HOST:]PORT", "no number"),
        ("udp:65536", "udp:[HOST:]PORT", "65535"),
        ("udp:14550/x", "udp:[HOST:]PORT", "no number"),
        ("udpout:14550", "udpout:HOST:PORT", "host is missing"),
        ("udpout:host:0", "udpout:HOST:PORT", "port 0"),
        ("tcp:::1:5760", "tcp:HOST:PORT", "brackets"),
        ("tcp:[::1:5760", "tcp:HOST:PORT", "bracket"),
        ("tcp:a b:5760", "tcp:HOST:PORT", "no host name"),
        ("serial:ttyUSB0", "serial:DEVICE[:BAUD]", "slash"),
        ("serial:////", "serial:DEVICE[:BAUD]", "slash"),
        ("/dev/ttyUSB0,fast", "/dev/NAME[,BAUD]", "number"),
        ("/dev/ttyUSB0,0", "/dev/NAME[,BAUD]", "no speed"),
        ("ftp://", "ftp://", "host is missing"),
        ("ftp://@host", "ftp://", "user's name is missing"),
        ("ftp://a%0D%0ADELE@host", "ftp://", "no user's name"),
        ("ftp://host/%zz", "ftp://", "hexadecimal"),
        ("ftp://host:port", "ftp://", "no number"),
    ] {
        let error = error(text);
        assert!(error.contains(form) && error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn a_password_is_refused_and_not_repeated() {
    for text in ["ftp://me:s3cret@host/", "ftps://me:@host", "ftpes://me:s3/cret@host"] {
        let error = error(text);
        assert!(error.contains("--password-file") && !error.contains("s3"), "{error}");
    }
}

#[test]
fn a_source_names_a_place_on_the_far_side() {
    let source: Source = "udp:14550#/fs/microsd".parse().unwrap();
    assert_eq!(
        (source.address.clone(), source.path.as_slice()),
        (address("udp:14550"), &b"/fs/microsd"[..])
    );
    assert_eq!(source.to_string(), "udp:14550#/fs/microsd");
    assert_eq!("udp:14550".parse::<Source>().unwrap().path, b"");
    assert_eq!(Source::parse(b"udp:14550#/a\xFF#b").unwrap().path, b"/a\xFF#b");
    let ftp: Source = "ftp://me@host/a%20b#/c".parse().unwrap();
    assert_eq!(
        (ftp.to_string().as_str(), ftp.path.as_slice()),
        ("ftp://me@host#/a b/c", &b"/a b/c"[..])
    );
    for text in ["udp:14550#", "udp:14550#x", "udp:14550#x/y"] {
        assert_eq!(text.parse::<Source>(), Err(AddressError::Place));
    }
}

#[test]
fn an_ftp_server_is_no_link() {
    for text in ["ftp://host", "ftps://host", "ftpes://host"] {
        let error = address(text).open().err().unwrap().to_string();
        assert!(error.contains("is an FTP server"), "{error}");
    }
}

#[test]
fn a_port_in_use_names_the_likely_holder() {
    let first = address("udp:127.0.0.1:0").open().unwrap();
    let port = first.local_address().unwrap().port();
    let error = address(&format!("udp:127.0.0.1:{port}")).open().err().unwrap().to_string();
    assert!(error.contains("another program listens"), "{error}");
    assert!(error.contains(&format!("use udp:{}", port.wrapping_add(1).max(1))), "{error}");
    let known = OpenError::PortInUse { port: 14550 }.to_string();
    assert!(known.contains("QGroundControl or another mount listens on 14550; let it forward to 14551 and use udp:14551"));
}

#[test]
fn a_tcp_port_in_use_and_a_foreign_address_are_told_the_way_out() {
    let first = address("tcpin:127.0.0.1:0").open().unwrap();
    let port = first.local_address().unwrap().port();
    let error = address(&format!("tcpin:127.0.0.1:{port}")).open().err().unwrap().to_string();
    assert!(
        error.contains("in use") && error.contains(&format!("tcp:localhost:{port}")),
        "{error}"
    );
    // TEST-NET-1: nobody's.
    for (text, way) in [("tcpin:192.0.2.1:1", "tcp:192.0.2.1:1"), ("udp:192.0.2.1:1", "udpout:")] {
        let error = address(text).open().err().unwrap().to_string();
        assert!(error.contains(way), "{error}");
    }
    let error = address("udpbcast:[::1]:14550").open().err().unwrap().to_string();
    assert!(error.contains("IPv6 has no broadcast"), "{error}");
}

#[test]
fn a_line_that_cannot_be_opened_is_told_what_to_do() {
    for (text, part) in [
        ("/dev/no-such-line", "plugged in"),
        ("serial:/dev/null", "not a serial device"),
        ("serial:/dev", "not a serial device"),
    ] {
        let error = address(text).open().err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    }
    let refused = |number| {
        let error = std::io::Error::from_raw_os_error(number);
        address("/dev/ttyUSB0").line_refused("/dev/ttyUSB0", error).to_string()
    };
    assert!(refused(libc::EACCES).contains("dialout"));
    assert!(refused(libc::EBUSY).contains("in use by another program"));
}

#[test]
fn links_are_opened_by_name_and_number() {
    for (text, stream) in [
        ("udp:0", false),
        ("udp:localhost:0", false),
        ("udpout:localhost:14550", false),
        ("tcp:localhost:1", true),
        ("tcpin:0", true),
        ("tcpin://127.0.0.1:0", true),
        ("udpbcast:127.255.255.255:14550", false),
    ] {
        let link = address(text).open().unwrap();
        assert_eq!(link.is_stream(), stream);
    }
}

#[test]
fn the_help_shows_every_spelling() {
    let help = help();
    for lead in
        ["udp:", "udpin:", "udpout:", "udpbcast:", "tcp:", "tcpin:", "serial:", "/dev/", "ftpes://"]
    {
        assert!(help.lines().any(|line| line.trim_start().starts_with(lead)), "{lead}");
    }
}

/// Texts near the grammar.
fn near_address() -> impl Strategy<Value = String> {
    let lead = prop_oneof![
        Just("udp:"),
        Just("udpin://"),
        Just("udpout:"),
        Just("udpbcast:"),
        Just("tcp:"),
        Just("tcpin:"),
        Just("serial:"),
        Just("serial://"),
        Just("/dev/"),
        Just("ftp://"),
        Just("ftps://"),
        Just("ftpes://"),
        Just(""),
    ];
    (lead, "[a-z0-9:,/@%#.\\[\\]-]{0,20}|[a-z.]{1,9}:[0-9]{1,5}|(/dev/)?[a-z:,0-9]{1,12}|([a-z%0-9]{1,5}@)?[a-z]{1,5}(:[0-9]{1,4})?(/[a-z%0-9]{0,9})?")
        .prop_map(|(lead, rest)| format!("{lead}{rest}"))
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text: String) {
        let _ = text.parse::<Address>();
        let _ = text.parse::<Source>();
    }

    #[test]
    fn what_an_address_shows_parses_back_to_it(text in near_address()) {
        if let Ok(address) = text.parse::<Address>() {
            prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
        }
        if let Ok(source) = text.parse::<Source>()
            && std::str::from_utf8(&source.path).is_ok()
        {
            prop_assert_eq!(source.to_string().parse::<Source>(), Ok(source));
        }
    }
}
