//! Syslog (RFC 5424): over TLS with octet counting (RFC 5425), and on the loopback over TCP framed the same way
//! (RFC 6587, 3.4.1) or one datagram a message (RFC 5426).
//!
//! Syslog has no answer: delivered means handed to the operating system. What a broken connection swallowed is lost to
//! the log server; the webhook and the alarm's own history know more.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use meterseal_model::event::Severity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::SendError;
use super::dial::{self, Stream};
use super::receiver::Place;
use crate::clock::rfc3339;
use crate::store::{AlarmAct, Delivery};

/// What is kept between two messages.
#[derive(Debug, Default)]
pub(super) struct Syslog {
    stream: Option<Stream>,
    socket: Option<(UdpSocket, SocketAddr)>,
}

impl Syslog {
    /// Hands one message over.
    pub(super) async fn send(
        &mut self,
        place: &Place,
        datagrams: bool,
        delivery: &Delivery,
        host: &str,
    ) -> Result<(), SendError> {
        let message = message(delivery, host);
        let sent = if datagrams {
            self.datagram(place, message.as_bytes()).await
        } else {
            self.framed(place, &message).await
        };
        sent.map_err(|error| SendError::Unreachable(meterseal_link::tls::explain_io(&error)))
    }

    async fn datagram(&mut self, place: &Place, message: &[u8]) -> std::io::Result<()> {
        let (socket, to) = match self.socket.take() {
            Some(kept) => kept,
            None => {
                let to = dial::addresses(place).await?[0];
                let any: IpAddr =
                    if to.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
                (UdpSocket::bind((any, 0)).await?, to)
            }
        };
        socket.send_to(message, to).await?;
        self.socket = Some((socket, to));
        Ok(())
    }

    async fn framed(&mut self, place: &Place, message: &str) -> std::io::Result<()> {
        let mut kept = self.stream.take();
        if let Some(stream) = &mut kept
            && !still_open(stream).await
        {
            kept = None;
        }
        let mut stream = match kept {
            Some(stream) => stream,
            None => dial::connect(place).await?,
        };
        let frame = format!("{} {message}", message.len());
        stream.write_all(frame.as_bytes()).await?;
        stream.flush().await?;
        self.stream = Some(stream);
        Ok(())
    }
}

/// A log server says nothing; what can be read is its end.
async fn still_open(stream: &mut Stream) -> bool {
    let mut byte = [0; 64];
    tokio::time::timeout(std::time::Duration::ZERO, stream.read(&mut byte)).await.is_err()
}

/// A message of RFC 5424.
pub(super) fn message(delivery: &Delivery, host: &str) -> String {
    let moment = &delivery.moment;
    let priority = FACILITY * 8 + priority(delivery.severity, moment.act);
    let mut text = format!(
        "<{priority}>1 {} {host} meterseal {} {} ",
        rfc3339(moment.at),
        std::process::id(),
        moment.act.name()
    );
    let meter = delivery.meter.map(|meter| meter.to_string());
    let sequence = moment.sequence.map(|sequence| sequence.to_string());
    let code = delivery.cause_code.map(|code| code.to_string());
    let event_at = moment.event_at.map(rfc3339);
    let parameters = [
        ("meter", meter.as_deref()),
        ("code", code.as_deref()),
        ("sequence", sequence.as_deref()),
        ("cause", Some(delivery.cause.as_str())),
        ("severity", Some(severity(delivery.severity))),
        ("act", Some(moment.act.name())),
        ("alarm", Some(&*delivery.alarm.to_string())),
        ("change", Some(&*moment.id.to_string())),
        ("eventTime", event_at.as_deref()),
        ("by", moment.by.as_deref()),
        ("comment", moment.comment.as_deref()),
    ]
    .map(|(name, value)| (name, value.map(str::to_owned)));
    let _ = write!(text, "[{STRUCTURED_DATA}");
    for (name, value) in &parameters {
        if let Some(value) = value {
            let _ = write!(text, " {name}=\"{}\"", escaped(cut(value, PARAMETER_BYTES)));
        }
    }
    let _ = write!(text, "][meta sequenceId=\"{}\"] \u{FEFF}", moment.id % SEQUENCE_IDS + 1);
    if let Some(meter) = &meter {
        let _ = write!(text, "{meter}: ");
    }
    text.extend(cut(&moment.text, TEXT_BYTES).chars().map(|c| if c.is_control() { ' ' } else { c }));
    text
}

/// RFC 5424, 6.2.1: critical, warning; for what became better, informational.
fn priority(severity: Severity, act: AlarmAct) -> u8 {
    match (act, severity) {
        (AlarmAct::Acknowledged | AlarmAct::Cleared, _) => 6,
        (_, Severity::Critical) => 2,
        (_, Severity::Warning) => 4,
        (_, Severity::Notice) => 5,
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Notice => "notice",
    }
}

/// RFC 5424, 6.3.3: quotation mark, backslash and closing bracket. Line breaks are allowed, and nobody is glad of them.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' | '\\' | ']' => text.extend(['\\', c]),
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    text
}

fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// This machine's name as RFC 5424 takes it; a hyphen where it has none.
pub(super) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(char::is_ascii_graphic).take(255).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

/// 13, log audit (RFC 5424, 6.2.1).
const FACILITY: u8 = 13;
/// 32473 is the enterprise number for examples (RFC 5612): Meterseal has none of its own.
const STRUCTURED_DATA: &str = "meterseal@32473";
/// RFC 5424, 7.3.1: sequence identifiers run from 1 to 2 147 483 647.
const SEQUENCE_IDS: u64 = 2_147_483_647;
/// A message stays under the 2 048 bytes that every receiver should take (RFC 5424, 6.1).
const PARAMETER_BYTES: usize = 256;
const TEXT_BYTES: usize = 700;
