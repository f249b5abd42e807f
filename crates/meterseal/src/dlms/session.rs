//! One association with the meter: opened, kept in counters, and asked for objects whose class nobody needs to know.

use anyhow::{Context, Result, bail};
use meterseal_headend::words::names::{self, Target};
use meterseal_headend::words::show::Scale;
use meterseal_link::client::{AccessError, Gmac, Limits, Login, MANAGEMENT_LOGICAL_DEVICE, Opening};
use meterseal_link::counters::{BLOCK, Counters};
use meterseal_link::reach::{self, MeterAddress, Wire};
use meterseal_link::{ClientError, DlmsClient, Peer, Value};
use meterseal_model::{Obis, Role, SystemTitle};

use super::LoginArgs;
use super::login::{self, Expected, Secret};

/// Counters are renewed before fewer than this are left: more than one operation can spend.
const MARGIN: u32 = BLOCK / 2;

/// The most objects of a meter that are listed.
const OBJECTS: usize = 20_000;

/// A connected meter.
#[derive(Debug)]
pub(crate) struct Session {
    client: DlmsClient<Wire>,
    counters: Option<Counters>,
    ceiling: u32,
    objects: Option<Vec<Entry>>,
}

/// An entry of the object list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) class: u16,
    pub(crate) version: u8,
    pub(crate) obis: Obis,
}

/// An attribute that was asked for.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) class: u16,
    pub(crate) attribute: i8,
    pub(crate) value: Result<Value, AccessError>,
    pub(crate) scale: Option<Scale>,
}

impl Session {
    pub(crate) async fn open(address: &MeterAddress, arguments: &LoginArgs) -> Result<Self> {
        let secret = login::secret(arguments)?;
        let mut counters = match &secret {
            Secret::Keys(keys) => Some(Counters::open(&state_folder(arguments)?, keys)?),
            _ => None,
        };
        if let Some(counters) = counters.as_mut().filter(|_| arguments.recover_counter) {
            recover(address, arguments, counters).await?;
        }
        let (wire, named) = connect(address, arguments).await?;
        let expected = expected_title(arguments, named);
        let (login, ceiling) = match (&secret, &mut counters) {
            (Secret::Keys(keys), Some(counters)) => {
                let first = counters.reserve()?;
                let gmac = Gmac {
                    client_title: counters.title(),
                    keys: keys.clone(),
                    invocation_counter: first.saturating_sub(1),
                    last_response_counter: expected.map_or(0, |title| counters.seen(title)),
                    last_push_counter: 0,
                };
                (Login::Gmac(gmac), first.saturating_add(BLOCK))
            }
            (Secret::Password(password), _) => (Login::Password(password.clone()), 0),
            _ => (Login::Public, 0),
        };
        let mut client = DlmsClient::open(wire, opening(arguments, arguments.client, expected, login))
            .await
            .map_err(|error| explain(address, arguments, error))?;
        if counters.is_some() {
            client.allow_counters_to(ceiling.saturating_sub(1));
        }
        let session = Self { client, counters, ceiling, objects: None };
        session.check_freshness()?;
        Ok(session)
    }

    /// A meter that was not named is known only after it has answered: then its counter is compared with what it had
    /// used before.
    fn check_freshness(&self) -> Result<()> {
        let (Some(counters), Some(meter)) = (&self.counters, self.client.meter()) else { return Ok(()) };
        let (counter, highest) = (self.client.response_counter(), counters.seen(meter));
        if counter <= highest {
            bail!(
                "the meter answered under invocation counter {counter}, but had used {highest} before: a replay, or its \
                 memory was put back; it cannot be trusted under these keys"
            );
        }
        Ok(())
    }

    /// Says goodbye and writes down what was used.
    pub(crate) async fn close(self) -> Result<()> {
        let Self { client, counters, .. } = self;
        let used = client.invocation_counter();
        let seen = client.meter().map(|meter| (meter, client.response_counter()));
        // Whether the meter hears it changes nothing.
        let _ = client.release().await;
        Ok(counters.map_or(Ok(()), |mut counters| counters.settle(used, seen))?)
    }

    /// Reads an attribute, with the scaler and unit that belong to it.
    pub(crate) async fn read(&mut self, target: Target) -> Result<Read> {
        let guess = match target.class {
            Some(class) => class,
            None => match names::usual_class(target.obis) {
                Some(class) => class,
                None => self.class_of(target).await?,
            },
        };
        let read = self.read_as(guess, target).await?;
        let wrong_class = matches!(read.value, Err(AccessError::NoSuchObject | AccessError::WrongClass));
        if target.class.is_none() && wrong_class {
            // Another maker's meter may have the object in another class.
            if let Ok(class) = self.class_of(target).await
                && class != guess
            {
                return self.read_as(class, target).await;
            }
        }
        Ok(read)
    }

    async fn read_as(&mut self, class: u16, target: Target) -> Result<Read> {
        let attribute = target.attribute.unwrap_or(2);
        let Some(scaler_unit) = scaler_unit(class, attribute) else {
            let value = accept(self.client().await?.get(class, target.obis, attribute).await)?;
            return Ok(Read { class, attribute, value, scale: None });
        };
        let items = [(class, target.obis, attribute), (class, target.obis, scaler_unit)];
        let mut answers = self.client().await?.get_list(&items).await?.into_iter();
        let value = answers.next().context("the meter gave no answer")?;
        let scale = answers.next().and_then(Result::ok).as_ref().and_then(Scale::read);
        Ok(Read { class, attribute, value, scale })
    }

    /// Scalers and units of several attributes, `None` where there is none.
    pub(crate) async fn scales(&mut self, items: &[(u16, Obis, i8)]) -> Result<Vec<Option<Scale>>> {
        let asked: Vec<_> = items
            .iter()
            .filter_map(|&(class, obis, attribute)| Some((class, obis, scaler_unit(class, attribute)?)))
            .collect();
        let mut answers = self.client().await?.get_list(&asked).await?.into_iter();
        Ok(items
            .iter()
            .map(|&(class, _, attribute)| {
                scaler_unit(class, attribute)?;
                answers.next()?.ok().as_ref().and_then(Scale::read)
            })
            .collect())
    }

    pub(crate) async fn set(
        &mut self,
        class: u16,
        obis: Obis,
        attribute: i8,
        value: Value,
    ) -> Result<Result<(), AccessError>> {
        accept(self.client().await?.set(class, obis, attribute, value).await)
    }

    pub(crate) async fn action(
        &mut self,
        class: u16,
        obis: Obis,
        method: i8,
        parameter: Option<Value>,
    ) -> Result<Result<Value, AccessError>> {
        accept(self.client().await?.action(class, obis, method, parameter).await)
    }

    /// The class of an object: as said, as our own meters have it, or as the meter's list says.
    pub(crate) async fn class_of(&mut self, target: Target) -> Result<u16> {
        if let Some(class) = target.class.or_else(|| names::usual_class(target.obis)) {
            return Ok(class);
        }
        let list = self.object_list().await.with_context(|| {
            format!("what class {} has cannot be found out; write CLASS/OBIS/ATTRIBUTE", target.obis)
        })?;
        let entry = list.iter().find(|entry| entry.obis == target.obis);
        entry.map(|entry| entry.class).with_context(|| {
            format!("the meter shows no object {} to this role; `objects` lists what it shows", target.obis)
        })
    }

    /// The object list of this association.
    pub(crate) async fn object_list(&mut self) -> Result<Vec<Entry>> {
        if let Some(list) = &self.objects {
            return Ok(list.clone());
        }
        let list = self
            .client()
            .await?
            .get(ASSOCIATION_LN, Obis::ASSOCIATION, OBJECT_LIST)
            .await
            .context("the meter gives no list of its objects")?;
        let entries = list.as_list().context("the meter's list of objects is none")?;
        let entry = |value: &Value| match value.as_list()? {
            [class, version, obis, ..] => Some(Entry {
                class: u16::try_from(class.as_u64()?).ok()?,
                version: u8::try_from(version.as_u64()?).ok()?,
                obis: obis.as_obis()?,
            }),
            _ => None,
        };
        let list: Vec<Entry> = entries.iter().take(OBJECTS).filter_map(entry).collect();
        self.objects = Some(list.clone());
        Ok(list)
    }

    /// The client, with counters enough for one operation.
    pub(crate) async fn client(&mut self) -> Result<&mut DlmsClient<Wire>> {
        if let Some(counters) = &mut self.counters
            && self.ceiling.saturating_sub(self.client.invocation_counter()) < MARGIN
        {
            let first = counters.reserve()?;
            // One run at a time: the block follows the one before.
            self.ceiling = first.saturating_add(BLOCK);
            self.client.allow_counters_to(self.ceiling.saturating_sub(1));
        }
        Ok(&mut self.client)
    }
}

/// A refusal of one thing is an answer; anything else is the end.
fn accept<T>(outcome: Result<T, ClientError>) -> Result<Result<T, AccessError>> {
    match outcome {
        Ok(value) => Ok(Ok(value)),
        Err(ClientError::Access(refused)) => Ok(Err(refused)),
        Err(error) => Err(error.into()),
    }
}

async fn connect(address: &MeterAddress, arguments: &LoginArgs) -> Result<(Wire, Option<Peer>)> {
    let tls = login::tls_config(address, arguments)?;
    Ok(reach::connect(address, tls.as_ref(), arguments.limit()).await?)
}

/// The title that the meter must have: as said, or that of its certificate.
fn expected_title(arguments: &LoginArgs, named: Option<Peer>) -> Option<SystemTitle> {
    let named = match named {
        Some(Peer::Meter(meter)) => Some(meter.system_title()),
        _ => None,
    };
    arguments.meter.map(Expected::title).or(named)
}

fn opening(arguments: &LoginArgs, client: u16, meter: Option<SystemTitle>, login: Login) -> Opening {
    let limits = Limits { response: arguments.limit(), ..Limits::default() };
    Opening {
        client_address: client,
        server_address: arguments.server,
        meter,
        login,
        pushes: false,
        limits: Limits { operation: limits.operation.max(limits.response * 2), ..limits },
    }
}

/// Reads, through the public client, the highest counter that the meter has accepted from a role, and goes on after it.
async fn recover(address: &MeterAddress, arguments: &LoginArgs, counters: &mut Counters) -> Result<()> {
    let (wire, named) = connect(address, arguments).await?;
    let public = Role::Public.client_address();
    let opening = opening(arguments, public, expected_title(arguments, named), Login::Public);
    let mut client =
        DlmsClient::open(wire, opening).await.context("the meter's public client cannot be opened")?;
    let mut highest = None;
    // Which of them belongs to this role, makers decide differently: the highest is safe for all.
    for channel in 0..=MAX_COUNTER_OBJECTS {
        let obis = Obis([0, 0, 43, 1, channel, 255]);
        if let Ok(value) = client.get(DATA, obis, 2).await {
            highest = highest.max(value.as_u64().and_then(|value| u32::try_from(value).ok()));
        }
    }
    // Whether it hears it changes nothing.
    let _ = client.release().await;
    let Some(highest) = highest else {
        bail!(
            "the meter shows no invocation counter (0-0:43.1.e) to the public client; ask its maker where it stands"
        );
    };
    if highest > u32::MAX / 2 {
        // Nothing proves this number; half of a key's life is not given away for it.
        bail!(
            "the meter says that its counter stands at {highest}, which is not believed; give the meter new keys"
        );
    }
    counters.raise(highest.saturating_add(1))?;
    eprintln!("meterseal: invocation counter recovered; the next is {}", counters.next());
    Ok(())
}

fn explain(address: &MeterAddress, arguments: &LoginArgs, error: ClientError) -> anyhow::Error {
    let hint = match &error {
        ClientError::InvocationCounter { .. } | ClientError::CounterBehind => {
            "run again with --recover-counter, which asks the meter where its counter stands"
        }
        ClientError::Frame(meterseal_link::wrapper::FrameError::Version { .. }) => {
            "is this a DLMS server? Check scheme and port"
        }
        ClientError::Frame(meterseal_link::wrapper::FrameError::Closed) if address.tls => {
            "it does not accept our certificate (--identity), or this role"
        }
        ClientError::Frame(_) => "it may not be a DLMS server, or speak TLS, or not accept this role",
        ClientError::Deadline(_) => "it may not be a DLMS server; a slow one needs a longer --timeout",
        ClientError::Refused { .. } | ClientError::NotAuthentic if arguments.keys.is_some() => {
            "check --keys, --suite and --as; if all are right, the counter may be behind: --recover-counter"
        }
        ClientError::Refused { .. } => "check --as, and --keys or --password",
        _ => "",
    };
    let context = format!("no association with {address}");
    let error = anyhow::Error::new(error);
    if hint.is_empty() { error.context(context) } else { anyhow::anyhow!("{context}: {error}; {hint}") }
}

fn state_folder(arguments: &LoginArgs) -> Result<std::path::PathBuf> {
    if let Some(folder) = &arguments.state {
        return Ok(folder.clone());
    }
    let variable =
        |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(std::path::PathBuf::from);
    let base = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")));
    Ok(base
        .context("there is no HOME to keep invocation counters in; name a folder (--state)")?
        .join("meterseal/dlms"))
}

/// Where an attribute's scaler and unit stand (IEC 62056-6-2: Register, Extended register, Demand register).
fn scaler_unit(class: u16, attribute: i8) -> Option<i8> {
    match (class, attribute) {
        (3 | 4, 2) => Some(3),
        (5, 2 | 3) => Some(4),
        _ => None,
    }
}

const DATA: u16 = 1;
const ASSOCIATION_LN: u16 = 15;
const OBJECT_LIST: i8 = 2;
const MAX_COUNTER_OBJECTS: u8 = 7;
const _: () = assert!(MANAGEMENT_LOGICAL_DEVICE == 1, "the default of --server");
