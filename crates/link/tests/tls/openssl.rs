//! Debian's `openssl` as a peer: `s_client` knocking on us, `s_server` answering us.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use meterseal_link::pki::IssuedIdentity;

/// Whether there is an `openssl`; says so where there is none.
pub(crate) fn available() -> bool {
    let found = Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: no openssl on this machine");
    }
    found
}

/// A client that knocks and stays until it is dropped.
pub(crate) struct Knock(Child);

impl Knock {
    pub(crate) fn start(
        dir: &Path,
        address: SocketAddr,
        identity: Option<&IssuedIdentity>,
        args: &[&str],
    ) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-connect", &address.to_string()]).args(args);
        if let Some(identity) = identity {
            command.args(files(dir, identity));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

/// A server that asks for a certificate and takes any.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    /// Held, because the server ends when nobody reads what it prints.
    _output: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn start(dir: &Path, identity: &IssuedIdentity, args: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command
            .args(["s_server", "-accept", "127.0.0.1:0", "-verify", "2"])
            .args(args)
            .args(files(dir, identity));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("ACCEPT ") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "openssl s_server did not start");
        }
        Self { child, address: line["ACCEPT ".len()..].trim().to_owned(), _output: output }
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Stores the identity and gives the arguments that name it.
fn files(dir: &Path, identity: &IssuedIdentity) -> Vec<String> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let dir: PathBuf = dir.join(format!("openssl-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    identity.save(&dir).unwrap();
    let file = |name: &str| dir.join(name).display().to_string();
    vec![
        "-cert".into(),
        file("certificate.pem"),
        "-cert_chain".into(),
        file("certificate.pem"),
        "-key".into(),
        file("key.pem"),
    ]
}
