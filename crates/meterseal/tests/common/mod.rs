//! A running `meterseal up`, and just enough HTTP to be its visitor.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test program uses a part of it, and ends where it cannot go on"
)]

pub(crate) mod listening;

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use meterseal_link::keys::DeviceSecret;
use serde_json::Value;

pub(crate) struct Up {
    child: Child,
    pub(crate) page: String,
    pub(crate) gateway: String,
    cookie: String,
    output: Lines<BufReader<ChildStdout>>,
}

impl Up {
    /// Starts on free ports and opens the one-time link.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_by(&mut command(data))
    }

    pub(crate) fn start_with(data: &Path, options: &[&str]) -> Self {
        Self::start_by(command(data).args(options))
    }

    pub(crate) fn start_by(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut value = |name: &str| {
            let line = lines.next().expect("up prints its addresses").unwrap();
            line.strip_prefix(name).unwrap_or_else(|| panic!("{name}: {line}")).trim().to_owned()
        };
        let link = value("page").strip_prefix("http://").unwrap().to_owned();
        let gateway = value("gateway").split(' ').next().unwrap().to_owned();
        let (page, path) = link.split_once('/').unwrap();
        let (page, path) = (page.to_owned(), format!("/{path}"));
        let mut up = Self { child, page, gateway, cookie: String::new(), output: lines };
        let answer = up.request("GET", &path, "");
        let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a session");
        up.cookie = cookie.split(';').next().unwrap().to_owned();
        up
    }

    /// What it says next.
    pub(crate) fn line(&mut self) -> String {
        self.output.next().expect("up says more").unwrap()
    }

    /// The answer to a GET, as JSON.
    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.request("GET", path, "");
        let (head, body) =
            answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {path}: {answer}"));
        assert!(head.lines().next().is_some_and(|status| status.contains(" 200 ")), "{path}: {head}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// Posts JSON as the page does; gives the status line.
    pub(crate) fn post(&self, path: &str, body: &str) -> String {
        self.request("POST", path, body).lines().next().unwrap_or_default().to_owned()
    }

    /// The whole answer to a request, with the session's cookie.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.page).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (page, cookie, length) = (&self.page, &self.cookie, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {page}\r\nOrigin: http://{page}\r\nCookie: {cookie}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks until `found` finds what it looks for.
    pub(crate) fn wait_for<T>(&self, path: &str, found: impl Fn(&Value) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.get(path);
            if let Some(value) = found(&answer) {
                return value;
            }
            assert!(Instant::now() < deadline, "not in 30 s: {path}: {answer}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until every meter shows a reading.
    pub(crate) fn wait_for_readings(&self) {
        self.wait_for("/api/v1/meters", |meters| {
            let meters = meters.as_array()?;
            (meters.len() == 3 && meters.iter().all(|meter| !meter["live"].is_null())).then_some(())
        });
    }

    /// Resident memory, KiB (proc(5)).
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is sealed in a file of a meter's folder.
pub(crate) fn unsealed(meter: &Path, name: &str) -> Vec<u8> {
    let secret = DeviceSecret::open_or_create(&meter.join("device.secret")).unwrap();
    let sealed = std::fs::read(meter.join(name)).unwrap();
    secret.open(&format!("meterseal {name}"), &sealed).unwrap().to_vec()
}

/// `meterseal up` on free ports.
pub(crate) fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meterseal"));
    command.args(["up", "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--data"]).arg(data);
    command
}

/// Runs a command that must be refused; gives its one line. One that starts all the same is ended, and said.
pub(crate) fn refused(command: &mut Command) -> String {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > REFUSED_WITHIN {
            child.kill().unwrap();
            panic!("{command:?} was not refused");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    said
}

/// Far more than a refusal takes on a busy machine, far less than the test runner's patience.
const REFUSED_WITHIN: Duration = Duration::from_secs(60);
