//! GET, SET and ACTION: single, with list, by range, in blocks.

use dlms_cosem_rs::Obis as CodecObis;
use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::client::{BlockSender, Response};
use dlms_cosem_rs::codec::Decode as _;
use dlms_cosem_rs::xdlms::{
    AttributeDescriptor, AttributeDescriptorWithSelection, GetDataResult, List, MethodDescriptor,
    SelectiveAccess, ServiceError,
};
use dlms_cosem_rs::{Error as CodecError, ErrorKind};
use meterseal_model::Obis;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::exchange::{DlmsClient, SCRATCH, refused_by};
use super::value::Value;
use super::{AccessError, CaptureObject, ClientError};

/// The most attributes in one GET with list; longer lists are split.
const LIST_CHUNK: usize = 32;

/// Room that a request's header takes beside its value.
const HEADER: usize = 64;

impl<S: AsyncRead + AsyncWrite + Unpin> DlmsClient<S> {
    /// Reads an attribute.
    ///
    /// # Errors
    /// [`ClientError::Access`] when the meter refuses; see [`ClientError`] for the rest.
    pub async fn get(&mut self, class: u16, object: Obis, attribute: i8) -> Result<Value, ClientError> {
        self.get_selected(class, object, attribute, None).await
    }

    /// Reads several attributes with as few messages as the meter allows, one result each, in order.
    ///
    /// # Errors
    /// [`ClientError`] when the request as a whole failed.
    pub async fn get_list(
        &mut self,
        items: &[(u16, Obis, i8)],
    ) -> Result<Vec<Result<Value, AccessError>>, ClientError> {
        let mut results = Vec::with_capacity(items.len());
        for chunk in items.chunks(LIST_CHUNK) {
            match self.get_chunk(chunk, &mut results).await {
                Ok(()) => {}
                // Another maker's meter without lists, or without room for this one: one by one.
                Err(ClientError::NotSupported(_) | ClientError::AnswerTooLong) => {
                    for &(class, object, attribute) in chunk {
                        results.push(match self.get(class, object, attribute).await {
                            Ok(value) => Ok(value),
                            Err(ClientError::Access(refused)) => Err(refused),
                            Err(other) => return Err(other),
                        });
                    }
                }
                Err(other) => return Err(other),
            }
        }
        Ok(results)
    }

    /// Reads the rows of a profile whose value of the restricting column lies in `from ..= to`
    /// (IEC 62056-6-2, Profile generic, selective access by range). Cells that say "as before" are filled in.
    ///
    /// # Errors
    /// [`ClientError::TooManyRows`] when there are more than `max_rows`; see [`ClientError`] for the rest.
    pub async fn profile_by_range(
        &mut self,
        profile: Obis,
        restricting: CaptureObject,
        from: Value,
        to: Value,
        max_rows: usize,
    ) -> Result<Vec<Vec<Value>>, ClientError> {
        let (class, object, attribute) = restricting;
        let column = vec![Value::U16(class), Value::obis(object), Value::I8(attribute), Value::U16(0)];
        let range = Value::Structure(vec![Value::Structure(column), from, to, Value::Array(Vec::new())]);
        let buffer = self.get_selected(PROFILE_GENERIC, profile, PROFILE_BUFFER, Some((1, &range))).await?;
        rows(buffer, max_rows)
    }

    /// Reads rows of a profile by position, 1 being the oldest; `to` = 0 means up to the newest.
    ///
    /// # Errors
    /// As [`profile_by_range`](Self::profile_by_range).
    pub async fn profile_by_entry(
        &mut self,
        profile: Obis,
        from: u32,
        to: u32,
        max_rows: usize,
    ) -> Result<Vec<Vec<Value>>, ClientError> {
        let entries = Value::Structure(vec![Value::U32(from), Value::U32(to), Value::U16(1), Value::U16(0)]);
        let buffer = self.get_selected(PROFILE_GENERIC, profile, PROFILE_BUFFER, Some((2, &entries))).await?;
        rows(buffer, max_rows)
    }

    /// Writes an attribute, in blocks where it does not fit into one message.
    ///
    /// # Errors
    /// [`ClientError::Access`] when the meter refuses; see [`ClientError`] for the rest.
    pub async fn set(
        &mut self,
        class: u16,
        object: Obis,
        attribute: i8,
        value: Value,
    ) -> Result<(), ClientError> {
        let deadline = self.begin()?;
        let descriptor = AttributeDescriptor::new(class, CodecObis::from_bytes(object.0), attribute);
        let encoded = value.encode();
        let answer = if self.fits(encoded.len()) {
            let data = Data::from_bytes_in(&encoded).map_err(ClientError::NotSupported)?;
            let length = self
                .session
                .set_request(descriptor, None, data, &mut self.request)
                .map_err(ClientError::NotSupported)?;
            self.exchange(length, deadline).await?
        } else {
            let sender =
                self.session.set_transfer(descriptor, None, &encoded).map_err(ClientError::NotSupported)?;
            self.send_blocks(sender, deadline).await?
        };
        let outcome = match self.session.handle_response(&answer, &mut self.plain).map_err(unreadable)? {
            Response::Ok => Ok(()),
            Response::DataError(result) => Err(AccessError::from(result).into()),
            other => return Err(unexpected("SET", &other)),
        };
        self.settle();
        outcome
    }

    /// Invokes a method and gives what it returns, [`Value::Null`] for nothing.
    ///
    /// # Errors
    /// [`ClientError::Access`] when the meter refuses; see [`ClientError`] for the rest.
    pub async fn action(
        &mut self,
        class: u16,
        object: Obis,
        method: i8,
        parameter: Option<Value>,
    ) -> Result<Value, ClientError> {
        let deadline = self.begin()?;
        let descriptor = MethodDescriptor::new(class, CodecObis::from_bytes(object.0), method);
        let encoded = parameter.map(|value| value.encode()).unwrap_or_default();
        let answer = if self.fits(encoded.len()) {
            let data = match encoded.as_slice() {
                [] => None,
                bytes => Some(Data::from_bytes_in(bytes).map_err(ClientError::NotSupported)?),
            };
            let length = self
                .session
                .action_request(descriptor, data, &mut self.request)
                .map_err(ClientError::NotSupported)?;
            self.exchange(length, deadline).await?
        } else {
            let sender =
                self.session.action_transfer(descriptor, &encoded).map_err(ClientError::NotSupported)?;
            self.send_blocks(sender, deadline).await?
        };
        let outcome = match self.session.handle_response(&answer, &mut self.plain).map_err(unreadable)? {
            Response::ActionResult { result, value } if result.is_success() => {
                Ok(value.map_or(Ok(Value::Null), Value::from_data)?)
            }
            Response::ActionResult { result, .. } => Err(AccessError::from(result).into()),
            other => return Err(unexpected("ACTION", &other)),
        };
        self.settle();
        outcome
    }

    async fn get_selected(
        &mut self,
        class: u16,
        object: Obis,
        attribute: i8,
        selection: Option<(u8, &Value)>,
    ) -> Result<Value, ClientError> {
        let deadline = self.begin()?;
        let descriptor = AttributeDescriptor::new(class, CodecObis::from_bytes(object.0), attribute);
        let encoded = selection.map(|(selector, parameters)| (selector, parameters.encode()));
        let access = match &encoded {
            None => None,
            Some((selector, bytes)) => Some(SelectiveAccess {
                selector: *selector,
                parameters: Data::from_bytes_in(bytes).map_err(ClientError::NotSupported)?,
            }),
        };
        let length = self
            .session
            .get_request(descriptor, access, &mut self.request)
            .map_err(ClientError::NotSupported)?;
        let outcome = match self.collect(length, deadline).await? {
            Collected::Refused(error) => Err(error.into()),
            Collected::TooLong => Err(ClientError::AnswerTooLong),
            Collected::Whole(GetAnswer::Value(value)) => Ok(value),
            Collected::Whole(GetAnswer::List(_)) => {
                return Err(ClientError::Unexpected { asked: "GET", found: "a list".to_owned() });
            }
            Collected::Blocks(bytes) => Ok(Value::decode(&bytes)?),
        };
        self.settle();
        outcome
    }

    async fn get_chunk(
        &mut self,
        items: &[(u16, Obis, i8)],
        results: &mut Vec<Result<Value, AccessError>>,
    ) -> Result<(), ClientError> {
        let deadline = self.begin()?;
        let list: Vec<_> = items
            .iter()
            .map(|&(class, object, attribute)| AttributeDescriptorWithSelection {
                descriptor: AttributeDescriptor::new(class, CodecObis::from_bytes(object.0), attribute),
                access: None,
            })
            .collect();
        let length = self
            .session
            .get_request_with_list(&list, &mut self.request)
            .map_err(ClientError::NotSupported)?;
        let answers = match self.collect(length, deadline).await? {
            Collected::Refused(error) => {
                self.settle();
                return Err(error.into());
            }
            Collected::TooLong => {
                self.settle();
                return Err(ClientError::AnswerTooLong);
            }
            Collected::Whole(GetAnswer::List(answers)) => answers,
            Collected::Whole(GetAnswer::Value(_)) => {
                return Err(ClientError::Unexpected {
                    asked: "GET with list",
                    found: "one value".to_owned(),
                });
            }
            Collected::Blocks(bytes) => owned_list(List::from_bytes(&bytes).map_err(unreadable)?)?,
        };
        if answers.len() != items.len() {
            let found = format!("{} results for {} attributes", answers.len(), items.len());
            return Err(ClientError::Unexpected { asked: "GET with list", found });
        }
        self.settle();
        results.extend(answers);
        Ok(())
    }

    /// Sends a GET and gathers its answer, block by block where it comes so.
    async fn collect(&mut self, mut length: usize, deadline: Instant) -> Result<Collected, ClientError> {
        let limit = self.limits.value_bytes;
        let mut gathered = Vec::new();
        let mut expected = 1;
        loop {
            let answer = self.exchange(length, deadline).await?;
            let number = match self.session.handle_response(&answer, &mut self.plain).map_err(unreadable)? {
                Response::DataError(result) => return Ok(Collected::Refused(result.into())),
                // The answer to this very request, so nothing is outstanding after it.
                Response::Exception(exception) if exception.service_error == ServiceError::PduTooLong => {
                    return Ok(Collected::TooLong);
                }
                Response::Data(data) if expected == 1 => {
                    return Ok(Collected::Whole(GetAnswer::Value(Value::from_data(data)?)));
                }
                Response::DataList(list) if expected == 1 => {
                    return Ok(Collected::Whole(GetAnswer::List(owned_list(list)?)));
                }
                Response::Block { last, number, data } if number == expected => {
                    // An empty block that is not the last would let a transfer go on for ever.
                    if gathered.len() + data.len() > limit || (data.is_empty() && !last) {
                        return Err(ClientError::ValueTooLong { limit });
                    }
                    gathered.extend_from_slice(data);
                    if last {
                        return Ok(Collected::Blocks(gathered));
                    }
                    number
                }
                other => return Err(unexpected("GET", &other)),
            };
            if number >= self.limits.blocks {
                return Err(ClientError::TooManyBlocks { limit: self.limits.blocks });
            }
            expected = number + 1;
            length = self
                .session
                .get_next_block_request(number, &mut self.request)
                .map_err(ClientError::NotSupported)?;
        }
    }

    /// Sends a long value block by block and gives the answer to the last.
    async fn send_blocks(
        &mut self,
        mut sender: BlockSender<'_>,
        deadline: Instant,
    ) -> Result<Vec<u8>, ClientError> {
        loop {
            let length = self
                .session
                .next_block_request(&mut sender, &mut self.request)
                .map_err(ClientError::NotSupported)?;
            let answer = self.exchange(length, deadline).await?;
            if sender.is_done() {
                return Ok(answer);
            }
            match self.session.handle_response(&answer, &mut self.plain).map_err(unreadable)? {
                Response::BlockAccepted { number } if number == sender.block() => {}
                Response::DataError(result) => {
                    self.settle();
                    return Err(AccessError::from(result).into());
                }
                other => return Err(unexpected("block", &other)),
            }
        }
    }

    /// Whether a value of this length goes into one message to this meter.
    fn fits(&self, length: usize) -> bool {
        let agreed =
            self.session.negotiated().map_or(0, |agreed| usize::from(agreed.server_max_receive_pdu_size));
        length + HEADER <= agreed.min(SCRATCH)
    }
}

/// Class and attribute of a profile's buffer (IEC 62056-6-2).
const PROFILE_GENERIC: u16 = 7;
const PROFILE_BUFFER: i8 = 2;
/// The most columns of a profile, and the longest cell in bytes that is repeated.
const MAX_COLUMNS: usize = 64;
const MAX_REPEATED: usize = 64;

enum GetAnswer {
    Value(Value),
    List(Vec<Result<Value, AccessError>>),
}

enum Collected {
    Refused(AccessError),
    TooLong,
    Whole(GetAnswer),
    Blocks(Vec<u8>),
}

fn owned_list(list: List<'_, GetDataResult<'_>>) -> Result<Vec<Result<Value, AccessError>>, ClientError> {
    list.iter()
        .map(|result| match result.map_err(unreadable)?.value() {
            Ok(data) => Ok(Ok(Value::from_data(data)?)),
            Err(result) => Ok(Err(result.into())),
        })
        .collect()
}

/// The rows of a profile's buffer. A null cell, and a cell that a short row leaves out at its end, repeat the cell
/// of the row before (null-data compression).
fn rows(buffer: Value, max_rows: usize) -> Result<Vec<Vec<Value>>, ClientError> {
    let Value::Array(list) = buffer else {
        return Err(ClientError::Unexpected { asked: "profile", found: "no array".to_owned() });
    };
    if list.len() > max_rows {
        return Err(ClientError::TooManyRows { limit: max_rows });
    }
    let unfit = |found: &str| ClientError::Unexpected { asked: "profile", found: found.to_owned() };
    let mut rows: Vec<Vec<Value>> = Vec::with_capacity(list.len());
    for row in list {
        let Value::Structure(mut cells) = row else {
            return Err(unfit("a row that is no structure"));
        };
        if cells.len() > MAX_COLUMNS {
            return Err(unfit("a row of too many columns"));
        }
        if let Some(before) = rows.last() {
            cells.resize(cells.len().max(before.len()), Value::Null);
            for (cell, earlier) in cells.iter_mut().zip(before) {
                if *cell == Value::Null {
                    *cell = repeated(earlier).ok_or_else(|| unfit("a repeated cell that is too long"))?;
                }
            }
        }
        rows.push(cells);
    }
    Ok(rows)
}

/// A copy of a cell that two bytes on the wire ask for: only small ones, or a message could ask for gigabytes.
fn repeated(cell: &Value) -> Option<Value> {
    let small = match cell {
        Value::Bytes(bytes) | Value::Bits(_, bytes) => bytes.len() <= MAX_REPEATED,
        Value::Text(text) => text.len() <= MAX_REPEATED,
        Value::Structure(_) | Value::Array(_) => false,
        _ => true,
    };
    small.then(|| cell.clone())
}

pub(super) fn unreadable(error: CodecError) -> ClientError {
    match error.kind {
        ErrorKind::BadTag => ClientError::NotAuthentic,
        _ => ClientError::Unreadable(error),
    }
}

pub(super) fn unexpected(asked: &'static str, found: &Response<'_>) -> ClientError {
    match found {
        Response::Exception(exception) => refused_by(*exception),
        other => {
            let mut found = format!("{other:?}");
            found.truncate(found.char_indices().nth(80).map_or(found.len(), |(place, _)| place));
            ClientError::Unexpected { asked, found }
        }
    }
}
