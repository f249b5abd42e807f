//! A small HTTP client that shows everything and hides nothing: status, headers, body, server-sent events.

use std::net::SocketAddr;

use meterseal_headend::Headend;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A browser with one cookie.
#[derive(Clone, Debug)]
pub struct Browser {
    pub address: SocketAddr,
    pub cookie: Option<String>,
}

impl Browser {
    pub fn new(headend: &Headend) -> Self {
        Self { address: headend.page_addr(), cookie: None }
    }

    /// A browser that has used the link.
    pub async fn signed_in(headend: &Headend) -> Self {
        let mut browser = Self::new(headend);
        let url = headend.page_url();
        let path = &url[url.find("/open").unwrap()..];
        let answer = browser.get(path).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        let cookie = answer.header("set-cookie").unwrap();
        browser.cookie = Some(cookie.split(';').next().unwrap().to_owned());
        browser
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        let origin = format!("http://{}", self.address);
        let headers =
            [("content-type", "application/json"), ("origin", &origin), ("sec-fetch-site", "same-origin")];
        self.send("POST", path, &headers, Some(body)).await
    }

    /// Sends a file.
    pub async fn post_octets(&self, path: &str, body: &[u8]) -> Answer {
        let headers = [("content-type", "application/octet-stream")];
        self.answer(self.request("POST", path, &headers, body).await).await
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let body = body.unwrap_or_default().as_bytes();
        self.answer(self.request(method, path, headers, body).await).await
    }

    async fn answer(&self, mut stream: BufReader<TcpStream>) -> Answer {
        let (status, headers) = head(&mut stream).await;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        assert!(!chunked, "answers of the API have a length");
        Answer { status, headers, body: rest }
    }

    /// A file that comes in chunks, put together.
    pub async fn download(&self, path: &str) -> Answer {
        let mut stream = self.request("GET", path, &[], &[]).await;
        let (status, headers) = head(&mut stream).await;
        assert!(headers.contains(&("transfer-encoding".into(), "chunked".into())), "{headers:?}");
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            stream.read_exact(&mut chunk).await.unwrap();
            if length == 0 {
                return Answer { status, headers, body };
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    /// Opens the event stream.
    pub async fn stream(&self) -> Stream {
        let mut stream = self.request("GET", "/api/v1/stream", &[], &[]).await;
        let (status, headers) = head(&mut stream).await;
        assert_eq!(status, 200);
        assert!(headers.contains(&("content-type".into(), "text/event-stream".into())));
        Stream { lines: stream }
    }

    async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> BufReader<TcpStream> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            request += &format!("host: {}\r\n", self.address);
        }
        if let Some(cookie) = &self.cookie {
            request += &format!("cookie: other=1; {cookie}\r\n");
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("content-length: {}\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(&[request.as_bytes(), body].concat()).await.unwrap();
        BufReader::new(stream)
    }
}

async fn head(stream: &mut BufReader<TcpStream>) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    (status, headers)
}

/// Server-sent events.
#[derive(Debug)]
pub struct Stream {
    lines: BufReader<TcpStream>,
}

impl Stream {
    /// The next event with this name, at most five seconds from now.
    pub async fn next(&mut self, wanted: &str) -> serde_json::Value {
        let found = async {
            let mut name = String::new();
            loop {
                let mut line = String::new();
                assert_ne!(self.lines.read_line(&mut line).await.unwrap(), 0, "the stream ended");
                // Chunk sizes stand on lines of their own and mean nothing here.
                if let Some(text) = line.trim_end().strip_prefix("event: ") {
                    name = text.to_owned();
                } else if let Some(data) = line.trim_end().strip_prefix("data: ")
                    && name == wanted
                {
                    return serde_json::from_str(data).unwrap();
                }
            }
        };
        let within = std::time::Duration::from_secs(5);
        tokio::time::timeout(within, found)
            .await
            .unwrap_or_else(|_| panic!("no `{wanted}` within {within:?}"))
    }
}
