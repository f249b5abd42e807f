//! A part of `meterseal fleet` in a process of its own: a head-end or its meters, and what it says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::run::{execute, program};

/// A running part, ended when dropped.
pub(crate) struct Part {
    child: Child,
    lines: Receiver<String>,
    /// What it writes on standard error, where that was asked for.
    pub(crate) log: Option<Receiver<String>>,
}

impl Part {
    pub(crate) fn start(binary: &Path, folder: &Path, meters: usize, options: &[&str]) -> Result<Self> {
        Self::start_with(binary, folder, meters, options, None)
    }

    /// The same, with its log at a level (as in `RUST_LOG`) for the caller.
    pub(crate) fn start_with(
        binary: &Path,
        folder: &Path,
        meters: usize,
        options: &[&str],
        level: Option<&str>,
    ) -> Result<Self> {
        let mut command = program(&binary.to_string_lossy());
        command.args(["fleet", "--meters"]).arg(meters.to_string()).arg("--data").arg(folder).args(options);
        command.stdout(Stdio::piped());
        if let Some(level) = level {
            command.env("RUST_LOG", level).env("NO_COLOR", "1").stderr(Stdio::piped());
        }
        let mut child = command.spawn().context("cannot start meterseal")?;
        let stdout = child.stdout.take().context("meterseal has no standard output")?;
        let lines = follow(stdout);
        let log = child.stderr.take().map(follow);
        Ok(Self { child, lines, log })
    }

    pub(crate) fn wait(&self, limit: Duration, mut is_it: impl FnMut(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + limit;
        let mut last = String::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if is_it(&line) => return Ok(line),
                Ok(line) => last = line,
                Err(_) => {
                    bail!("the fleet does not come to where it should within {limit:?}; it last said: {last}")
                }
            }
        }
    }

    /// What it has said since it was last asked.
    pub(crate) fn said(&self) -> impl Iterator<Item = String> + '_ {
        self.lines.try_iter()
    }

    pub(crate) fn memory_kib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("no VmRSS value")?.parse()?)
    }

    /// User and system time so far (proc(5): fields 14 and 15 of stat, in ticks of 1/100 s on Linux).
    fn processor_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
        Ok((ticks(11).context("no user time")? + ticks(12).context("no system time")?) / 100.0)
    }

    /// Waits until it has done what it had to do: for two seconds it takes less than a quarter of a processor.
    pub(crate) fn settle(&self, limit: Duration) -> Result<()> {
        const LOOK: Duration = Duration::from_secs(2);
        let end = Instant::now() + limit;
        loop {
            let before = self.processor_seconds()?;
            std::thread::sleep(LOOK);
            if self.processor_seconds()? - before < LOOK.as_secs_f64() / 4.0 {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("a part of the fleet is still busy after {limit:?}");
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        execute(program("kill").args([name, &self.child.id().to_string()]))
    }

    /// Ctrl-C, and waits for the end.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal("-INT")?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("a part of the fleet did not stop cleanly ({status})");
        }
        Ok(())
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Already ended after `stop`; then both calls have nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        // Nobody listening any more is the end.
        let _ = BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
    });
    lines
}

/// Meters, rows and events in `online    8 of 8, stored 64 rows 8 events`.
pub(crate) fn stored(line: &str) -> Option<(usize, usize, usize)> {
    let mut words = line.strip_prefix("online")?.split_whitespace();
    let count = words.next()?.parse().ok()?;
    let rows = words.nth(3)?.parse().ok()?;
    let events = words.nth(1)?.parse().ok()?;
    Some((count, rows, events))
}

/// Meters and rows of such a line.
pub(crate) fn online(line: &str) -> Option<(usize, usize)> {
    stored(line).map(|(count, rows, _)| (count, rows))
}

/// The program in a folder of its own run: whoever builds anew meanwhile changes nothing there.
pub(crate) fn own_copy(binary: &Path, folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let copy = folder.join("meterseal");
    std::fs::copy(binary, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
    Ok(copy)
}

/// The machine's load averages.
pub(crate) fn load() -> String {
    let averages = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    averages.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// The page of a running head-end, as a browser that has used its link.
pub(crate) struct Page {
    address: String,
    cookie: String,
}

impl Page {
    /// Uses the link in a line `page      http://…/open?token=…`.
    pub(crate) fn open(line: &str) -> Result<Self> {
        let link =
            line.split_whitespace().find_map(|word| word.strip_prefix("http://")).context("no link")?;
        let (address, path) = link.split_once('/').context("the page link has no path")?;
        let mut page = Self { address: address.to_owned(), cookie: String::new() };
        let mut answer = page.request(&format!("/{path}"))?;
        let mut head = String::new();
        answer.read_to_string(&mut head)?;
        let cookie = head.lines().find(|line| line.to_ascii_lowercase().starts_with("set-cookie:"));
        let cookie =
            cookie.and_then(|line| line.split([':', ';']).nth(1)).context("the link opened no session")?;
        page.cookie = cookie.trim().to_owned();
        Ok(page)
    }

    fn request(&self, path: &str) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).context("the page does not answer")?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\nconnection: close\r\n\r\n",
            self.address, self.cookie
        )?;
        Ok(stream)
    }

    /// An answer of the API.
    pub(crate) fn get(&self, path: &str) -> Result<serde_json::Value> {
        let mut answer = String::new();
        self.request(path)?.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("{path}: {}", head.lines().next().unwrap_or_default());
        }
        serde_json::from_str(body).with_context(|| format!("{path} is not JSON"))
    }

    /// What the stream says from now on: the name and data of each message.
    pub(crate) fn stream(&self, mut each: impl FnMut(&str, &str) + Send + 'static) -> Result<()> {
        let stream = BufReader::new(self.request("/api/v1/stream")?);
        std::thread::spawn(move || {
            let mut name = String::new();
            for line in stream.lines().map_while(Result::ok) {
                // Chunk sizes stand on lines of their own and mean nothing here.
                if let Some(text) = line.trim_end().strip_prefix("event: ") {
                    text.clone_into(&mut name);
                } else if let Some(data) = line.trim_end().strip_prefix("data: ") {
                    each(&name, data);
                }
            }
        });
        Ok(())
    }
}
