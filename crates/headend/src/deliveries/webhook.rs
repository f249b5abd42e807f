//! Webhooks: one POST of JSON for everything that happens to an alarm, signed so that the receiver knows who sent it
//! and when.
//!
//! `Meterseal-Signature: t=SECONDS,v1=HEX`, where HEX is HMAC-SHA-256 under the shared secret over SECONDS, a full
//! stop, and the body. `Meterseal-Delivery` is the delivery's number: an attempt whose answer was lost comes again under
//! the same one.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::pin::Pin;

use aws_lc_rs::hmac;
use axum::http::{Request, header};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use meterseal_model::UnixMillis;
use serde::Serialize;

use super::SendError;
use super::dial;
use super::receiver::Place;
use crate::api::types;
use crate::clock::rfc3339;
use crate::store::Delivery;

/// A connection that is kept between two deliveries.
#[derive(Debug, Default)]
pub(super) struct Webhook {
    connection: Option<SendRequest<String>>,
}

impl Webhook {
    /// Sends one delivery, and returns when the receiver has said that it has it.
    pub(super) async fn send(
        &mut self,
        place: &Place,
        path: &str,
        secret: &[u8],
        delivery: &Delivery,
        now: UnixMillis,
    ) -> Result<(), SendError> {
        // What had gone wrong with a kept connection is found out by using it: once anew then.
        let kept = self.connection.take().filter(|connection| !connection.is_closed());
        let mut fresh = kept.is_none();
        let mut connection = match kept {
            Some(connection) => connection,
            None => connect(place).await?,
        };
        loop {
            let outcome = post(&mut connection, place, path, secret, delivery, now).await;
            match outcome {
                Err(SendError::Unreachable(_)) if !fresh => {
                    connection = connect(place).await?;
                    fresh = true;
                }
                Err(SendError::Unreachable(why)) => return Err(SendError::Unreachable(why)),
                outcome => {
                    self.connection = Some(connection);
                    return outcome;
                }
            }
        }
    }
}

async fn connect(place: &Place) -> Result<SendRequest<String>, SendError> {
    let stream = dial::connect(place).await.map_err(|error| SendError::Unreachable(explain(&error)))?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    // Ends by itself when the sender is dropped or the other side closes.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a webhook's connection ended");
        }
    });
    Ok(sender)
}

async fn post(
    connection: &mut SendRequest<String>,
    place: &Place,
    path: &str,
    secret: &[u8],
    delivery: &Delivery,
    now: UnixMillis,
) -> Result<(), SendError> {
    connection.ready().await.map_err(unreachable)?;
    let body = body(delivery);
    let request = Request::post(path)
        .header(header::HOST, format!("{}:{}", place.host, place.port))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("meterseal/", env!("CARGO_PKG_VERSION")))
        .header(DELIVERY, delivery.id)
        .header(SIGNATURE, signature(secret, now.seconds(), &body))
        .body(body)
        .map_err(|error| SendError::Refused(error.to_string()))?;
    let answer = connection.send_request(request).await.map_err(unreachable)?;
    let status = answer.status();
    read_to_the_end(answer.into_body()).await?;
    if status.is_success() { Ok(()) } else { Err(SendError::Refused(format!("it answered {status}"))) }
}

/// What it says is of no interest, but the next request can only follow it.
async fn read_to_the_end(mut body: Incoming) -> Result<(), SendError> {
    let mut taken = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(unreachable)?;
        taken += frame.data_ref().map_or(0, |data| data.len());
        if taken > ANSWER_BYTES {
            return Err(SendError::Refused(format!("its answer is longer than {ANSWER_BYTES} bytes")));
        }
    }
    Ok(())
}

/// The header that says who sent the body, and when.
pub(super) fn signature(secret: &[u8], seconds: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(seconds.to_string().as_bytes());
    context.update(b".");
    context.update(body.as_bytes());
    let mut text = format!("t={seconds},v1=");
    for byte in context.sign().as_ref() {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The body. Made from what was kept when it happened, so that every attempt says the same.
pub(super) fn body(delivery: &Delivery) -> String {
    let Delivery { moment, .. } = delivery;
    let meter = delivery.meter.map(|meter| meter.to_string());
    let body = Message {
        format: "meterseal-alarm-1",
        delivery: delivery.id,
        change: moment.id,
        act: moment.act.into(),
        at: rfc3339(moment.at),
        by: moment.by.as_deref(),
        comment: moment.comment.as_deref(),
        text: &moment.text,
        event: moment.sequence.map(|sequence| Event {
            sequence,
            code: moment.code,
            at: moment.event_at.map(rfc3339),
        }),
        alarm: Alarm {
            id: delivery.alarm,
            meter: meter.as_deref(),
            cause: &delivery.cause,
            code: delivery.cause_code,
            severity: delivery.severity.into(),
            sentence: types::sentence(&delivery.cause, delivery.cause_code),
        },
    };
    // Strings and numbers only: nothing that JSON cannot say.
    serde_json::to_string(&body).unwrap_or_default()
}

#[derive(Serialize)]
struct Message<'a> {
    format: &'static str,
    delivery: u64,
    change: u64,
    act: types::AlarmAct,
    at: String,
    by: Option<&'a str>,
    comment: Option<&'a str>,
    text: &'a str,
    event: Option<Event>,
    alarm: Alarm<'a>,
}

#[derive(Serialize)]
struct Event {
    sequence: u64,
    code: Option<u8>,
    at: Option<String>,
}

#[derive(Serialize)]
struct Alarm<'a> {
    id: u64,
    meter: Option<&'a str>,
    cause: &'a str,
    code: Option<u8>,
    severity: types::Severity,
    sentence: String,
}

fn unreachable(error: hyper::Error) -> SendError {
    SendError::Unreachable(error.to_string())
}

fn explain(error: &std::io::Error) -> String {
    meterseal_link::tls::explain_io(error)
}

const SIGNATURE: &str = "meterseal-signature";
const DELIVERY: &str = "meterseal-delivery";

/// More than any receiver has to say.
const ANSWER_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac "$(printf 'k%.0s' {1..32})"`.
    #[test]
    fn the_signature_is_that_of_another_program() {
        assert_eq!(
            signature(&[b'k'; 32], 1_700_000_000, r#"{"a":1}"#),
            "t=1700000000,v1=6935b796c0fec66e5dee52c86c7fd1218a424c32f1adb239ff2893c31e54f033"
        );
    }
}
