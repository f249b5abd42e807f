//! Requests of people and programs, served between cyclic reads: each answered, whatever happens to the connection.

use meterseal_link::client::Limits;
use meterseal_link::{ClientError, DlmsClient, Value};
use meterseal_model::MeterId;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{AcquisitionError, Session};
use crate::requests::{Progress, Request, Requests, Task};

/// A request that is with the meter. Dropped without an answer, as when the connection's task is ended, it is one that
/// was interrupted.
struct UnderWay<'a> {
    requests: &'a Requests,
    meter: MeterId,
    id: u64,
    answered: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// Serves one request. An error ends the connection.
    pub(super) async fn serve(&mut self, request: Request) -> Result<(), AcquisitionError> {
        let under_way = UnderWay::new(self.requests, &request);
        if let Some(why) = self.forbidden(&request.task) {
            under_way.answer(Progress::Refused(why));
            return Ok(());
        }
        // A value may come in as many blocks as the client takes.
        self.reserve_more_than(Limits::default().blocks + super::MARGIN).await?;
        Ok(perform(&mut self.client, request, under_way).await?)
    }
}

/// Serves one request on any client whose counters allow it.
///
/// # Errors
/// The error that ended the session; the request is answered or waits again by then.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut DlmsClient<S>,
    requests: &Requests,
    request: Request,
) -> Result<(), ClientError> {
    let under_way = UnderWay::new(requests, &request);
    perform(client, request, under_way).await
}

async fn perform<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut DlmsClient<S>,
    request: Request,
    under_way: UnderWay<'_>,
) -> Result<(), ClientError> {
    let outcome = match request.task {
        Task::Get { class, obis, attribute } => client.get(class, obis, attribute).await,
        Task::Set { class, obis, attribute, value } => {
            client.set(class, obis, attribute, value).await.map(|()| Value::Null)
        }
        Task::Action { class, obis, method, parameter } => {
            client.action(class, obis, method, parameter).await
        }
    };
    match outcome {
        Ok(value) => under_way.answer(Progress::Done(value)),
        Err(ClientError::Access(refused)) => under_way.answer(Progress::Refused(refused.to_string())),
        Err(error) if !error.is_fatal() => under_way.answer(Progress::Failed(error.to_string())),
        // The meter's own answer breaks the session each time: asking again would break the next one too.
        Err(
            error @ (ClientError::ValueTooLong { .. }
            | ClientError::TooManyBlocks { .. }
            | ClientError::Value(_)),
        ) => {
            under_way.answer(Progress::Failed(error.to_string()));
            return Err(error);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

impl<'a> UnderWay<'a> {
    fn new(requests: &'a Requests, request: &Request) -> Self {
        Self { requests, meter: request.meter, id: request.id, answered: false }
    }

    fn answer(mut self, progress: Progress) {
        self.answered = true;
        self.requests.finish(self.meter, self.id, progress);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.requests.interrupted(self.meter, self.id, "the connection ended");
        }
    }
}
