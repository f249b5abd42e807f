//! The utility's side: meters call its gateway, it admits those that bear a mark, stores what they say before it
//! acknowledges it, and shows it on a page.
//!
//! Read in this order: [`config`] says what a head-end needs; `gateway` takes calls and gives each meter a task;
//! `acquisition` is that task; [`store`] keeps what must not be lost; `fleet` is the present, announced as it
//! changes; [`api`] and `web` are what a browser sees, behind `page_server`,
//! `auth` and `guard`.
//!
//! The way of an alarm: push → commit in the store → server-sent event to the pages → acknowledgement to the meter.

#![forbid(unsafe_code)]

mod acquisition;
pub mod alarms;
pub mod api;
mod auth;
pub mod campaigns;
mod clock;
pub mod commands;
pub mod config;
pub mod deliveries;
pub mod enrolment;
pub mod evidence;
mod fleet;
mod gateway;
mod guard;
pub mod others;
mod page_server;
pub mod requests;
mod shared;
pub mod store;
pub mod virtual_sites;
mod web;
mod witness;
pub mod words;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use meterseal_link::revocation::{self, Revocations};
use meterseal_link::tls;
use meterseal_seal::{MarkStore, SealPublicKey};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use acquisition::AttestationPolicy;
pub use config::{Config, MeterEntry, Pace, StartError};
pub use virtual_sites::{StimulusError, VirtualSites};

use acquisition::{Acquisition, Forms, Policy};
use alarms::{Alarms, silence};
use api::Api;
use auth::{Gatekeeper, Secret};
use campaigns::{Admission, Campaigns, Images};
use commands::Doorplate;
use deliveries::Courier;
use enrolment::Enroller;
use fleet::Fleet;
use gateway::Gateway;
use guard::Guard;
use others::Others;
use page_server::PageLimits;
use requests::Requests;
use store::{MeterRecord, Store};

/// How long a shutdown waits for pages that are being served.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(5);

/// A running head-end.
#[derive(Debug)]
pub struct Headend {
    gateway_addr: SocketAddr,
    page_addr: SocketAddr,
    token: Secret,
    /// Removes the commands' token when it is dropped.
    _doorplate: Doorplate,
    store: Store,
    fleet: Arc<Fleet>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Headend {
    /// Opens the store, binds both addresses and begins to work.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        if !config.page_listen.ip().is_loopback() {
            return Err(StartError::NotLoopback { address: config.page_listen });
        }
        let mut seen = HashSet::new();
        if let Some(twice) = config.meters.iter().find(|entry| !seen.insert(entry.id)) {
            return Err(StartError::MeterTwice { meter: twice.id });
        }
        let mut tls = tls::gateway_config(&config.identity, &config.trust)
            .map_err(|error| StartError::Tls(error.to_string()))?;
        if let Some(time) = config.time {
            tls = tls.with_time(time);
        }
        // Both addresses before anything is written: a second head-end started by mistake changes nothing.
        let gateway = listen("the gateway", config.gateway_listen, "--gateway").await?;
        let page = listen("the page", config.page_listen, "--listen").await?;
        let gateway_addr = local_addr(&gateway, config.gateway_listen, "the gateway", "--gateway")?;
        let page_addr = local_addr(&page, config.page_listen, "the page", "--listen")?;

        let (keeper, token) = Gatekeeper::new(Instant::now()).map_err(StartError::Random)?;
        let store = Store::open(&config.data_dir).await?;
        let doorplate = Doorplate::hang_up(&config.data_dir, page_addr, keeper.command_token().expose())?;
        let fleet = Arc::new(remember(&store, &config.meters).await?);
        let (stop, stopping) = watch::channel(false);

        let requests = Arc::new(Requests::default());
        let enroller = match config.enrolment {
            Some(how) => {
                let allowances = enrolment::allowance::folder(&config.data_dir);
                Some(Arc::new(Enroller::new(how, store.clone(), allowances).await?))
            }
            None => None,
        };
        let names = config.receivers.iter().map(deliveries::Receiver::name).collect();
        store.set_receivers(names, clock::now()).await?;
        let alarms = Alarms { store: store.clone(), fleet: Arc::clone(&fleet) };
        let marks = Arc::new(marks(&config.marks, &config.certification_keys));
        let scopes = config.meters.iter().map(|entry| (entry.id, entry.allowed_scopes.clone())).collect();
        let images = Images::new(&config.data_dir, config.firmware_root);
        let admission = Admission { marks: Arc::clone(&marks), scopes };
        let campaigns = Campaigns::open(alarms.clone(), images, admission).await?;
        let acquisition = Acquisition {
            store: store.clone(),
            fleet: fleet.clone(),
            alarms: alarms.clone(),
            requests: Arc::clone(&requests),
            campaigns: Arc::clone(&campaigns),
            attestation: config.attestation,
            enroller,
            policy: Policy { marks },
            log_authorities: config.trust.meters.iter().map(|der| der.to_vec()).collect(),
            forms: Forms::default(),
            system_title: config.system_title,
            pace: config.pace,
        };
        let others = Others {
            folder: others::entry::folder(&config.data_dir),
            store: store.clone(),
            fleet: Arc::clone(&fleet),
            requests: Arc::clone(&requests),
            system_title: config.system_title,
        };
        let others = tokio::spawn(others.serve(stopping.clone()));
        let api = Api {
            store: store.clone(),
            fleet: fleet.clone(),
            alarms: alarms.clone(),
            requests,
            campaigns: Arc::clone(&campaigns),
            uploads: Arc::new(Semaphore::new(1)),
            virtual_sites: config.virtual_sites,
            stopping: stopping.clone(),
        };
        let gateway =
            Gateway::new(tls, config.accept, acquisition, config.meters).serve(gateway, stopping.clone());
        let gateway = tokio::spawn(gateway);
        let router = router(api, Guard::new(keeper, page_addr));
        let page = tokio::spawn(page_server::serve(page, router, PageLimits::default(), stopping));
        let mut tasks = vec![gateway, others, page];
        tasks.push(tokio::spawn(campaigns.serve(stop.subscribe())));
        // What is read rarely is not silent in between.
        let silent_after = config.silent_after.max(config.pace.live * 2);
        for receiver in config.receivers {
            tasks.push(tokio::spawn(Courier::new(receiver, alarms.clone()).serve(stop.subscribe())));
        }
        tasks.push(tokio::spawn(witness::watch(alarms.clone(), stop.subscribe())));
        tasks.push(tokio::spawn(silence::watch(alarms, silent_after, stop.subscribe())));
        if let Some(folder) = config.revocations {
            tasks.push(tokio::spawn(watch_lists(folder, config.trust.revocations, stop.subscribe())));
        }
        Ok(Self { gateway_addr, page_addr, token, _doorplate: doorplate, store, fleet, stop, tasks })
    }

    /// Where meters call.
    pub fn gateway_addr(&self) -> SocketAddr {
        self.gateway_addr
    }

    /// Where the page answers.
    pub fn page_addr(&self) -> SocketAddr {
        self.page_addr
    }

    /// The link that opens the page, once.
    pub fn page_url(&self) -> String {
        format!("http://{}/open?token={}", self.page_addr, self.token.expose())
    }

    /// How many meters are connected, admitted and being read at this moment.
    pub fn online(&self) -> usize {
        self.fleet.online()
    }

    /// The store, for commands that work beside the page.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Ends every connection and stream, commits what is under way, and closes the store.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            let abort = task.abort_handle();
            match tokio::time::timeout(SHUTDOWN_WITHIN, task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a part of the head-end had failed"),
                Err(_) => {
                    tracing::warn!("a connection did not end in time and is cut");
                    abort.abort();
                }
            }
        }
        self.store.close().await;
    }
}

/// Everything that answers on the page's address.
fn router(api: Api, guard: Guard) -> Router {
    let api = api::router(api).layer(from_fn_with_state(guard.clone(), guard::api));
    let page = Router::new().fallback(get(web::file)).layer(from_fn_with_state(guard.clone(), guard::page));
    Router::new()
        .route("/open", get(guard::open))
        .route("/verify", get(web::verifier))
        .with_state(guard.clone())
        .merge(api)
        .fallback_service(page)
        .layer(from_fn_with_state(guard, guard::outer))
}

/// Waits until something is to stop; its owner gone means the same.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|&stop| stop).await;
}

/// Puts new lists of revoked certificates into effect until the head-end stops.
async fn watch_lists(folder: PathBuf, revocations: Revocations, mut stopping: watch::Receiver<bool>) {
    tokio::select! {
        never = revocation::watch(folder, revocations) => match never {},
        () = stopped(&mut stopping) => {}
    }
}

/// Every configured meter with what the store remembers of it.
async fn remember(store: &Store, meters: &[MeterEntry]) -> Result<Fleet, StartError> {
    let mut remembered = Vec::with_capacity(meters.len());
    for entry in meters {
        let record = MeterRecord {
            id: entry.id,
            name: entry.name.clone(),
            site: entry.site.clone(),
            is_virtual: entry.is_virtual,
            time_base: entry.time_base,
        };
        let history = store.register(record.clone()).await?;
        let live = store.newest_live(entry.id).await?;
        let attested = store.attested(entry.id).await?;
        remembered.push((record, history, live, attested));
    }
    Ok(Fleet::new(remembered))
}

/// A mark that cannot be used is said and left out: its meters are refused, the others work.
fn marks(signed: &[Vec<u8>], keys: &[SealPublicKey]) -> MarkStore {
    let mut marks = MarkStore::new();
    for (place, mark) in signed.iter().enumerate() {
        if let Err(error) = marks.add(mark, keys) {
            tracing::warn!(mark = place + 1, %error, "a mark cannot be used; meters that need it are refused");
        }
    }
    marks
}

async fn listen(
    what: &'static str,
    address: SocketAddr,
    option: &'static str,
) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => StartError::AddressInUse { what, address, option },
        _ => StartError::Listen { what, address, option, source },
    })
}

fn local_addr(
    listener: &TcpListener,
    address: SocketAddr,
    what: &'static str,
    option: &'static str,
) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen { what, address, option, source })
}
