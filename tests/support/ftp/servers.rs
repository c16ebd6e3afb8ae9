//! FTP servers that nobody here wrote, configured for a test: vsftpd, proftpd and pyftpdlib, with and
//! without TLS, on loopback. Nothing of the system is changed. Must not know what is done with them.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::daemons::Daemon;
use crate::support::certificates::Certificates;
use crate::support::{python, tools, user};

/// A user whom every Debian has, and whose home exists, which vsftpd insists on.
const USER_NAME: &str = "daemon";
const USER: u32 = 1;
/// Who logs in at all of them but vsftpd, and the password.
const PILOT: &str = "pilot";
const PASSWORD: &str = "secret";
/// [`PASSWORD`], as crypt(3) has it.
const PASSWORD_HASH: &str = "$5$mavftp$FGDeElMw4fPFPhjX7qr.MJXYUuQQzh6oXlkarRZpo2A";
/// How often another port is tried when somebody has taken the one that was free.
const STARTS: usize = 3;
/// The folder that is served and may be written. The one above may not: vsftpd insists.
const FILES: &str = "files";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Knows no MLSD, and never says why it refuses something.
    Vsftpd,
    /// With the options it comes with; the largest of them.
    Proftpd,
    /// In Python.
    Pyftpdlib,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Plain,
    /// After AUTH TLS; data must be protected too.
    Explicit,
    /// From the first byte; data must be protected too.
    Implicit,
}

/// What a server does not do without being told to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manners {
    /// Closes a connection that was not used for so many seconds.
    pub idle_seconds: Option<u32>,
    /// Moves no more bytes in a second. Not for pyftpdlib.
    pub bytes_per_second: Option<u32>,
    /// Has no more sessions at a time. For vsftpd only.
    pub sessions_max: Option<u32>,
}

/// A running server with a folder of its own. Gone when dropped.
pub struct Server {
    kind: Kind,
    security: Security,
    manners: Manners,
    port: u16,
    daemon: Option<Daemon>,
    certificates: Option<Certificates>,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts it; it listens when this returns.
    pub fn start(kind: Kind, security: Security, manners: Manners) -> Server {
        let folder = user::open_directory();
        for inside in ["root", "empty"] {
            fs::create_dir(folder.path().join(inside)).unwrap();
        }
        let certificates = (security != Security::Plain).then(Certificates::new);
        write_secretly(&folder.path().join("password"), &format!("{PASSWORD}\n"));
        let passwords = format!("{PILOT}:{PASSWORD_HASH}:{USER}:{USER}::/:/bin/false\n");
        write_secretly(&folder.path().join("passwords"), &passwords);
        let port = 0;
        let mut server =
            Server { kind, security, manners, port, daemon: None, certificates, folder };
        fs::create_dir(server.far("")).unwrap();
        server.own();
        for _ in 0..STARTS {
            server.port = free_port();
            if server.run() {
                return server;
            }
        }
        panic!("{kind:?} does not start; it said:\n{}", server.said());
    }

    /// Starts it again where it was, after [`Server::kill`].
    pub fn restart(&mut self) {
        assert!(self.run(), "{:?} does not start again; it said:\n{}", self.kind, self.said());
    }

    /// Ends it at once, in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// Sends a signal to the server and its sessions.
    pub fn signal(&self, signal: i32) {
        self.daemon.as_ref().unwrap().signal(signal);
    }

    /// Whether it serves somebody now. Not for pyftpdlib.
    pub fn has_sessions(&self) -> bool {
        self.daemon.as_ref().unwrap().has_sessions()
    }

    /// SOURCE for our program: the folder of [`Server::far`].
    pub fn source(&self) -> String {
        self.source_of("")
    }

    /// SOURCE of a path below that.
    pub fn source_of(&self, path: &str) -> String {
        let scheme = match self.security {
            Security::Plain => "ftp",
            Security::Explicit => "ftpes",
            Security::Implicit => "ftps",
        };
        format!("{scheme}://{}@127.0.0.1:{}#/{FILES}/{path}", self.user(), self.port)
    }

    /// Options of our program that let it in.
    pub fn options(&self) -> Vec<String> {
        let folder = self.folder.path();
        let mut options = vec!["--password-file".into(), shown(&folder.join("password"))];
        if let Some(certificates) = &self.certificates {
            options.extend(["--ca-file".into(), shown(&certificates.authority())]);
        }
        options
    }

    /// Who logs in.
    pub fn user(&self) -> &'static str {
        match self.kind {
            // Others would have to be users of this system, or of a file of PAM's.
            Kind::Vsftpd => "ftp",
            Kind::Proftpd | Kind::Pyftpdlib => PILOT,
        }
    }

    /// The password.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Which server it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A path on the server's disk.
    pub fn far(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(FILES).join(name)
    }

    /// Gives everything that is served to the user who serves it.
    pub fn own(&self) {
        let mut paths = vec![self.far("")];
        while let Some(path) = paths.pop() {
            chown(&path, Some(USER), Some(USER)).unwrap();
            if path.is_dir() {
                paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }

    /// What it said at its start.
    pub fn said(&self) -> String {
        let read = |name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("printed") + &read("log")
    }

    fn run(&mut self) -> bool {
        // The old one lets go of the port first.
        self.daemon = None;
        let log = self.folder.path().join("printed");
        let configured = |text: String| {
            let path = self.folder.path().join("configuration");
            fs::write(&path, text).unwrap();
            shown(&path)
        };
        let program = |name| shown(&tools::tool(name));
        let command = match self.kind {
            Kind::Vsftpd => vec![program("vsftpd"), configured(self.vsftpd())],
            Kind::Proftpd => {
                let options = ["-n", "-q", "-c"].map(str::to_owned);
                let configuration = [configured(self.proftpd())];
                [&[program("proftpd")], &options[..], &configuration].concat()
            }
            Kind::Pyftpdlib => self.pyftpdlib(),
        };
        self.daemon = Daemon::start(&command, self.port, &log);
        self.daemon.is_some()
    }

    fn pyftpdlib(&self) -> Vec<String> {
        let root = shown(&self.folder.path().join("root"));
        let mut command = vec![shown(&python::interpreter()), "-u".into()];
        command.extend([shown(&python::script("pyftpdlib_server.py")), root]);
        command.extend(["--port".into(), self.port.to_string()]);
        if let Some(seconds) = self.manners.idle_seconds {
            command.extend(["--idle".into(), seconds.to_string()]);
        }
        if let Some(certificates) = &self.certificates {
            let how = if self.security == Security::Implicit { "implicit" } else { "explicit" };
            command.extend(certificates.arguments(how));
        }
        command
    }

    fn vsftpd(&self) -> String {
        let folder = self.folder.path().display();
        let port = self.port;
        let mut text = format!(
            "background=NO\nlisten=YES\nlisten_address=127.0.0.1\nlisten_port={port}\n\
             isolate=NO\nisolate_network=NO\nseccomp_sandbox=NO\ntcp_wrappers=NO\n\
             secure_chroot_dir={folder}/empty\nnopriv_user={USER_NAME}\nxferlog_enable=NO\n\
             local_enable=NO\nanonymous_enable=YES\nftp_username={USER_NAME}\n\
             anon_root={folder}/root\nsecure_email_list_enable=YES\n\
             email_password_file={folder}/password\nwrite_enable=YES\nanon_umask=022\n\
             anon_world_readable_only=NO\nanon_upload_enable=YES\n\
             anon_mkdir_write_enable=YES\nanon_other_write_enable=YES\n\
             delay_failed_login=0\n"
        );
        if let Some(certificates) = &self.certificates {
            let (certificate, key) =
                (shown(&certificates.certificate()), shown(&certificates.key()));
            let implicit = if self.security == Security::Implicit { "YES" } else { "NO" };
            text += &format!(
                "ssl_enable=YES\nimplicit_ssl={implicit}\nssl_ciphers=HIGH\n\
                 rsa_cert_file={certificate}\nrsa_private_key_file={key}\n\
                 allow_anon_ssl=YES\nforce_anon_logins_ssl=YES\nforce_anon_data_ssl=YES\n\
                 force_local_logins_ssl=YES\nforce_local_data_ssl=YES\nrequire_ssl_reuse=YES\n"
            );
        }
        let Manners { idle_seconds, bytes_per_second, sessions_max } = self.manners;
        let set = |name: &str, value: Option<u32>| {
            value.map_or_else(String::new, |value| format!("{name}={value}\n"))
        };
        text += &set("idle_session_timeout", idle_seconds);
        text += &set("anon_max_rate", bytes_per_second);
        text + &set("max_clients", sessions_max)
    }

    fn proftpd(&self) -> String {
        let folder = self.folder.path().display();
        let modules = tools::tool("proftpd").parent().unwrap().join("../servers/usr/lib/proftpd");
        let (port, modules) = (self.port, modules.display());
        let mut text = format!(
            "ServerType standalone\nDefaultAddress 127.0.0.1\nSocketBindTight on\nUseIPv6 off\n\
             Port {port}\nUser {USER_NAME}\nGroup {USER_NAME}\nDefaultRoot {folder}/root\n\
             PidFile {folder}/id\nScoreboardFile {folder}/scoreboard\nSystemLog {folder}/log\n\
             TransferLog none\nWtmpLog off\nUseReverseDNS off\nAuthPAM off\n\
             AuthOrder mod_auth_file.c\nAuthUserFile {folder}/passwords\nRequireValidShell off\n\
             AllowOverwrite on\nAllowStoreRestart on\nModulePath {modules}\n"
        );
        if let Some(certificates) = &self.certificates {
            let (certificate, key) =
                (shown(&certificates.certificate()), shown(&certificates.key()));
            text += &format!(
                "LoadModule mod_tls.c\nTLSEngine on\nTLSRequired on\n\
                 TLSECCertificateFile {certificate}\nTLSECCertificateKeyFile {key}\n"
            );
            if self.security == Security::Implicit {
                text += "TLSOptions UseImplicitSSL\n";
            }
        }
        if let Some(seconds) = self.manners.idle_seconds {
            text += &format!("TimeoutIdle {seconds}\n");
        }
        if let Some(rate) = self.manners.bytes_per_second {
            text += &format!("TransferRate RETR,STOR {}\n", rate >> 10);
        }
        text
    }
}

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// For its owner alone; proftpd insists.
fn write_secretly(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// A TCP port of loopback that nobody used a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
