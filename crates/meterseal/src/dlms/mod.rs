//! `meterseal dlms`: reads, sets and acts on a meter of any maker, over TLS or the plain TCP wrapper, and shows what it
//! says as people read it.

pub(crate) mod login;
mod profile;
mod session;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Subcommand;
use meterseal_headend::words::{names, show, write as value};
use meterseal_link::Value;
use meterseal_link::reach::MeterAddress;
use serde_json::json;

use meterseal_headend::words::names::Target;
use session::Session;

/// Read, set and act on a meter over DLMS/COSEM
///
/// The meter may be of any maker: without a login (the public client), with a password (low-level security) or with keys
/// (HLS-5, security suite 0, 1 or 2). Keys and passwords come from files that only their owner can read.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the meter listens: tls://HOST:PORT or tcp://HOST:PORT
    #[arg(value_name = "ADDRESS")]
    address: MeterAddress,
    #[command(flatten)]
    login: LoginArgs,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// How to log in.
#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// Role (public, reader, utility, …) or client address (16, 0x20, …)
    #[arg(long = "as", value_name = "ROLE", default_value = "public", value_parser = login::client_address, global = true)]
    pub(crate) client: u16,
    /// Logical device
    #[arg(long, value_name = "NUMBER", default_value_t = 1, global = true)]
    pub(crate) server: u16,
    /// File with the encryption key and the authentication key in hexadecimal digits, or a meter's folder with
    /// `dlms.sealed` or `dlms.key`: logs in by HLS-5
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) keys: Option<PathBuf>,
    /// Security suite of the keys: 0 and 1 are AES-128, 2 is AES-256
    #[arg(long, value_name = "SUITE", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=2), global = true)]
    pub(crate) suite: u8,
    /// File with a password: logs in by low-level security
    #[arg(long, value_name = "FILE", conflicts_with = "keys", global = true)]
    pub(crate) password: Option<PathBuf>,
    /// Folder of a role at the local ports of `meterseal up`: its certificate, the meters' authorities, and the keys for
    /// the meter that --meter names; in place of --identity, --trust and --keys
    #[arg(long, value_name = "DIR", conflicts_with_all = ["keys", "password", "identity"], requires = "meter", global = true)]
    pub(crate) access: Option<PathBuf>,
    /// The meter that must answer: its identifier, or its system title in 16 hexadecimal digits
    #[arg(long, value_name = "METER", value_parser = login::expected, global = true)]
    pub(crate) meter: Option<login::Expected>,
    /// Folder with `certificate.pem` and `key.pem` to show to the meter, over TLS
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) identity: Option<PathBuf>,
    /// File with certificates of authorities that meters are trusted by, over TLS (may be given several times); their
    /// lists of revoked certificates (*.crl.pem) in the same folder are heeded
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) trust: Vec<PathBuf>,
    /// Folder where invocation counters outlive this run [default: meterseal/dlms in the user's state folder]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) state: Option<PathBuf>,
    /// Before logging in, read where the meter's invocation counter stands, through the public client, and go on from
    /// there; for when the counter here was lost
    #[arg(long, global = true)]
    pub(crate) recover_counter: bool,
    /// How long the meter may take for an answer, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600), global = true)]
    pub(crate) timeout: u64,
}

impl LoginArgs {
    fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read attributes; registers with scaler and unit
    Get {
        /// OBIS (1.8.0), OBIS/ATTRIBUTE (1.8.0/3), CLASS/OBIS/ATTRIBUTE (3/1-0:1.8.0/2) or a name (clock)
        #[arg(required = true, value_name = "OBJECT")]
        objects: Vec<Target>,
    },
    /// Write an attribute
    Set {
        /// Object and attribute, as for `get`
        #[arg(value_name = "OBJECT")]
        object: Target,
        #[arg(value_name = "VALUE", value_parser = value::parse, help = format!("{}", value::SYNTAX), allow_hyphen_values = true)]
        value: Value,
    },
    /// Invoke a method
    Action {
        /// Object, as for `get`, with the method in place of the attribute (70/0-0:96.3.10/1)
        #[arg(value_name = "OBJECT/METHOD")]
        object: Target,
        /// Parameter, as the value of `set`
        #[arg(value_name = "VALUE", value_parser = value::parse, allow_hyphen_values = true)]
        parameter: Option<Value>,
    },
    /// List the meter's objects
    Objects,
    Profile(profile::Args),
}

/// Whether everything that was asked for was answered.
pub(crate) fn run(arguments: &Args, out: &mut impl Write) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(arguments, out))
}

async fn serve(arguments: &Args, out: &mut impl Write) -> Result<bool> {
    let mut session = Session::open(&arguments.address, &arguments.login).await?;
    let outcome = command(arguments, &mut session, out).await;
    // In any case: what was not used of the counters is given back only here.
    let closed = session.close().await;
    let complete = outcome?;
    closed?;
    Ok(complete)
}

async fn command(arguments: &Args, session: &mut Session, out: &mut impl Write) -> Result<bool> {
    match &arguments.command {
        Command::Get { objects } => get(session, objects, arguments.json, out).await,
        Command::Set { object, value } => {
            let class = session.class_of(*object).await?;
            let attribute = object.attribute.unwrap_or(2);
            let outcome = session.set(class, object.obis, attribute, value.clone()).await?;
            answer(arguments.json, out, outcome.map(|()| Value::Null), "set")
        }
        Command::Action { object, parameter } => {
            let class = session.class_of(*object).await?;
            let method = object.attribute.context("which method? Write OBIS/METHOD or CLASS/OBIS/METHOD")?;
            let outcome = session.action(class, object.obis, method, parameter.clone()).await?;
            answer(arguments.json, out, outcome, "done")
        }
        Command::Objects => objects(session, arguments.json, out).await,
        Command::Profile(wanted) => profile::run(session, wanted, arguments.json, out).await,
    }
}

async fn get(session: &mut Session, targets: &[Target], as_json: bool, out: &mut impl Write) -> Result<bool> {
    let mut complete = true;
    let mut list = Vec::new();
    for target in targets {
        let read = session.read(*target).await?;
        complete &= read.value.is_ok();
        if as_json {
            list.push(match &read.value {
                Ok(value) => attribute_json(read.class, target.obis, read.attribute, value, read.scale),
                Err(refused) => json!({
                    "obis": target.obis.to_string(), "class": read.class, "attribute": read.attribute,
                    "error": refused.to_string(),
                }),
            });
            continue;
        }
        let name =
            names::object(read.class, target.obis).map_or(String::new(), |name| format!("  \"{name}\""));
        let attribute = if read.attribute == 2 { String::new() } else { format!("/{}", read.attribute) };
        let value = match (&read.value, read.scale) {
            (Ok(value), Some(scale)) => show::quantity(value, scale),
            (Ok(value), None) => show::text(value),
            (Err(refused), _) => format!("– {refused}"),
        };
        writeln!(out, "{}{attribute}{name}  {value}", names::short(target.obis))?;
    }
    if as_json {
        writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
    }
    Ok(complete)
}

async fn objects(session: &mut Session, as_json: bool, out: &mut impl Write) -> Result<bool> {
    let list = session.object_list().await?;
    if as_json {
        let list: Vec<_> = list
            .iter()
            .map(|entry| {
                json!({
                    "obis": entry.obis.to_string(), "class": entry.class, "version": entry.version,
                    "class_name": names::class(entry.class), "name": names::object(entry.class, entry.obis),
                })
            })
            .collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
        return Ok(true);
    }
    for entry in &list {
        let name = names::object(entry.class, entry.obis).unwrap_or_default();
        let class = format!("{} ({}, version {})", names::class(entry.class), entry.class, entry.version);
        writeln!(out, "{:<18} {class:<36} {name}", entry.obis.to_string())?;
    }
    writeln!(out, "{} objects", list.len())?;
    Ok(true)
}

/// What came of a SET or an ACTION.
fn answer(
    as_json: bool,
    out: &mut impl Write,
    outcome: Result<Value, meterseal_link::client::AccessError>,
    done: &str,
) -> Result<bool> {
    match &outcome {
        Ok(value) if as_json => writeln!(out, "{}", json!({ "result": done, "value": show::json(value) }))?,
        Ok(Value::Null) => writeln!(out, "{done}")?,
        Ok(value) => writeln!(out, "{done}: {}", show::text(value))?,
        Err(refused) if as_json => writeln!(out, "{}", json!({ "error": refused.to_string() }))?,
        Err(refused) => writeln!(out, "– {refused}")?,
    }
    Ok(outcome.is_ok())
}

/// An object in both forms: what it is, and its value.
fn attribute_json(
    class: u16,
    obis: meterseal_model::Obis,
    attribute: i8,
    value: &Value,
    scale: Option<show::Scale>,
) -> serde_json::Value {
    let mut object = json!({
        "obis": obis.to_string(),
        "class": class,
        "attribute": attribute,
        "name": names::object(class, obis),
        "value": show::json(value),
        "text": scale.map_or_else(|| show::text(value), |scale| show::quantity(value, scale)),
    });
    if let (Some(scale), Some(fields)) = (scale, object.as_object_mut()) {
        fields.insert("scaler".to_owned(), json!(scale.scaler));
        fields.insert("unit".to_owned(), json!(show::unit(scale.unit)));
    }
    object
}
