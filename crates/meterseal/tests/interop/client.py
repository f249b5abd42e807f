"""An independent DLMS client against our meter: what must work for other people's software to read it.

Run by tests/interop.rs, which starts the meter and says where it listens. Every check that fails ends the program with
what was expected and what came. The last step plays a head-end whose TLS is Python's own (OpenSSL): the meter dials it,
and what it carries is handed to the same client.
"""

import datetime
import socket
import ssl
import sys
import threading

from gurux_dlms import GXByteBuffer, GXDLMSException, GXReplyData
from gurux_dlms import GXDateTime, GXTime
from gurux_dlms.enums import Authentication, Conformance, DataType, DateTimeSkips, InterfaceType, ObjectType, Security
from gurux_dlms.objects import (
    GXDLMSObject,
    GXDLMSClock,
    GXDLMSData,
    GXDLMSDayProfile,
    GXDLMSDayProfileAction,
    GXDLMSProfileGeneric,
    GXDLMSRegister,
    GXDLMSSeasonProfile,
    GXDLMSWeekProfile,
)
from gurux_dlms.objects.enums import SecuritySuite
from gurux_dlms.secure import GXDLMSSecureClient

PUBLIC, UTILITY = 0x10, 0x30
DISCONNECT_CONTROL = 70
TIMEOUT_SECONDS = 20


def check(condition, *told):
    if not condition:
        raise SystemExit(" ".join(str(part) for part in ("interop: FAILED:",) + told))


class Session:
    """One association over a stream socket."""

    # Never used twice with one key, over all sessions of this program.
    next_counter = 1

    def __init__(self, stream, client, keys=None):
        self.stream = stream
        stream.settimeout(TIMEOUT_SECONDS)
        authentication = Authentication.HIGH_GMAC if keys else Authentication.NONE
        self.client = GXDLMSSecureClient(True, client, 1, authentication, None, InterfaceType.WRAPPER)
        # A client that did not ask for pushes must get none.
        self.client.proposedConformance &= ~(Conformance.DATA_NOTIFICATION | Conformance.EVENT_NOTIFICATION)
        if keys:
            ciphering = self.client.ciphering
            ciphering.security = Security.AUTHENTICATION_ENCRYPTION
            ciphering.securitySuite = SecuritySuite.SUITE_2
            ciphering.systemTitle = b"ABC\0\0\0\0\x01"
            ciphering.blockCipherKey, ciphering.authenticationKey = keys
            ciphering.invocationCounter = Session.next_counter
        self.keys = keys
        self.rest = b""
        reply = self.exchange(self.client.aarqRequest())
        self.client.parseAareResponse(reply.data)
        if keys:
            reply = self.exchange(self.client.getApplicationAssociationRequest())
            self.client.parseApplicationAssociationResponse(reply.data)

    def exchange(self, messages):
        reply = GXReplyData()
        for message in messages if isinstance(messages, list) else [messages]:
            reply.clear()
            self.round_trip(message, reply)
            while reply.isMoreData():
                self.round_trip(self.client.receiverReady(reply), reply)
        if self.keys:
            Session.next_counter = self.client.ciphering.invocationCounter + 1
        return reply

    def round_trip(self, message, reply):
        self.stream.sendall(bytes(message))
        received, pushed = GXByteBuffer(), GXReplyData()
        while not self.client.getData(received, reply, pushed):
            chunk = self.stream.recv(65536)
            check(chunk, "the meter closed the connection instead of answering")
            received.set(chunk)
        check(not pushed.isComplete() or not pushed.data.size, "the meter pushed to a client that had not asked for it")
        if reply.error:
            raise GXDLMSException(reply.error)

    def read(self, item, attribute):
        reply = self.exchange(self.client.read(item, attribute))
        if item.getDataType(attribute) == DataType.NONE:
            item.setDataType(attribute, reply.valueType)
        return self.client.updateValue(item, attribute, reply.value)

    def refused(self, item, attribute):
        try:
            self.read(item, attribute)
        except GXDLMSException:
            return True
        return False

    def objects(self):
        reply = self.exchange(self.client.getObjectsRequest())
        return self.client.parseObjects(reply.data, False, False)

    def release(self):
        reply = GXReplyData()
        # Its ciphered release is known to be one that servers refuse: the plain one is as good (interop notes).
        self.client.useProtectedRelease = False
        request = self.client.releaseRequest()
        for message in request:
            self.round_trip(message, reply)
        self.stream.close()


def public(connect, name):
    session = Session(connect(), PUBLIC)
    value = session.read(GXDLMSData("0.0.42.0.0.255"), 2)
    check(text(value) == name, "logical device name", name, "came as", value)
    counter = session.read(GXDLMSData("0.0.43.1.0.255"), 2)
    check(int(counter) >= 0, "invocation counter", counter)
    check(session.refused(GXDLMSRegister("1.0.1.8.0.255"), 2), "the public client could read a register")
    session.release()


def utility(connect, keys, began, period, rows):
    session = Session(connect(), UTILITY, keys)
    objects = session.objects()
    names = {str(item.logicalName) for item in objects}
    for needed in ("1.0.1.8.0.255", "0.0.1.0.0.255", "1.0.99.1.0.255", "0.0.40.0.0.255", "0.0.43.0.0.255"):
        check(needed in names, "the object list lacks", needed, sorted(names))

    energy = GXDLMSRegister("1.0.1.8.0.255")
    session.read(energy, 3)
    session.read(energy, 2)
    check(int(energy.unit) == 30, "unit of the energy register: 30, watt-hours, expected, came", energy.unit)
    check(0 < energy.value < 1e9, "active energy import:", energy.value, energy.unit, energy.scaler)

    clock = GXDLMSClock("0.0.1.0.0.255")
    session.read(clock, 2)
    shown = clock.time.value.astimezone(datetime.timezone.utc)
    apart = abs((shown - datetime.datetime.now(datetime.timezone.utc)).total_seconds())
    check(apart < 300, "the meter's clock shows", shown)

    load_profile = GXDLMSProfileGeneric("1.0.99.1.0.255")
    first = began + datetime.timedelta(seconds=period)
    last = began + datetime.timedelta(seconds=period * 20)
    reply = session.exchange(session.client.readRowsByRange(load_profile, first, last))
    check(len(reply.value) == 20, "rows of the load profile by range: 20 asked for,", len(reply.value), "came")
    session.read(load_profile, 3)
    columns = [str(column[0].logicalName) for column in load_profile.captureObjects]
    energies = [row[columns.index("1.0.1.8.0.255")] for row in reply.value]
    check(energies == sorted(energies) and energies[0] < energies[-1], "energies of the rows:", energies)
    # Long enough to come in blocks.
    reply = session.exchange(session.client.readRowsByEntry(load_profile, 1, 60))
    check(len(reply.value) == 60, "rows of the load profile by entry: 60 asked for,", len(reply.value), "came")

    everything(session, objects)
    tariffs(session, objects)

    switch = [item for item in objects if int(item.objectType) == DISCONNECT_CONTROL]
    for item in switch:
        for method, state in ((1, False), (2, None)):
            session.exchange(session.client.method(item, method, 0, DataType.INT8))
            output = session.read(item, 2)
            check(state is None or output == state, "after method", method, "the switch's output is", output)
    session.release()
    return bool(switch)


def everything(session, objects):
    """Every attribute that the object list calls readable has a value that the client's own classes understand."""
    read = 0
    for item in objects:
        for right in item.attributes:
            # A buffer that is read whole may be too long for one answer: those are asked for by range.
            whole_buffer = item.objectType == ObjectType.PROFILE_GENERIC and right.index == 2
            if int(right.access) & 1 and not whole_buffer:
                try:
                    # Of a maker's own class a client knows the rights and the values, and not what they are.
                    if type(item) is GXDLMSObject:
                        session.exchange(session.client.read(item, right.index))
                    else:
                        session.read(item, right.index)
                except Exception as error:
                    raise SystemExit(f"interop: FAILED: {item.logicalName} attribute {right.index}: {error}") from error
                read += 1
    check(read > 300, "attributes read:", read)


def tariffs(session, objects):
    """Writes an activity calendar and a special day with the client's own encoding, activates it and reads it back."""
    calendar = objects.findByLN(ObjectType.ACTIVITY_CALENDAR, "0.0.13.0.0.255")
    start = GXDateTime(datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc))
    start.skip = DateTimeSkips.YEAR | DateTimeSkips.DAY_OF_WEEK
    calendar.seasonProfilePassive = [GXDLMSSeasonProfile(b"year", start, b"week")]
    week = GXDLMSWeekProfile()
    week.name = b"week"
    week.monday = week.tuesday = week.wednesday = week.thursday = week.friday = week.saturday = week.sunday = 1
    calendar.weekProfileTablePassive = [week]
    begin = GXTime(datetime.datetime(2026, 1, 1))
    action = GXDLMSDayProfileAction(begin, "0.0.10.0.100.255", 2)
    calendar.dayProfileTablePassive = [GXDLMSDayProfile(1, [action])]
    calendar.calendarNamePassive = "interop"
    for attribute in (6, 7, 8, 9):
        session.exchange(session.client.write(calendar, attribute))
    session.exchange(calendar.activatePassiveCalendar(session.client))
    for attribute in range(2, 6):
        session.read(calendar, attribute)
    check(calendar.calendarNameActive == "interop", "active calendar:", calendar.calendarNameActive)
    found = calendar.dayProfileTableActive[0]
    check(
        (found.dayId, found.daySchedules[0].scriptLogicalName, found.daySchedules[0].scriptSelector)
        == (1, "0.0.10.0.100.255", 2),
        "active day profile:", found,
    )
    check(calendar.weekProfileTableActive[0].sunday == 1, "active week:", calendar.weekProfileTableActive[0])

    rate = objects.findByLN(ObjectType.DATA, "0.0.96.14.0.255")
    check(int(session.read(rate, 2)) == 2, "rate in force:", rate.value)
    limiter = objects.findByLN(ObjectType.LIMITER, "0.0.17.0.0.255")
    check(limiter.monitoredValue.logicalName == "1.0.1.7.0.255", "the limiter watches", limiter.monitoredValue)
    check(limiter.actionOverThreshold.scriptSelector == 1, "the limiter's action:", limiter.actionOverThreshold)
    scripts = objects.findByLN(ObjectType.SCRIPT_TABLE, "0.0.10.0.106.255")
    check(len(scripts.scripts) == 2, "the disconnector's scripts:", scripts.scripts)
    schedule = objects.findByLN(ObjectType.ACTION_SCHEDULE, "0.0.15.0.0.255")
    check(schedule.target.logicalName == "0.0.10.0.1.255", "the schedule's script:", schedule.target)


def text(value):
    return bytes(value).decode() if isinstance(value, (bytes, bytearray)) else str(value)


class Gateway:
    """The head-end's side of TLS 1.3, by OpenSSL: accepts the meter's call and carries its bytes."""

    def __init__(self, folder):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(f"{folder}/headend/certificate.pem", f"{folder}/headend/key.pem")
        context.load_verify_locations(f"{folder}/pki/manufacturer.cert.pem")
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["meterseal/1"])
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(TIMEOUT_SECONDS)

    def port(self):
        return self.listener.getsockname()[1]

    def call(self, meter):
        """Waits for the meter and gives a plain socket through which it can be spoken to."""
        caller, _ = self.listener.accept()
        secured = self.context.wrap_socket(caller, server_side=True)
        check(secured.version() == "TLSv1.3", "TLS version", secured.version())
        check(secured.cipher()[0] == "TLS_AES_256_GCM_SHA384", "cipher", secured.cipher())
        names = [name for kind, name in secured.getpeercert().get("subjectAltName", ()) if kind == "URI"]
        check(names == [f"urn:meterseal:meter:{meter}"], "the meter's certificate names", names)
        near, far = socket.socketpair()
        for source, target in ((secured, far), (far, secured)):
            threading.Thread(target=carry, args=(source, target), daemon=True).start()
        return near


def carry(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    try:
        target.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def main():
    port, folder, meter, began, period, rows = sys.argv[1:7]
    digits = open(f"{folder}/dlms.key", encoding="ascii").read().strip()
    keys = bytes.fromhex(digits[:64]), bytes.fromhex(digits[64:])
    began = datetime.datetime.fromtimestamp(int(began) / 1000, datetime.timezone.utc)
    plan = (keys, began, int(period), int(rows))

    def plain():
        return socket.create_connection(("127.0.0.1", int(port)), TIMEOUT_SECONDS)

    public(plain, meter)
    print("ok: public association, device name, invocation counter, refusal of a register", flush=True)
    switched = utility(plain, *plan)
    print("ok: suite 2 HLS-5, object list, register with scaler, clock, profile by range and by entry, release", flush=True)
    if switched:
        print("ok: disconnect and reconnect of the supply", flush=True)
    utility(plain, *plan)
    print("ok: reconnected and associated again under higher counters", flush=True)

    gateway = Gateway(folder)
    # The test reads this and lets the meter dial.
    print(f"gateway {gateway.port()}", flush=True)
    public(lambda: gateway.call(meter), meter)
    print("ok: public association through TLS 1.3 by OpenSSL", flush=True)
    utility(lambda: gateway.call(meter), *plan)
    print("ok: suite 2 HLS-5 and all of it through TLS 1.3 by OpenSSL", flush=True)
    print("passed", flush=True)


if __name__ == "__main__":
    main()
