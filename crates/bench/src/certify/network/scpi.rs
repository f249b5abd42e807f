//! The wire to an instrument: SCPI over TCP, one line a command and one an answer (IEEE 488.2, SCPI-1999). After each command the instrument
//! is asked whether it has an error: one that is not noticed would be a wrong result.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use crate::certify::Trouble;

/// Longest answer, bytes: ten thousand time stamps.
const ANSWER_MAX: usize = 256 * 1024;
/// Errors that are taken out of an instrument's queue before it is given up.
const ERRORS_MAX: usize = 32;

/// An instrument.
pub struct Scpi {
    name: String,
    stream: TcpStream,
    /// Received after the last line.
    rest: Vec<u8>,
    within: Duration,
    error_query: String,
    /// A line was lost: what comes next may belong to it.
    broken: bool,
}

impl Scpi {
    /// Connects to `address` (`tcp://HOST:PORT`) and clears what the instrument still has to say. Each answer must come within `within`.
    /// `error_query` is asked after each command; empty for an instrument that has none.
    ///
    /// # Errors
    /// [`Trouble::Instrument`].
    pub fn connect(name: &str, address: &str, error_query: &str, within: Duration) -> Result<Self, Trouble> {
        let trouble = |problem: String| Trouble::Instrument { name: name.to_owned(), problem };
        let host = address.strip_prefix("tcp://").unwrap_or(address);
        let cannot = |error: std::io::Error| {
            trouble(format!(
                "{address} cannot be reached ({error}); check that it is on, and its address and port"
            ))
        };
        let places = host.to_socket_addrs().map_err(cannot)?;
        let mut last = std::io::Error::from(ErrorKind::AddrNotAvailable);
        for place in places {
            match TcpStream::connect_timeout(&place, within) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(cannot)?;
                    stream.set_write_timeout(Some(within)).map_err(cannot)?;
                    let mut instrument = Self {
                        name: name.to_owned(),
                        stream,
                        rest: Vec::new(),
                        within,
                        error_query: error_query.to_owned(),
                        broken: false,
                    };
                    // What it had to say of somebody else's commands is not ours.
                    instrument.drain_errors()?;
                    return Ok(instrument);
                }
                Err(error) => last = error,
            }
        }
        Err(cannot(last))
    }

    /// Sends a command that has no answer.
    ///
    /// # Errors
    /// [`Trouble::Instrument`]: it does not take it.
    pub fn command(&mut self, command: &str) -> Result<(), Trouble> {
        self.send(command)?;
        self.check(command)
    }

    /// Sends a query and gives its answer.
    ///
    /// # Errors
    /// [`Trouble::Instrument`]: it gives none, or an error.
    pub fn query(&mut self, query: &str) -> Result<String, Trouble> {
        self.send(query)?;
        let answer = match self.line() {
            Ok(answer) => answer,
            Err(trouble) => return Err(self.silent(query, trouble)),
        };
        self.check(query)?;
        Ok(answer)
    }

    /// A query answered by numbers, separated by commas.
    ///
    /// # Errors
    /// As [`query`](Self::query), and where an answer is no finite number.
    pub fn numbers(&mut self, query: &str) -> Result<Vec<f64>, Trouble> {
        let answer = self.query(query)?;
        let text = answer.trim();
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let number = |part: &str| part.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        text.split(',').map(number).collect::<Option<_>>().ok_or_else(|| {
            self.trouble(format!(
                "answers \"{}\" to `{query}`, which is no number; check the command's template",
                short(text)
            ))
        })
    }

    /// A query answered by one number.
    ///
    /// # Errors
    /// As [`numbers`](Self::numbers).
    pub fn number(&mut self, query: &str) -> Result<f64, Trouble> {
        match self.numbers(query)?[..] {
            [number, ..] => Ok(number),
            [] => Err(self.trouble(format!("answers nothing to `{query}`"))),
        }
    }

    /// Something that it says or does wrong.
    pub fn trouble(&self, problem: impl Into<String>) -> Trouble {
        Trouble::Instrument { name: self.name.clone(), problem: problem.into() }
    }

    fn send(&mut self, command: &str) -> Result<(), Trouble> {
        if self.broken {
            return Err(
                self.trouble("an earlier answer did not come, and what comes now may be it; connect again")
            );
        }
        let line = format!("{command}\n");
        self.stream.write_all(line.as_bytes()).map_err(|error| {
            self.lost(format!("does not take `{command}` ({error}); check its cable and that it is on"))
        })
    }

    /// Asks for its error: `0,"No error"` where there is none.
    fn check(&mut self, after: &str) -> Result<(), Trouble> {
        let Some((code, text)) = self.error()? else { return Ok(()) };
        // What else it has to say belongs to the same command.
        self.drain_errors()?;
        let what_to_do = match code {
            -113 | -110 => "it does not know this command; give its own in the profile's table of commands",
            -222 | -221 => "it cannot do so much; check the ratings in the profile against the instrument's",
            _ => "see its manual for this number",
        };
        Err(self.trouble(format!("says {code} \"{}\" to `{after}`; {what_to_do}", short(&text))))
    }

    fn drain_errors(&mut self) -> Result<(), Trouble> {
        for _ in 0..ERRORS_MAX {
            if self.error()?.is_none() {
                return Ok(());
            }
        }
        Err(self.trouble(format!(
            "has error after error in its queue ({ERRORS_MAX} were taken out); switch it off and on"
        )))
    }

    fn error(&mut self) -> Result<Option<(i32, String)>, Trouble> {
        if self.error_query.is_empty() {
            return Ok(None);
        }
        let query = self.error_query.clone();
        self.send(&query)?;
        let line = match self.line() {
            Ok(line) => line,
            Err(trouble) => return Err(self.silent(&query, trouble)),
        };
        let (code, text) = line.split_once(',').unwrap_or((&line, ""));
        match code.trim().parse::<i32>() {
            Ok(0) => Ok(None),
            Ok(code) => Ok(Some((code, text.trim().trim_matches('"').to_owned()))),
            Err(_) => Err(self.lost(format!(
                "answers \"{}\" to `{query}`: it speaks no SCPI; check address and port",
                short(&line)
            ))),
        }
    }

    fn silent(&mut self, query: &str, why: String) -> Trouble {
        self.lost(format!(
            "gives no answer to `{query}` ({why}); check that it is on and that this is its port"
        ))
    }

    fn lost(&mut self, problem: String) -> Trouble {
        self.broken = true;
        self.trouble(problem)
    }

    /// One line, without its end.
    fn line(&mut self) -> Result<String, String> {
        let until = Instant::now() + self.within;
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let text = String::from_utf8(line).map_err(|_| "what came is no text".to_owned())?;
                return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.rest.len() > ANSWER_MAX {
                return Err(format!("more than {ANSWER_MAX} bytes came without the end of a line"));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("{:?} have passed", self.within));
            }
            self.stream.set_read_timeout(Some(left)).map_err(|error| error.to_string())?;
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err("it closed the connection".to_owned()),
                Ok(length) => self.rest.extend_from_slice(&bytes[..length]),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// The beginning of what an instrument said, for a sentence.
fn short(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    /// An instrument that answers each line by this.
    fn instrument(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut out = stream.try_clone().unwrap();
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if let Some(answer) = answer(&line)
                    && out.write_all(&answer).is_err()
                {
                    return;
                }
            }
        });
        address
    }

    fn connect(address: &str) -> Result<Scpi, Trouble> {
        Scpi::connect("source", address, "SYST:ERR?", Duration::from_millis(300))
    }

    #[test]
    fn what_an_instrument_refuses_is_said_with_its_name_and_what_to_do() {
        let mut errors = std::sync::atomic::AtomicUsize::new(0);
        *errors.get_mut() = 2;
        let address = instrument(move |line| match line {
            "SYST:ERR?" if errors.load(std::sync::atomic::Ordering::Relaxed) > 0 => {
                errors.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
                Some(b"-100,\"of somebody else\"\n".to_vec())
            }
            "SYST:ERR?" => Some(b"0,\"No error\"\r\n".to_vec()),
            "MEAS:POW?" => Some(b"1.5E3\n".to_vec()),
            "WRONG" => {
                errors.store(1, std::sync::atomic::Ordering::Relaxed);
                None
            }
            "WORD?" => Some(b"hello\n".to_vec()),
            _ => None,
        });
        let mut source = connect(&address).unwrap();
        assert_eq!(source.number("MEAS:POW?").unwrap(), 1500.0);
        let trouble = source.command("WRONG").unwrap_err().to_string();
        assert!(
            trouble.contains("source") && trouble.contains("-100") && trouble.contains("WRONG"),
            "{trouble}"
        );
        source.command("OUTP ON").unwrap();
        assert!(source.number("WORD?").unwrap_err().to_string().contains("no number"));
    }

    #[test]
    fn silence_endless_answers_and_what_is_no_instrument_end_in_time() {
        for (answer, why) in [
            (None, "no answer"),
            (Some(vec![b'x'; 5000]), "no answer"),
            (Some(b"HTTP/1.1 400 Bad Request\n".to_vec()), "no SCPI"),
            (Some(vec![0xFF, 0xFE, b'\n']), "no text"),
            (Some(b"-1,\"never ends\"\n".to_vec()), "error after error"),
        ] {
            let address = instrument(move |_| answer.clone());
            let begun = Instant::now();
            let trouble = connect(&address).err().unwrap().to_string();
            assert!(trouble.contains(why), "{trouble}");
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let trouble = connect(&format!("tcp://{closed}")).err().unwrap().to_string();
        assert!(trouble.contains("cannot be reached"), "{trouble}");
    }
}
