//! Values for SET and ACTION, written as a client writes them.

use meterseal_model::Obis;

pub fn structure(fields: &[Vec<u8>]) -> Vec<u8> {
    sequence(2, fields)
}

pub fn array(elements: &[Vec<u8>]) -> Vec<u8> {
    sequence(1, elements)
}

fn sequence(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    assert!(parts.len() < 128);
    let mut bytes = vec![tag, parts.len() as u8];
    bytes.extend(parts.concat());
    bytes
}

pub fn octets(bytes: &[u8]) -> Vec<u8> {
    let mut value = vec![9, bytes.len() as u8];
    value.extend(bytes);
    value
}

pub fn u8(value: u8) -> Vec<u8> {
    vec![17, value]
}

pub fn u16(value: u16) -> Vec<u8> {
    let [high, low] = value.to_be_bytes();
    vec![18, high, low]
}

pub fn u32(value: u32) -> Vec<u8> {
    let mut bytes = vec![6];
    bytes.extend(value.to_be_bytes());
    bytes
}

/// What methods take that take nothing.
pub fn nothing() -> Vec<u8> {
    vec![15, 0]
}

pub fn season(name: &str, month: u8, day: u8, week: &str) -> Vec<u8> {
    let start = [0xFF, 0xFF, month, day, 0xFF, 0, 0, 0, 0, 0x80, 0, 0];
    structure(&[octets(name.as_bytes()), octets(&start), octets(week.as_bytes())])
}

pub fn week(name: &str, days: [u8; 7]) -> Vec<u8> {
    let mut fields = vec![octets(name.as_bytes())];
    fields.extend(days.map(u8));
    structure(&fields)
}

/// A day profile: from these hours and minutes on these rates.
pub fn day(id: u8, actions: &[(u8, u8, u16)]) -> Vec<u8> {
    let actions: Vec<_> = actions
        .iter()
        .map(|&(hour, minute, rate)| {
            let start = octets(&[hour, minute, 0, 0]);
            structure(&[start, octets(&Obis::TARIFF_SCRIPTS.0), u16(rate)])
        })
        .collect();
    structure(&[u8(id), array(&actions)])
}

pub fn special_day(index: u16, month: u8, day: u8, id: u8) -> Vec<u8> {
    structure(&[u16(index), octets(&[0xFF, 0xFF, month, day, 0xFF]), u8(id)])
}

/// An execution time: this hour and minute of these days.
pub fn execution(hour: u8, minute: u8, date: [u8; 5]) -> Vec<u8> {
    structure(&[octets(&[hour, minute, 0, 0]), octets(&date)])
}

pub fn script(table: Obis, selector: u16) -> Vec<u8> {
    structure(&[octets(&table.0), u16(selector)])
}

/// 22 November 2026 in UTC.
pub fn noon(hour: u8, minute: u8, second: u8) -> Vec<u8> {
    octets(&[0x07, 0xEA, 11, 22, 7, hour, minute, second, 0, 0, 0, 0])
}
