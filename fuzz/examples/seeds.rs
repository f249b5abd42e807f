//! Writes honest inputs for every target into `corpus/`: where the fuzzer begins. `cargo run --example seeds`.

use std::path::Path;

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::xdlms::{AttributeDescriptor, AttributeDescriptorWithSelection, MethodDescriptor};
use meterseal_fuzz::bench;
use meterseal_fuzz::support::client::{Client, by_sequence, dlms, everything};
use meterseal_fuzz::support::keys_of;
use meterseal_link::Pki;
use meterseal_link::pki::Reason;
use meterseal_link::revocation::list_from_pem;
use meterseal_model::{Obis, Role};
use meterseal_seal::evidence::{Entry, Export, Statement};
use meterseal_seal::log::{Checkpoint, LogHash, Peaks};
use meterseal_seal::request::certificate_request;
use meterseal_seal::{KeyError, SealKey, Signer as _};

fn main() -> std::io::Result<()> {
    let plain = requests();
    let mut count = 0;
    let mut save = |target: &str, bytes: &[u8]| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        count += 1;
        std::fs::write(folder.join(format!("seed-{count:03}")), bytes)
    };
    for (number, role) in Role::ALL.into_iter().enumerate() {
        let number = number as u8;
        let sent = session(role, &plain[..6]);
        save("wrapper", &[&[33][..], &sent.concat()].concat())?;
        let apdus: Vec<&[u8]> = sent.iter().map(|frame| &frame[8..]).collect();
        save("aarq", &[&[number, 0xFF][..], &chunk(apdus[0])].concat())?;
        save("aarq", &[&[number, 0xFF][..], &chunk(apdus[0]), &chunk(apdus[0])].concat())?;
        save(
            "apdu",
            &[&[number, number][..], &apdus.iter().flat_map(|apdu| chunk(apdu)).collect::<Vec<_>>()].concat(),
        )?;
        save("session", &[0, 2, number, 8, 1, 0, 2, number, 6, 9])?;
    }
    for some in plain.chunks(6) {
        let chunks: Vec<u8> = some.iter().flat_map(|apdu| chunk(apdu)).collect();
        save("apdu", &[&[0, 0][..], &chunks].concat())?;
        for form in [0, 0x80] {
            let ciphered: Vec<u8> = some.iter().flat_map(|apdu| [vec![form], chunk(apdu)].concat()).collect();
            save("ciphered", &[&[2][..], &ciphered].concat())?;
            let acts: Vec<u8> =
                some.iter().flat_map(|apdu| [vec![4, 2, form], chunk(apdu)].concat()).collect();
            save("session", &[&[0, 2, 2][..], &acts, &[8, 1, 0, 6, 7, 0, 30]].concat())?;
        }
        for (question, answers) in answers(some).into_iter().enumerate() {
            save("answer", &[vec![question as u8 % 6], answers].concat())?;
        }
    }
    for bytes in certificates()? {
        save("certificate", &bytes)?;
    }
    for bytes in evidence()? {
        save("evidence", &bytes)?;
    }
    println!("{count} seeds");
    Ok(())
}

/// Certificates of each kind in DER and PEM, a request, a list of revoked ones; and the authority that signed the list
/// becomes the target's.
fn certificates() -> std::io::Result<Vec<Vec<u8>>> {
    let folder = std::env::temp_dir().join(format!("meterseal-seeds-{}", std::process::id()));
    let pki = Pki::create(&folder).map_err(std::io::Error::other)?;
    let meter = "MSL0000000042".parse().expect("an identifier");
    let issued = [pki.issue_meter(meter), pki.issue_headend("local")];
    let mut all = vec![pki.root().to_vec(), pki.certification().to_vec()];
    for one in issued {
        let one = one.map_err(std::io::Error::other)?;
        let identity = one.identity().map_err(std::io::Error::other)?;
        all.extend(identity.chain().iter().map(|certificate| certificate.to_vec()));
        all.push(one.chain_pem().as_bytes().to_vec());
        all.push([one.chain_pem(), one.key_pem()].concat().into_bytes());
        pki.revoke(&identity.chain()[0], Reason::KeyCompromise).map_err(std::io::Error::other)?;
    }
    let key = SealKey::generate(getrandom::fill).map_err(std::io::Error::other)?;
    let request = certificate_request::<KeyError>(meter, key.public(), |bytes| key.sign(bytes));
    all.push(request.map_err(std::io::Error::other)?);
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".crl.pem") {
            let text = std::fs::read_to_string(path)?;
            all.push(list_from_pem(&text).map_err(std::io::Error::other)?);
            all.push(text.into_bytes());
        }
    }
    let authority = pki.trust().meters[0].to_vec();
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/authority.der"), authority)?;
    std::fs::remove_dir_all(folder)?;
    Ok(all)
}

/// The files with which `seal` is tested, short enough for the fuzzer, and a leaf, peaks and a checkpoint by themselves.
fn evidence() -> std::io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/seal/tests/files");
    let file = |name| std::fs::read(folder.join(name));
    let (statement, signed) = (file("statement-before.cbor")?, file("checkpoint.cbor")?);
    let parsed = Statement::decode(&statement).map_err(std::io::Error::other)?;
    let checkpoint = Checkpoint::verify(&signed, std::slice::from_ref(&parsed.origin.key));
    let checkpoint = checkpoint.map_err(std::io::Error::other)?.checkpoint().encode();
    let mut peaks = Peaks::new();
    (0..7).for_each(|_| peaks.append(checkpoint_root(&parsed)));
    let start = Export { origin: parsed.origin.clone(), start: Peaks::new(), count: 1 };
    let mut export = Vec::new();
    let entries = parsed.readings.iter().map(|reading| Ok::<_, std::io::Error>(Entry::Leaf(&reading.leaf)));
    start.write(entries, &[], |bytes| {
        export.extend_from_slice(bytes);
        Ok(())
    })?;
    export.extend_from_slice(&signed);
    let leaf = parsed.readings[0].leaf.clone();
    let certificate = parsed.origin.chain[0].clone();
    Ok(vec![
        statement,
        file("statement.cbor")?,
        export,
        leaf,
        peaks.encode(),
        checkpoint,
        certificate,
        signed,
    ])
}

fn checkpoint_root(statement: &Statement) -> LogHash {
    LogHash::of_leaf(&statement.checkpoint)
}

/// A length and as many bytes.
fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = match u8::try_from(bytes.len()) {
        Ok(length) if length < 255 => vec![length],
        _ => [&[255][..], &(bytes.len() as u16).to_be_bytes()].concat(),
    };
    chunk.extend_from_slice(bytes);
    chunk
}

/// Requests as they are before ciphering: every attribute, a list, a range, sets and methods.
fn requests() -> Vec<Vec<u8>> {
    let mut client = Client::new(Role::Public, &keys_of(Role::Utility), 0, 1024);
    let mut flash = bench::flash();
    let mut meter = bench::meter(&mut flash);
    client.associate(&mut meter).expect("the public may always come");
    let session = &mut client.session;
    let mut buffer = [0; 1024];
    let mut requests = Vec::new();
    let attributes: Vec<_> =
        everything().map(|(object, attribute)| (object.class.id(), object.obis, attribute.index)).collect();
    let items: Vec<_> = attributes
        .iter()
        .take(8)
        .map(|&(class, obis, attribute)| AttributeDescriptorWithSelection {
            descriptor: AttributeDescriptor::new(class, dlms(obis), attribute),
            access: None,
        })
        .collect();
    let length = session.get_request_with_list(&items, &mut buffer).expect("it fits");
    requests.push(buffer[..length].to_vec());
    let mut range = [0; 128];
    let rows = AttributeDescriptor::new(7, dlms(Obis::LOAD_PROFILE), 2);
    let length =
        session.get_request(rows, Some(by_sequence(&mut range, 1, 9)), &mut buffer).expect("it fits");
    requests.push(buffer[..length].to_vec());
    let committed = AttributeDescriptor::new(1, dlms(Obis::COMMITTED_LOAD_PROFILE), 2);
    let length = session.set_request(committed, None, Data::Long64Unsigned(1), &mut buffer).expect("it fits");
    requests.push(buffer[..length].to_vec());
    for (class, obis, method) in
        [(70, [0, 0, 96, 3, 10, 255], 1), (8, [0, 0, 1, 0, 0, 255], 6), (64, [0, 0, 43, 0, 0, 255], 2)]
    {
        let method = MethodDescriptor::new(class, dlms(Obis(obis)), method);
        let length = session.action_request(method, Some(Data::Integer(0)), &mut buffer).expect("it fits");
        requests.push(buffer[..length].to_vec());
    }
    for (class, obis, attribute) in attributes {
        let descriptor = AttributeDescriptor::new(class, dlms(obis), attribute);
        let length = session.get_request(descriptor, None, &mut buffer).expect("it fits");
        requests.push(buffer[..length].to_vec());
    }
    requests
}

/// The frames of an association, and requests ciphered as they stand.
fn session(role: Role, plain: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut flash = bench::flash();
    let mut meter = bench::meter(&mut flash);
    let mut client = bench::associate(&mut meter, role, 0).expect("it holds its keys");
    for (counter, apdu) in plain.iter().enumerate() {
        let frame = match role {
            Role::Public => meterseal_fuzz::support::client::frame(role, apdu),
            role => {
                let form = bench::Form::Service(apdu[0] + 8);
                bench::cipher(role, form, bench::PROTECTED, 100 + counter as u32, apdu)
            }
        };
        client.sent.push(frame);
    }
    client.sent
}

/// What the meter answers the public to each of these.
fn answers(plain: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut flash = bench::flash();
    let mut meter = bench::meter(&mut flash);
    bench::associate(&mut meter, Role::Public, 0).expect("the public may always come");
    plain
        .iter()
        .map(|apdu| {
            let frame = meterseal_fuzz::support::client::frame(Role::Public, apdu);
            let answers = bench::feed(&mut meter, &frame, usize::MAX);
            answers.iter().flat_map(|frame| chunk(&frame[8..])).collect()
        })
        .collect()
}
