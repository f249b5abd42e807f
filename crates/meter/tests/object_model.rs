//! `docs/object-model.md` is written from the tables that the meter runs on. This test fails when it is out of date;
//! `UPDATE_DOCS=1 cargo test -p meterseal-meter --test object_model` writes it.

use std::fmt::Write as _;

use meterseal_model::event::PowerEvent;
use meterseal_model::objects::{
    BILLING_COLUMNS, Column, EVENT_LOG_COLUMNS, LOAD_PROFILE_COLUMNS, OBJECTS, Object, POWER_QUALITY_COLUMNS,
    PUSH_COLUMNS, SECURITY_LOG_COLUMNS, find,
};
use meterseal_model::{EventCode, Role};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/object-model.md");

#[test]
fn the_object_model_document_is_up_to_date() {
    let document = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PATH, &document).expect("docs/ is writable");
    }
    let found = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        found == document,
        "docs/object-model.md is out of date: run UPDATE_DOCS=1 cargo test -p meterseal-meter --test object_model"
    );
}

fn document() -> String {
    let mut text = String::new();
    text.push_str(INTRODUCTION);
    for role in Role::ALL {
        let (mechanism, policy) = match role {
            Role::Public => ("none", "none"),
            _ => ("5 (HLS-GMAC)", "suite 2, authenticated and encrypted, the role's own keys"),
        };
        let address = role.client_address();
        line(&mut text, format_args!("| {role} | {address:#04x} | {mechanism} | {policy} |"));
    }
    text.push_str(OBJECTS_HEAD);
    for object in OBJECTS {
        rows(&mut text, object);
    }
    text.push_str(LOG_HEAD);
    columns(&mut text, SECURITY_LOG_COLUMNS);
    text.push_str(PROFILE_HEAD);
    columns(&mut text, LOAD_PROFILE_COLUMNS);
    text.push_str(QUALITY_HEAD);
    columns(&mut text, POWER_QUALITY_COLUMNS);
    text.push_str(EVENT_LOG_HEAD);
    columns(&mut text, EVENT_LOG_COLUMNS);
    text.push_str(BILLING_HEAD);
    columns(&mut text, BILLING_COLUMNS);
    text.push_str(PUSH_HEAD);
    columns(&mut text, PUSH_COLUMNS);
    text.push_str(EVENTS_HEAD);
    for code in EventCode::ALL {
        let (number, severity) = (*code as u8, code.severity());
        let (sentence, extreme) = (code.sentence(), code.extreme());
        line(&mut text, format_args!("| {number} | `{code}` | {severity:?} | {sentence} | {extreme} |"));
    }
    text.push_str(POWER_EVENTS_HEAD);
    for event in PowerEvent::ALL {
        let (number, sentence, extreme) = (*event as u8, event.sentence(), event.extreme());
        line(&mut text, format_args!("| {number} | `{event}` | {sentence} | {extreme} |"));
    }
    text.push_str(RULES);
    text
}

fn rows(text: &mut String, object: &Object) {
    let (class, version) = (object.class.id(), object.class.version());
    line(
        text,
        format_args!(
            "| `{}` | {class}, {version} | **{}** | {} | | | | | | |",
            object.obis,
            object.name,
            object.class.name()
        ),
    );
    // Attribute 1 is the logical name everywhere, with the rights of the object's first own attribute.
    for attribute in &object.attributes[1..] {
        let mut kind = attribute.kind.name().to_owned();
        if let Some(scale) = object.scale.filter(|_| attribute.index == 2) {
            let _ = write!(kind, ", 10^{} {}", scale.scaler, scale.unit.symbol());
        }
        let rights = Role::ALL.map(|role| attribute.rights.of(role).to_string()).join(" | ");
        line(
            text,
            format_args!("| | {} | {} | {} | {rights} |", attribute.index, attribute.name, kind.trim_end()),
        );
    }
    for method in object.methods {
        let rights = Role::ALL.map(|role| if method.roles.contains(role) { "action" } else { "–" });
        line(
            text,
            format_args!("| | method {} | {} | | {} |", method.index, method.name, rights.join(" | ")),
        );
    }
}

fn columns(text: &mut String, columns: &[Column]) {
    for (k, column) in columns.iter().enumerate() {
        let object = find(column.class.id(), column.obis).expect("every column is an object");
        let scale = object.scale.map(|scale| format!(", 10^{} {}", scale.scaler, scale.unit.symbol()));
        line(
            text,
            format_args!(
                "| {} | `{}` | {} | {} | {}{} |",
                k + 1,
                column.obis,
                column.attribute,
                object.name,
                column.kind.name(),
                scale.unwrap_or_default()
            ),
        );
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

const INTRODUCTION: &str = "\
# The object model

What a Meterseal meter shows over DLMS/COSEM (IEC 62056-5-3, 62056-6-1, 62056-6-2): every object, its class and version,
the types of its attributes, and what each role may do. This file is written from `crates/model/src/objects/`, the
table that the meter takes its rights and its object list from; `cargo test -p meterseal-meter` fails when it is out of
date, and `UPDATE_DOCS=1` in front of that writes it.

## Roles

The transport is TLS 1.3 and inside it the DLMS wrapper (version 1). The meter is the server at wrapper port 1; the
client's wrapper port names its role. Which roles a peer may take its certificate says; the installer is served on the local
port only.

| role | client address | mechanism | protection |
|---|---|---|---|
";

const OBJECTS_HEAD: &str = "
All the meter sends under a key, answers and pushes alike, carries one strictly rising invocation counter that no restart
sets back; the same is demanded of the client. A reply comes in the form of its request: service-specific (`glo-…`) or
`general-glo-ciphering`. A release is answered plain when it came plain, and enciphered when it came so. A message of more than 4096 bytes is refused; longer answers go out in blocks.

## Objects

An object is in a role's object list when the role may do anything with it. Attribute 1, the logical name, is readable by
whoever may read the object at all, and left out here. `get` and `set` also mean their forms with list and in blocks.

| object | class, version / attribute | name | type | public | reader | utility | firmware | installer | bench |
|---|---|---|---|---|---|---|---|---|---|
";

const LOG_HEAD: &str = "
Energy registers show what is in flash, saved once a second, so that no power cut takes back a value that anybody has
seen. Live quantities are those of the latest window of 10/12 cycles; before the first, the answer is
temporary-failure. A quantity beyond its type's range shows the largest value. Import and export are separate objects of
which one is 0.

Harmonics (0-128:96.13.0 to 6) are an array of orders from 1 to 50, or fewer where the sampling rate is low: of each the RMS
value, double-long-unsigned in millionths of a volt or ampere, and the angle, double-long in millionths of a degree where the
voltage's fundamental is at its maximum, or null-data where it would be noise. Empty where the device analyses none
(`Config::harmonics`), before the first window, and for a window with frames missing.

## Security log (0-0:99.98.1)

Append-only; sequence numbers start at 1 and rise by one, none is ever used again. It cannot be cleared. The clock's column
is when the event began; the uptime's column the same in milliseconds since power-up, which no clock change alters.

| column | object | attribute | name | type |
|---|---|---|---|---|
";

const PROFILE_HEAD: &str = "
## Load profile 1 (1-0:99.1.0)

A row at the end of each interval, aligned to the clock: the saved registers then, and the mean voltages of the interval.
When full, the oldest rows make room, acknowledged or not. Sequence numbers as in the security log. Status bits: 0 power
down or restart in the interval, 1 clock adjusted, 2 longer or shorter than the period, 3 a channel was overdriven, 4
the front end lost samples, 5 the calibration record is refused and the registers stand still. The row of
an interval in which the power went is written when it is back; intervals wholly without power have no row.

| column | object | attribute | name | type |
|---|---|---|---|---|
";

const QUALITY_HEAD: &str = "
## Power-quality log (0-0:99.98.5)

What the detectors of the core saw (IEC 61000-4-30 for sag, swell, interruption and unbalance; thresholds in
`meter::Config`): a row when an event begins, with duration 0, and one when it is over, both with the clock's time and the
uptime of the beginning and the extreme value up to then. An event that the power's end cut off has no second row; the
security log's power-up says for how long the supply was away. Rows make room for new ones. Written are 64 rows at once and
one more every 10 s; what is beyond that is counted in a row of event 255.

| column | object | attribute | name | type |
|---|---|---|---|---|
";

const POWER_EVENTS_HEAD: &str = "
## Power-quality events

| number | name | meaning | extreme value |
|---|---|---|---|
";

const EVENT_LOG_HEAD: &str = "
## Event log (0-0:99.98.0)

What concerns tariffs, billing and limits. The oldest entries make room. The utility may clear it (method 1, reset): that is
an entry of the security log, which nobody can clear, and the first of the cleared log; numbers go on.

| column | object | attribute | name | type |
|---|---|---|---|---|
";

const BILLING_HEAD: &str = "
## Data of billing period 1 (0-0:98.1.0)

A row at the end of each billing period: registers, rates, and the maximum demand of the period with the end of its quarter,
after which the maximum begins anew. It ends when the single action schedule (0-0:15.0.0) says so, by default with the
calendar month, or when the utility executes script 1 of 0-0:10.0.1. An end at which the meter had no power is made up for at
the next start, with the registers as they stood; of several such, the latest.

| column | object | attribute | name | type |
|---|---|---|---|---|
";

const PUSH_HEAD: &str = "
## Push of a security event

A `DataNotification` in `general-glo-ciphering` with the utility's keys, from wrapper port 1 to the utility's client
address, in a connection with a utility association that agreed to `general-protection`. An entry is pushed only after it
is in flash, in order of sequence, and again in each new association until its sequence is acknowledged. The body is a
structure:

| element | object | attribute | name | type |
|---|---|---|---|---|
";

const EVENTS_HEAD: &str = "
The notification's own date-time is when it was sent. Date-times are octet-strings of 12 bytes in UTC (deviation 0), to
hundredths of a second; clock status bit 2 (different clock base) marks a simulated run.

## Events

| number | name | severity | meaning | extreme value |
|---|---|---|---|---|
";

const RULES: &str = "
## Calibration (0-128:96.3.1)

The factory writes the unit's calibration record into its own flash sector. A meter without one measures with its nominal
scale and says that it is uncalibrated. A record that is spoilt, impossible or another unit's is refused: live quantities are
shown, but no energy is booked, no pulse is given, `measurement_error` is logged at each start, alarm bit 11 is raised, and
rows of the load profile have status bit 5.

## Alarms

The alarm register (0-0:97.98.0) has bit 0 for a clock change, 2 for a power-up, 10 for the memory, 11 for the measurement\n(calibration refused), 13 (fraud) for the
critical events beside it. Setting it clears the bits that are 0 in the value, and raises none.

## Tariffs

The layouts of the classes below are from memory of IEC 62056-6-2, not verified against the standard's text. All times are
the meter's, UTC. Each change of a setting is `parameters_changed` in the security log, before it is written; what is refused
changes nothing: type-unmatched for a wrong type, scope-of-access-violated for a value or a count out of its bounds. An ACTION
that cannot be done answers other-reason.

- **Activity calendar** (class 20): at most 6 seasons, 6 weeks, 16 day profiles of 12 actions, names of 8 bytes. A season begins
  on a month and day, every year or in one; an action names script 1 to 4 of 0-0:10.0.100: the rate. A calendar is activated
  whole, by method 1 or at its time, and only if every week and day that it names is there and every day begins at midnight;
  otherwise other-reason, or `calendar_refused` in the event log. A calendar without seasons is always at rate 1.
- **Special days** (class 11): at most 48, each index once; a day profile that is not in the active calendar is ignored.
- **Rates** (1-0:1.8.1 to 4, 1-0:2.8.1 to 4): energy goes to the one rate in force. Their sum is 1-0:1.8.0 (2.8.0), exactly, and
  is saved in the same record. Energy reaches the registers up to two supply cycles after it flowed, and is at the rate of then.
- **Demand** (class 5): mean power over the clock's quarters of an hour. A quarter that a start or a clock change cut short is
  given up. **Maximum demand** (class 4): the largest since the last end of a billing period; method 1 resets it.
- **Single action schedule** (class 22): at most 12 times, wildcards in the date, day 0xFE is the last of the month; its type
  follows from them.

## Supply

**Disconnect control** (class 70) in control mode 4: the utility disconnects and reconnects directly; the limiter disconnects,
to \"ready for reconnection\". The security log and the new state are in flash before the relay moves, and the state survives
restarts. **Limiter** (class 71): watches 1-0:1.7.0; thresholds in its unit (10 mW), 4294967295 for none; durations of 1 to
86 400 s; at most 4 emergency groups; actions are scripts of 0-0:10.0.106, 0 for none. Its script can reconnect what it
disconnected itself, never what the utility did.

## Connections

**TCP-UDP setup** (class 41): the port is that of the local listener, 0 where the device only dials; up to 4 connections, one
dialled and three at the local port. Port, IP reference, segment size and number of connections are the device's and its
operating system's, and read only. The utility sets the inactivity time-out: 30 to 3600 s, or 0 for the device's own; it is
in force with the next byte.

**Push setup** (class 40): *send_destination_and_method* takes {0 (TCP), empty, 0 (A-XDR)}, the standing connection to the
head-end, and no other: the meter dials nobody else, and a SET with another service, destination or encoding is refused with
scope-of-access-violated. *communication_window*: at most 4, each from every instant that its first date-time means to the
next that its second does; dates with wildcards, times of day without, UTC. Outside them nothing is pushed; without windows
always. *randomisation_start_interval*: what becomes due waits a random part of it, anew for each window.
*number_of_retries*: so often in one association is what was not acknowledged within *repetition_delay* (at least 1 s) pushed
again; a new association begins anew. The *push* method heeds all of these.

## Image transfer (0-0:44.0.0)

Class 18 for the firmware role; the layout is from memory of IEC 62056-6-2, not verified against the standard's text. A meter
that has nowhere to put an image shows none: block size 0, no blocks, not enabled, status 0, nothing to activate; every method
answers object-unavailable. With an image store: a transfer of the same image goes on where it was interrupted; a block that is
there already stays; a block's number, length or size beyond the image is scope-of-access-violated; what takes long answers
temporary-failure until it is done, and the status says how far it is; a step out of order, missing blocks and an image that is
none for this meter are other-reason. A block is at most 3072 bytes, an image at most 65 536 blocks. *image_activate* takes
integer(0), or, which the class does not know, the image's SHA-384 as an octet-string, or a structure of that and a date-time
at which to activate. The firmware partition has blocks of 2032 bytes and insists on the digest; `image_to_activate_info` shows
it as the signature.

## Commit acknowledgements (0-128:96.1.0 and 0-128:96.1.1)

The head-end sets the highest sequence number up to which it has *stored everything*. A number below the present one or
above the newest row is refused (scope-of-access-violated). What is acknowledged is in flash before the answer goes out.

## When the log is full

Nothing unacknowledged is overwritten. An eighth of the log is kept for tampering (critical events and their ends): when
only that is left, `log_nearly_full` is logged once, and other events are counted instead of logged. When nothing is left,
all are counted. Once an acknowledgement has made room for twice the reserve, `events_not_logged` says how many there were.

## Selective access to the buffers

- Selector 1, by range: over the sequence column (class 1, 0-128:96.2.0, attribute 2; any unsigned type) or the clock
  column (class 8, 0-0:1.0.0, attribute 2). Both ends are included. Selected values: an empty array for all columns.
- Selector 2, by entry: entry 1 is the oldest row held; 0 as last entry or last column means the end.
- An answer holds at most 8192 bytes: 100 rows of the load profile, 170 of the security log. A larger selection is refused
  with scope-of-access-violated and never shortened.

## Keys (key_transfer of 0-0:43.0.e)

Each role has a security setup, with the same e as its invocation counter. The utility transfers its keys: an array of
structures of key number (0 unicast encryption, 2 authentication, 3 key encryption key, the last by itself) and the new key of
32 bytes wrapped under the key encryption key (RFC 3394). All or none are taken; with the answer they are in flash, under
AES-256-GCM with the device's secret, and in force. The answer still goes out under the old key; then every association of that
role ends, on every connection, and the old key opens nothing any more. With a new encryption key both sides' counters begin
anew; with a new authentication key alone they go on. A key that a role has already is refused.

Certificates (methods 4 to 8 of 0-0:43.0.0) are those of the meter's TLS identity, key type 2: *generate_key_pair* makes one
that waits, *generate_certificate_request* gives its PKCS #10 request, *import_certificate* takes one certificate or a chain in
DER and puts the new pair in force, if an authority of the meter's utility issued it for this meter by name. *certificates* lists
those from manufacture too: entity 0 is the meter and 2 an authority, type 2 is TLS and 0 a signature (log, attestation).
*export_certificate* gives one by entity or by serial number, *remove_certificate* forgets the operational one with its key: the
meter then calls with its identity from manufacture. What is refused in this is logged as `certificate_refused`.

## Whoever fails is answered later

A role is refused that the peer's certificate does not name; an installer is refused everywhere but on the local port. A role's
key serves one connection at a time: a second is refused while the first is up, and an association that only began gives way.
After a refused login, a message that cannot be deciphered or a replay the answer is withheld for 250 ms, twice as long with
each further one, up to 60 s; a strike is forgiven after a minute. Acts beyond a role's rights cost nothing up to 16 and then
count as one each. What is sent meanwhile waits (four messages, then the connection is closed). Delays are counted for each
role, and apart for the local port and the dial-out connection. `failed_logins` is logged with every third, the others once an
association.

## Not yet

Settable capture objects, ACTION with a list in blocks,
ECDSA (mechanism 7) and `general-signing`. In the general form a block can be up to 9 bytes longer than in the
service-specific form, for the system title: a client that announces less than 8 KiB and insists on the general form should
announce 9 bytes less than it can take.
";
