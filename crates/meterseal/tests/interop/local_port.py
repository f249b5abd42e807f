"""Independent clients at the local port of `meterseal up`: Python's own TLS (OpenSSL), `gurux-dlms` as reader and installer,
and `dlms-cosem`, a second client that shares no code with it, as bench.

Run by tests/interop.rs with a meter's address, its identifier and the folder of credentials that `up` made.
"""

import datetime
import logging
import socket
import ssl
import sys

from dlms_cosem import cosem, enumerations, utils
from dlms_cosem.clients.dlms_client import DataResultError, DlmsClient
from dlms_cosem.cosem.capture_object import CaptureObject
from dlms_cosem.cosem.selective_access import RangeDescriptor
from dlms_cosem.protocol import xdlms
from gurux_dlms import GXDLMSException
from gurux_dlms.enums import DataType, ObjectType
from gurux_dlms.objects import GXDLMSClock, GXDLMSData, GXDLMSProfileGeneric, GXDLMSRegister

from client import TIMEOUT_SECONDS, Session, check

READER, INSTALLER, BENCH = 0x20, 0x50, 0x60
POWER_UP = 2


class Port:
    """A meter's local port, and the folders with what each role needs there."""

    def __init__(self, address, meter, folder):
        host, port = address.rsplit(":", 1)
        self.address = host, int(port)
        self.meter = meter
        self.folder = folder

    def connect(self, role):
        """TLS 1.3 by OpenSSL, with the role's certificate, to the meter that is meant and no other."""
        own = f"{self.folder}/{role}"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(f"{own}/certificate.pem", f"{own}/key.pem")
        context.load_verify_locations(f"{own}/authorities.pem")
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.set_alpn_protocols(["meterseal/1"])
        name = f"{self.meter.lower()}.meter.meterseal.internal"
        stream = socket.create_connection(self.address, TIMEOUT_SECONDS)
        secured = context.wrap_socket(stream, server_hostname=name)
        check(secured.version() == "TLSv1.3", "TLS version", secured.version())
        return secured

    def keys(self, role):
        digits = open(f"{self.folder}/{role}/{self.meter}.key", encoding="ascii").read().strip()
        return bytes.fromhex(digits[:64]), bytes.fromhex(digits[64:])


def refused(session, messages):
    try:
        session.exchange(messages)
    except GXDLMSException:
        return True
    return False


def reader(port):
    session = Session(port.connect("reader"), READER, port.keys("reader"))
    objects = session.objects()
    check(len(objects) > 100, "objects of the reader:", len(objects))
    energy = GXDLMSRegister("1.0.1.8.0.255")
    session.read(energy, 3)
    session.read(energy, 2)
    check(energy.value >= 0 and int(energy.unit) == 30, "active energy import:", energy.value, energy.unit)

    # The security log's first row by entry, and the same by range of the clock.
    log = GXDLMSProfileGeneric("0.0.99.98.1.255")
    session.read(log, 3)
    columns = [(int(column[0].objectType), str(column[0].logicalName)) for column in log.captureObjects]
    code = columns.index((int(ObjectType.DATA), "0.0.96.11.1.255"))
    rows = session.exchange(session.client.readRowsByEntry(log, 1, 1)).value
    check(len(rows) == 1 and int(rows[0][code]) == POWER_UP, "first row by entry:", rows)
    now = datetime.datetime.now(datetime.timezone.utc)
    hour = datetime.timedelta(hours=1)
    rows = session.exchange(session.client.readRowsByRange(log, now - hour, now + hour)).value
    check(len(rows) >= 1 and int(rows[0][code]) == POWER_UP, "rows by range:", rows)

    clock = GXDLMSClock("0.0.1.0.0.255")
    clock.time = now
    check(refused(session, session.client.write(clock, 2)), "a reader could set the clock")
    ssid = GXDLMSData("0.128.96.12.10.255")
    check(session.refused(ssid, 2), "a reader could see the wireless network")
    session.release()


def installer(port):
    session = Session(port.connect("installer"), INSTALLER, port.keys("installer"))
    voltage = GXDLMSRegister("1.0.32.7.0.255")
    session.read(voltage, 3)
    session.read(voltage, 2)
    check(180 < voltage.value < 260, "voltage L1:", voltage.value, voltage.unit)
    check(session.refused(GXDLMSRegister("1.0.1.8.0.255"), 2), "an installer could read the energy register")
    ssid = GXDLMSData("0.128.96.12.10.255")
    ssid.setDataType(2, DataType.OCTET_STRING)
    ssid.value = b"interop"
    session.exchange(session.client.write(ssid, 2))
    check(bytes(session.read(GXDLMSData("0.128.96.12.10.255"), 2)) == b"interop", "the network's name came back")
    passphrase = GXDLMSData("0.128.96.12.11.255")
    passphrase.setDataType(2, DataType.OCTET_STRING)
    passphrase.value = b"never read again"
    session.exchange(session.client.write(passphrase, 2))
    check(session.refused(GXDLMSData("0.128.96.12.11.255"), 2), "somebody could read the passphrase")
    session.release()


def other_client(port):
    """dlms-cosem enciphers every service in general-glo-ciphering, and its release too."""
    encryption, authentication = port.keys("bench")
    client = DlmsClient.with_tcp_transport(
        host=port.address[0],
        port=port.address[1],
        client_logical_address=BENCH,
        server_logical_address=1,
        authentication_method=enumerations.AuthenticationMechanism.HLS_GMAC,
        encryption_key=encryption,
        authentication_key=authentication,
        security_suite=2,
        # Small enough that the object list comes in blocks.
        max_pdu_size=1024,
        client_system_title=b"UTI\0\0\0\0\x07",
        client_initial_invocation_counter=1,
        timeout=TIMEOUT_SECONDS,
    )
    client.io_interface.tcp_socket = port.connect("bench")
    client.associate()

    def attribute(interface, obis, number):
        return cosem.CosemAttribute(interface, cosem.Obis.from_string(obis), number)

    kinds = enumerations.CosemInterface
    name = utils.parse_as_dlms_data(client.get(attribute(kinds.DATA, "0.0.42.0.0", 2)))
    check(bytes(name) == port.meter.encode(), "device name", name)
    energy = utils.parse_as_dlms_data(client.get(attribute(kinds.REGISTER, "1.0.1.8.0", 2)))
    check(energy >= 0, "active energy import", energy)
    scaler, unit = utils.parse_as_dlms_data(client.get(attribute(kinds.REGISTER, "1.0.1.8.0", 3)))
    check((scaler, unit) == (-3, 30), "scaler and unit of it", scaler, unit)

    objects = utils.parse_as_dlms_data(client.get(attribute(kinds.ASSOCIATION_LN, "0.0.40.0.0", 2)))
    check(len(objects) > 100, "objects of the bench:", len(objects))

    log = attribute(kinds.PROFILE_GENERIC, "0.0.99.98.1", 2)
    clock = CaptureObject(attribute(kinds.CLOCK, "0.0.1.0.0", 2))
    now = datetime.datetime.now(datetime.timezone.utc)
    hour = datetime.timedelta(hours=1)
    rows = utils.parse_as_dlms_data(client.get(log, RangeDescriptor(clock, now - hour, now + hour)))
    check(len(rows) >= 1 and POWER_UP in rows[0], "rows of the security log by range:", rows)

    try:
        client.get(attribute(kinds.DATA, "0.128.96.12.10", 2))
        check(False, "a bench could see the wireless network")
    except DataResultError:
        pass
    answer = client.set(attribute(kinds.CLOCK, "0.0.1.0.0", 2), b"\x00")
    denied = isinstance(answer, xdlms.SetResponseNormal) and answer.result.name == "READ_WRITE_DENIED"
    check(denied, "a bench's SET of the clock:", answer)
    client.release_association()
    client.io_interface.disconnect()


def main():
    # Both clients log every message that they see.
    logging.disable(logging.CRITICAL)
    port = Port(*sys.argv[1:4])
    reader(port)
    print("ok: reader over TLS by OpenSSL at the local port: objects, register, log by entry and by range, refusals", flush=True)
    installer(port)
    print("ok: installer: live voltage, wireless network set and read, passphrase never, no energy", flush=True)
    other_client(port)
    print("ok: bench by a second client, all in general-glo-ciphering: blocks, range, refusals, release", flush=True)
    print("passed", flush=True)


if __name__ == "__main__":
    main()
