//! The command line as users type it.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::remote::ftp::NameEncoding;
use crate::{commands, serve};

fn parse(line: &str) -> Result<Invocation, clap::Error> {
    super::parse(line.split_whitespace().map(OsString::from))
}

fn mount(line: &str) -> mount::Options {
    match parse(line).unwrap().command {
        Command::Mount(options) => *options,
        other => panic!("{other:?}"),
    }
}

fn refusal(line: &str) -> String {
    let error = parse(line).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

#[test]
fn every_default_of_a_mount_is_as_documented() {
    let options = mount("mavftp-mount udp:14550 /mnt/drone");
    assert_eq!(options.address, "udp:14550".parse().unwrap());
    assert!(options.path.is_root());
    assert_eq!(options.mountpoint, Path::new("/mnt/drone"));
    assert_eq!(options.access, Access::Owner);
    assert!(!options.foreground && !options.read_only && !options.nonempty);
    assert_eq!((options.uid, options.gid, options.umask), (None, None, 0o022));
    assert_eq!(options.cache_bytes, 256 << 20);
    assert_eq!(options.directory_time, Duration::from_secs(10));
    assert_eq!(options.log_file, None);
    let mavlink = options.connection.mavlink;
    assert_eq!((mavlink.own_system, mavlink.own_component, mavlink.target), (245, 191, None));
    assert_eq!(mavlink.mount_timeout, Duration::from_secs(20));
    assert_eq!(mavlink.op_timeout, Duration::from_secs(10));
    assert_eq!(mavlink.link_timeout, Duration::from_secs(5));
    assert_eq!(mavlink.rate_limit, None);
    assert_eq!(options.connection.login.user, None);
}

#[test]
fn every_option_of_a_mount_is_taken() {
    let options = mount(
        "mavftp-mount -f --read-only --allow-other --uid 1000 --gid 100 --umask 077 \
         --cache-size 64M --dir-cache-time 500ms --target 3:1 --own-system-id 9 \
         --own-component-id 8 --mount-timeout 1s --op-timeout 2s --link-timeout 3s \
         --rate-limit 10k --log-file /tmp/x udpout:[::1]:14550#/fs/microsd /mnt",
    );
    assert!(options.foreground && options.read_only);
    assert_eq!(options.access, Access::Everyone);
    assert_eq!((options.uid, options.gid, options.umask), (Some(1000), Some(100), 0o077));
    assert_eq!(options.cache_bytes, 64 << 20);
    assert_eq!(options.directory_time, Duration::from_millis(500));
    assert_eq!(options.path, RemotePath::parse(b"/fs/microsd").unwrap());
    assert_eq!(options.log_file.as_deref(), Some(Path::new("/tmp/x")));
    let mavlink = options.connection.mavlink;
    assert_eq!((mavlink.own_system, mavlink.own_component), (9, 8));
    assert_eq!(mavlink.target, Some((3, Some(1))));
    assert_eq!(mavlink.mount_timeout, Duration::from_secs(1));
    assert_eq!(mavlink.op_timeout, Duration::from_secs(2));
    assert_eq!(mavlink.link_timeout, Duration::from_secs(3));
    assert_eq!(mavlink.rate_limit, Some(10 << 10));
}

#[test]
fn mount_options_are_the_same_options_by_another_name() {
    let options = mount(
        "mavftp-mount udp:14550 /mnt -o ro,allow_other,uid=1000,gid=100 -o umask=077,nonempty \
         -o target=2:1,cache_size=64M,op_timeout=3s,rate_limit=2M",
    );
    assert!(options.read_only && options.nonempty);
    assert_eq!(options.access, Access::Everyone);
    assert_eq!((options.uid, options.gid, options.umask), (Some(1000), Some(100), 0o077));
    assert_eq!(options.connection.mavlink.target, Some((2, Some(1))));
    assert_eq!(options.connection.mavlink.op_timeout, Duration::from_secs(3));
    assert_eq!(options.connection.mavlink.rate_limit, Some(2 << 20));
    assert_eq!(options.cache_bytes, 64 << 20);
}

#[test]
fn words_of_fstab_that_are_not_for_us_change_nothing() {
    let shown = |line: &str| format!("{:?}", mount(line));
    let fstab = "noauto,nofail,_netdev,x-systemd.automount,user,defaults,rw,nosuid,noatime";
    let with = shown(&format!("mavftp-mount udp:14550 /mnt -o {fstab}"));
    assert_eq!(with, shown("mavftp-mount udp:14550 /mnt"));
}

#[test]
fn the_last_of_two_contrary_options_holds_and_a_long_one_beats_a_list() {
    assert!(!mount("mavftp-mount udp:14550 /mnt -o ro,rw").read_only);
    assert!(mount("mavftp-mount udp:14550 /mnt -o rw -o ro").read_only);
    assert_eq!(mount("mavftp-mount --uid 1 udp:14550 /mnt -o uid=2").uid, Some(1));
}

#[test]
fn an_unknown_mount_option_is_named() {
    assert!(refusal("mavftp-mount udp:14550 /mnt -o ro,frobnicate=3").contains("`frobnicate`"));
    assert!(refusal("mavftp-mount udp:14550 /mnt -o help").contains("`help`"));
    assert!(refusal("mavftp-mount udp:14550 /mnt -o uid=x").contains("--uid"));
}

#[test]
fn verbs_take_their_places() {
    match parse("mavftp-mount ls -l tcp:localhost:5760#/log").unwrap().command {
        Command::List(ls::Options { place, long: true, .. }) => {
            assert_eq!(place.path, RemotePath::parse(b"/log").unwrap());
            assert_eq!(format!("{:?}", place.options), format!("{:?}", api::Options::default()));
        }
        other => panic!("{other:?}"),
    }
    match parse("mavftp-mount get --target 1 udp:14550#/a.ulg").unwrap().command {
        Command::Get(get::Options { place, local: None, recursive: false, .. }) => {
            assert_eq!(place.options.mavlink.target, Some((1, None)));
        }
        other => panic!("{other:?}"),
    }
    match parse("mavftp-mount put a.lua udp:14550#/scripts").unwrap().command {
        Command::Put(put::Options { locals, place, saving, .. }) => {
            assert_eq!(saving, Default::default());
            assert_eq!(locals, [Path::new("a.lua")]);
            assert_eq!(place.path, RemotePath::parse(b"/scripts").unwrap());
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(parse("mavftp-mount cat udp:14550#/a").unwrap().command, Command::Cat { .. }));
}

fn served(line: &str) -> commands::serve::Options {
    match parse(&format!("mavftp-mount serve {line}")).unwrap().command {
        Command::Serve(options) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn serve_is_read_only_unless_told_otherwise() {
    let plain = served("udpout:127.0.0.1:14550 /srv").serving;
    assert!(!plain.writable);
    assert_eq!((plain.system_id, plain.component_id), (serve::SYSTEM_ID, serve::COMPONENT_ID));
    assert_eq!(plain.server, Default::default());
    let other = served("--writable --system-id 7 --component-id 1 udp:1 /srv").serving;
    assert!(other.writable);
    assert_eq!((other.system_id, other.component_id), (7, 1));
    assert!(refusal("mavftp-mount serve udp:1#/x /srv").contains("no #/path"));
    let limited = served("--hide *.key --hide /a --writable --max-bytes 1M udp:1 .").serving;
    let hidden: Vec<String> = limited.hide.iter().map(ToString::to_string).collect();
    assert_eq!((hidden.join(" "), limited.max_bytes), ("*.key /a".into(), Some(1 << 20)));
    assert!(refusal("mavftp-mount serve --hide [a udp:1 .").contains("`[a` is no pattern"));
    assert!(refusal("mavftp-mount serve --hide a/../b udp:1 .").contains("can never match"));
    assert!(refusal("mavftp-mount serve --max-bytes 1M udp:1 .").contains("--writable"));
    assert!(refusal("mavftp-mount serve --writable --max-bytes 1T udp:1 .").contains("64K"));
}

#[test]
fn serve_takes_endpoints_and_then_one_directory_or_a_root_file() {
    let options = served("udp:1 tcpin:2 /dev/ttyS1:57600 /dev/shm");
    let texts: Vec<_> = options.serving.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["udp:1", "tcpin:2", "serial:/dev/ttyS1:57600"]);
    assert_eq!(options.serving.directory, Path::new("/dev/shm"));
    let options = served("--root-file /etc/root udp:1 udp:2");
    assert_eq!(options.serving.endpoints.len(), 2);
    assert_eq!(options.root_file.as_deref(), Some(Path::new("/etc/root")));
}

#[test]
fn serve_is_a_camera_when_told_so_and_as_fast_as_it_is_told() {
    let camera = served("--type camera --max-rate 100k udp:1 /srv").serving;
    assert_eq!((camera.vehicle_type, camera.component_id), (serve::TYPE_CAMERA, 100));
    assert_eq!(camera.server.max_rate, Some(100 << 10));
    let second = served("--type camera --component-id 101 udp:1 /srv").serving;
    assert_eq!((second.vehicle_type, second.component_id), (serve::TYPE_CAMERA, 101));
}

#[test]
fn logging_is_counted() {
    let line = "mavftp-mount -vv udp:14550 /mnt --log-file l --log-format json";
    let log = parse(line).unwrap().log;
    let format = LogFormat::Json;
    assert_eq!(log, Log { verbose: 2, quiet: false, file: Some("l".into()), format });
    assert!(parse("mavftp-mount ls -q udp:14550").unwrap().log.quiet);
}

#[test]
fn an_unknown_source_shows_the_spellings_and_not_itself() {
    let text = refusal("mavftp-mount udq:14550 /mnt");
    assert!(text.contains("udp:") && text.contains("ftp://"), "{text}");
    assert!(!refusal("mavftp-mount ftp://me:secret@host /mnt").contains("secret"));
    assert!(refusal("mavftp-mount udp:14550#fs /mnt").contains("#/path"));
    assert!(refusal("mavftp-mount udp:14550#/a/../b /mnt").contains("path after #"));
}

#[test]
fn a_command_in_the_wrong_place_is_told_the_right_one() {
    assert!(refusal("mavftp-mount -v ls udp:14550").contains("comes first"));
}

#[test]
fn a_mount_needs_both_source_and_mount_point() {
    for line in ["mavftp-mount", "mavftp-mount udp:14550"] {
        assert!(refusal(line).contains("MOUNTPOINT"), "{line}");
    }
    assert!(refusal("mavftp-mount ls").contains("SOURCE"));
    assert!(refusal("mavftp-mount udp:14550 /mnt /more").contains("/more"));
}

#[test]
fn values_without_sense_are_refused_with_their_option() {
    assert!(refusal("mavftp-mount --op-timeout 10 udp:14550 /mnt").contains("--op-timeout"));
    assert!(refusal("mavftp-mount --cache-size lots udp:14550 /mnt").contains("--cache-size"));
    assert!(refusal("mavftp-mount --target 0 udp:14550 /mnt").contains("--target"));
    assert!(refusal("mavftp-mount ls --rate-limit 0 udp:14550").contains("--rate-limit"));
    assert!(refusal("mavftp-mount --own-system-id 300 udp:14550 /mnt").contains("--own-system-id"));
}

#[test]
fn a_password_comes_from_the_first_line_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "geheim\nmore\n").unwrap();
    let line = format!("mavftp-mount --password-file {} ftp://me@host/sd /mnt", file.display());
    let options = mount(&line);
    assert_eq!(options.connection.login.password.as_deref(), Some("geheim"));
    assert_eq!(options.path, RemotePath::parse(b"/sd").unwrap());
    assert!(!format!("{options:?}").contains("geheim"));
    let missing = refusal("mavftp-mount --password-file /none ftp://host /mnt");
    assert!(missing.contains("/none"));
}

const SUM: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[test]
fn every_option_for_ftp_servers_is_taken_as_an_option_and_in_a_list() {
    let file = "--ca-file /etc/x.pem --connections 4 --active --encoding latin1";
    let list = "-o ca_file=/etc/x.pem,connections=4,active,encoding=latin1";
    for given in [file, list] {
        let ftp = mount(&format!("mavftp-mount ftpes://me@host /mnt {given}")).connection.ftp;
        assert_eq!(ftp.trust, Trust::CaFile("/etc/x.pem".into()));
        assert_eq!((ftp.connections, ftp.active), (4, true));
        assert_eq!(ftp.encoding, Some(NameEncoding::Latin1));
    }
    let ftp = mount(&format!("mavftp-mount ftps://host /mnt -o tls_fingerprint={SUM}"));
    assert_eq!(ftp.connection.ftp.trust, Trust::Fingerprint(SUM.parse().unwrap()));
    let other = mount("mavftp-mount --user you ftp://me@host /mnt").connection.login;
    assert_eq!(other.user.as_deref(), Some("you"));
    let plain = mount("mavftp-mount ftp://host /mnt").connection.ftp;
    assert_eq!(plain, api::FtpOptions::default());
    let relative = mount("mavftp-mount ftps://host /mnt --ca-file x.pem").connection.ftp;
    assert!(matches!(relative.trust, Trust::CaFile(path) if path.is_absolute()));
}

#[test]
fn believing_everything_is_warned_of_and_nothing_else_is() {
    let warning = |line: &str| parse(&format!("mavftp-mount {line}")).unwrap().warning();
    for line in ["ls -q ftps://host --insecure", "ftpes://host /mnt -o insecure"] {
        assert!(warning(line).unwrap().contains("--insecure"), "{line}");
    }
    assert_eq!(warning("ls ftps://host"), None);
    assert_eq!(warning("ls udp:14550 --insecure"), None);
}

#[test]
fn help_shows_addresses_groups_and_examples() {
    let error = parse("mavftp-mount --help").unwrap_err();
    assert_eq!(error.exit_code(), 0);
    let text = error.to_string();
    for part in ["Addresses:", "udpout:", "Link:", "Cache:", "Examples:", "serve", "--allow-other"]
    {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    for line in ["-h", "ls -h", "cat -h", "get -h", "put -h", "probe -h", "serve -h"] {
        let short = parse(&format!("mavftp-mount {line}")).unwrap_err().to_string();
        let long = parse(&format!("mavftp-mount {}", line.replace("-h", "--help")));
        assert_eq!(short, long.unwrap_err().to_string());
        assert!(short.contains("Example"), "{short}");
        let wide: Vec<_> = short.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{wide:?}");
    }
}

#[test]
fn every_usage_error_is_one_line_that_says_what_is_right() {
    for (line, part) in [
        ("", "SOURCE and MOUNTPOINT are missing"),
        ("udp:14550", "MOUNTPOINT is missing"),
        ("udp:14550 /mnt /more", "/more is one argument too many"),
        ("/mnt/drone udp:14550", "write: mavftp-mount udp:14550 /mnt/drone"),
        ("10.0.0.1:14550 /mnt", "udpout:HOST:PORT"),
        ("drone /mnt", "neither a command nor an address"),
        ("status /mnt", "not built yet"),
        ("umount /mnt", "umount MOUNTPOINT"),
        ("help", "--help"),
        ("--op-timeoutt 1s udp:14550 /mnt", "did you mean --op-timeout?"),
        ("--frobnicate udp:14550 /mnt", "mavftp-mount --help"),
        ("--op-timeout", "needs a value"),
        ("--read-only=yes udp:14550 /mnt", "--read-only"),
        ("--uid bob udp:14550 /mnt", "as 1000 is"),
        ("ls", "SOURCE[#/PATH] is missing; write: mavftp-mount ls"),
        ("ls -a udp:14550", "mavftp-mount ls --help"),
        ("put udp:14550", "write: mavftp-mount put"),
        ("get udp:14550", "udp:14550#/path"),
        ("cat udp:14550#/", "udp:14550#/path"),
        ("serve", "ENDPOINT and DIRECTORY are missing"),
        ("serve ftp://host .", "MAVLink link"),
        ("serve card", "ENDPOINT is missing; write: mavftp-mount serve"),
        ("serve udp:1", "DIRECTORY is missing; write: mavftp-mount serve"),
        ("serve udp:1 udp:2", "DIRECTORY is missing"),
        ("serve card udp:1", "write: mavftp-mount serve udp:1 card"),
        ("serve udp:1 udp:1 card", "udp:1 is named twice"),
        ("serve --root-file a", "ENDPOINT is missing"),
        ("serve --root-file a udp:1 card", "named twice"),
        ("serve --type gcs udp:1 card", "failsafe"),
        ("serve --max-rate 0 udp:1 card", "10k or 2M"),
        ("ls --password-file a --password-stdin ftp://host", "--password-stdin"),
        ("ls --insecure --ca-file a ftps://host", "--ca-file"),
        ("ls --ca-file a --tls-fingerprint sha256:00 ftps://host", "64 hexadecimal digits"),
        ("ls --insecure ftp://host", "write ftpes://"),
        ("ls --connections 9 ftp://host", "from 1 to 8"),
        ("ls --encoding ebcdic ftp://host", "utf8 or latin1"),
    ] {
        let text = refusal(&format!("mavftp-mount {line}"));
        assert_eq!(text.lines().count(), 1, "{line}: {text}");
        assert!(text.starts_with("error: ") && text.contains(part), "{line}: {text}");
    }
}

#[test]
fn a_slash_at_the_end_of_a_place_means_a_directory() {
    for (line, directory) in [("udp:1#/a/", true), ("udp:1#/a", false), ("udp:1", false)] {
        match parse(&format!("mavftp-mount ls {line}")).unwrap().command {
            Command::List(ls::Options { place, .. }) => {
                assert_eq!(place.directory, directory, "{line}")
            }
            other => panic!("{other:?}"),
        }
    }
}
