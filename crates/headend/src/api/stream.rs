//! What happens, as it happens: server-sent events. A page that cannot keep up is told to fetch everything again;
//! nothing ever waits for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::{broadcast, watch};

use super::Api;
use super::types::Problem;
use crate::fleet::Update;
use crate::stopped;

/// Between heartbeats, so that both ends notice a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What happens, as it happens (server-sent events). Messages: `meter` carries a `Meter` whose state changed,
/// `live` a `LiveUpdate`, `event` an `Event` that is new or whose alarm changed, `alarm` an `AlarmUpdate`, `resync` nothing: the client was
/// too slow and messages were dropped, so it should fetch everything again (as after every reconnect). Comments
/// are heartbeats.
#[utoipa::path(get, path = "/stream", tag = "stream",
    responses(
        (status = 200, description = "An endless stream of server-sent events",
            content_type = "text/event-stream", body = String),
        (status = 401, description = "No session", body = Problem)))]
pub(super) async fn stream(State(api): State<Api>) -> Response {
    let reader = Reader { updates: api.fleet.subscribe(), stopping: api.stopping.clone(), greeted: false };
    let events = futures_util::stream::unfold(reader, Reader::next);
    Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response()
}

struct Reader {
    updates: broadcast::Receiver<Update>,
    stopping: watch::Receiver<bool>,
    greeted: bool,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if !self.greeted {
            // Sends the headers at once, and tells the browser how soon to come back, in milliseconds.
            self.greeted = true;
            return Some((Ok(Event::default().retry(Duration::from_secs(1))), self));
        }
        let update = tokio::select! {
            biased;
            () = stopped(&mut self.stopping) => return None,
            update = self.updates.recv() => update,
        };
        let (name, data) = message(update)?;
        let event = Event::default().event(name).data(&*data);
        Some((Ok(event), self))
    }
}

/// What a page is told. `None`: nothing will follow.
fn message(update: Result<Update, broadcast::error::RecvError>) -> Option<(&'static str, Arc<str>)> {
    match update {
        Ok(update) => Some((update.name, update.json)),
        Err(broadcast::error::RecvError::Lagged(missed)) => {
            tracing::debug!(missed, "a page was too slow and is told to fetch everything again");
            // What is still in the channel is newer than what will be fetched, or the same.
            Some(("resync", "{}".into()))
        }
        Err(broadcast::error::RecvError::Closed) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_page_is_told_to_fetch_everything_and_nobody_waits_for_it() {
        let (sender, mut receiver) = broadcast::channel(4);
        for k in 0..100 {
            sender.send(Update { name: "live", json: k.to_string().into() }).unwrap();
        }
        assert_eq!(message(receiver.recv().await), Some(("resync", "{}".into())));
        assert_eq!(message(receiver.recv().await), Some(("live", "96".into())));
        drop((sender, receiver.recv().await, receiver.recv().await, receiver.recv().await));
        assert_eq!(message(receiver.recv().await), None);
    }
}
