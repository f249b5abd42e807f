//! How commands of this machine reach a head-end that runs: its address and a token lie in a file in the data folder that
//! only its own user can read, and a client speaks to its API with them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use meterseal_link::pki::{read_secret, write_secret};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::config::StartError;

/// Name of the file in the head-end's data folder.
const FILE: &str = "commands.json";

/// Longest answer that is read: a list of a thousand meters has a few hundred kilobytes.
const LONGEST_ANSWER: usize = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Entry {
    address: SocketAddr,
    token: String,
}

/// The file, as long as the head-end runs.
#[derive(Debug)]
pub(crate) struct Doorplate {
    path: PathBuf,
}

impl Doorplate {
    pub(crate) fn hang_up(data_dir: &Path, address: SocketAddr, token: &str) -> Result<Self, StartError> {
        let path = data_dir.join(FILE);
        let failed = |why: String| StartError::Commands { path: path.clone(), why };
        let entry = Entry { address, token: token.to_owned() };
        let written = serde_json::to_vec(&entry).map_err(|error| failed(error.to_string()))?;
        write_secret(&path, &written).map_err(|error| failed(error.to_string()))?;
        Ok(Self { path })
    }
}

impl Drop for Doorplate {
    fn drop(&mut self) {
        // One that stays names a token that opens nothing any more.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A client of the head-end that runs on a data folder.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    token: String,
    path: PathBuf,
}

/// Why a command did not reach its head-end, or was refused.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No head-end runs.
    #[error(
        "no head-end runs on {}; start one with `meterseal up` or `meterseal headend run` (with --data, if it lies elsewhere)", .0.display()
    )]
    NotRunning(PathBuf),
    /// The file cannot be used.
    #[error("cannot use {}: {why}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It does not answer as a head-end does.
    #[error("the head-end at {address} does not answer: {why}; look at its log")]
    Broken {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// It refused.
    #[error("{error} {what_to_do}")]
    Refused {
        /// Status of HTTP.
        status: u16,
        /// What is wrong.
        error: String,
        /// What to do.
        what_to_do: String,
    },
}

#[derive(Deserialize)]
struct Problem {
    error: String,
    what_to_do: String,
}

impl Client {
    /// The head-end that runs on this data folder (of the head-end: `DATA/headend`).
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn open(data_dir: &Path) -> Result<Self, CommandError> {
        let path = data_dir.join(FILE);
        if !path.exists() {
            return Err(CommandError::NotRunning(data_dir.to_owned()));
        }
        let failed = |why: String| CommandError::File { path: path.clone(), why };
        let bytes = read_secret(&path).map_err(|error| failed(error.to_string()))?;
        let entry: Entry = serde_json::from_str(&bytes).map_err(|error| failed(error.to_string()))?;
        Ok(Self { address: entry.address, token: entry.token, path: data_dir.to_owned() })
    }

    /// Reads.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CommandError> {
        self.send(Method::GET, path, None, Bytes::new()).await
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CommandError> {
        let body = serde_json::to_vec(body).map_err(|error| self.broken(error.to_string()))?;
        self.send(Method::POST, path, Some("application/json"), body.into()).await
    }

    /// Sends a file.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn upload<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> Result<T, CommandError> {
        self.send(Method::POST, path, Some("application/octet-stream"), body.into()).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        kind: Option<&str>,
        body: Bytes,
    ) -> Result<T, CommandError> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| match error.kind() {
            // A head-end that was killed leaves its file behind.
            std::io::ErrorKind::ConnectionRefused => CommandError::NotRunning(self.path.clone()),
            _ => self.broken(error.to_string()),
        })?;
        let broken = |error: &dyn std::fmt::Display| self.broken(error.to_string());
        let (mut sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/{path}"))
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request = request.body(Body::from(body)).map_err(|error| broken(&error))?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
            let status = answer.status();
            let body = axum::body::to_bytes(Body::new(answer.into_body()), LONGEST_ANSWER).await;
            Ok((status, body.map_err(|error| broken(&error))?))
        };
        tokio::pin!(exchange);
        let (status, body) = tokio::select! {
            done = &mut exchange => done?,
            // It ends when the other side closes; what has arrived by then is still read.
            _ = connection => exchange.await?,
        };
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| broken(&error))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> CommandError {
        match serde_json::from_slice::<Problem>(body) {
            // Another run of the head-end, or another program at that address.
            Ok(_) if status == StatusCode::UNAUTHORIZED => CommandError::NotRunning(self.path.clone()),
            Ok(problem) => CommandError::Refused {
                status: status.as_u16(),
                error: problem.error,
                what_to_do: problem.what_to_do,
            },
            Err(_) => self.broken(format!("it answered {status}")),
        }
    }

    fn broken(&self, why: String) -> CommandError {
        CommandError::Broken { address: self.address, why }
    }
}
